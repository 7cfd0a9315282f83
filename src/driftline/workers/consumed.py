"""How far everything that was appended has been counted: what windows wait for.

A prediction in `prediction_logs` counts once the sampler has handed it over to `prediction_samples` and the
profiler has consumed what came of it. A sampler that runs says every second how far it is. Where none has for a
minute, only records that wait hold windows up: who never uses `prediction_logs` needs no sampler.
"""

from driftline.core.window import MICROSECONDS
from driftline.log.log import Log
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.store.clocks import RelayClock, prune_relay_clocks, read_partition_clocks, read_relay_clocks
from driftline.store.database import Database

_SILENT = 60 * MICROSECONDS
"""A sampler whose clock is so far behind may not be running."""
NOTHING = RelayClock(append_time=0, next_offset=0)
"""The clock of a partition that no sampler has ever looked at."""


def read_consumed_until(database: Database, log: Log) -> int | None:
    """Give the time (microseconds) up to which everything appended has been counted; None when it is not known."""
    with database.transaction() as conn:
        clocks = read_partition_clocks(conn, PREDICTION_SAMPLES)
        if not clocks:
            return None
        counted = min(clocks.values())
        relayed = read_relay_clocks(conn, PREDICTION_LOGS, consumed_until=counted)
        prune_relay_clocks(conn, PREDICTION_LOGS, consumed_until=counted)
    if len(clocks) < log.count_partitions(PREDICTION_SAMPLES):
        return None
    sources = range(log.count_partitions(PREDICTION_LOGS))
    silent = [partition for partition in sources if _is_silent(relayed.get(partition), counted)]
    ends = log.end_offsets(PREDICTION_LOGS) if silent else {}
    until = counted
    for partition in sources:
        clock = relayed.get(partition, NOTHING)
        if clock is None:
            return None  # what came of it has not been consumed
        if partition not in silent or ends.get(partition, 0) > clock.next_offset:
            until = min(until, clock.append_time)
    return until if until > NOTHING.append_time else None


def _is_silent(clock: RelayClock | None, counted: int) -> bool:
    return clock is None or clock.append_time < counted - _SILENT

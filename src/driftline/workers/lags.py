"""How far the consumers of the log are behind it."""

from collections.abc import Mapping

from driftline.core.window import MICROSECONDS
from driftline.log.errors import LogError
from driftline.log.log import Log
from driftline.log.offsets import read_offsets
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES, TOPICS
from driftline.store.clocks import read_partition_clocks, read_relay_clocks
from driftline.store.database import Database
from driftline.store.system import read_first_model
from driftline.workers.joiner import CONSUMER as JOINER

CONSUMERS = ("sampler", "profiler", "joiner")


def measure_lags(database: Database, log: Log, now: int) -> dict[str, float]:
    """Give for each consumer how many seconds ago that was up to which it has processed all that it reads.

    Sampler and joiner are behind while something waits for them: who has no use for them need not run them. A
    profiler must run, as no window closes without. Where the log does not answer, something waits.
    """
    ends = _read_ends(log)
    with database.transaction() as conn:
        first = read_first_model(conn)
        relayed = read_relay_clocks(conn, PREDICTION_LOGS)
        counted, labelled = read_partition_clocks(conn, PREDICTION_SAMPLES), read_partition_clocks(conn, LABELS)
        joined = {topic: read_offsets(conn, JOINER, topic) for topic in (LABELS, PREDICTION_SAMPLES)}
    if first is None:
        return dict.fromkeys(CONSUMERS, 0.0)
    sampled = {partition: clock for partition, clock in relayed.items() if clock is not None}
    waiting = _find_waiting(ends, PREDICTION_LOGS, {p: clock.next_offset for p, clock in sampled.items()})
    unsampled = [sampled[p].append_time if p in sampled else first for p in waiting]
    unjoined = [labelled.get(p, first) for p in _find_waiting(ends, LABELS, joined[LABELS])]
    if _find_waiting(ends, PREDICTION_SAMPLES, joined[PREDICTION_SAMPLES]):
        unjoined.append(min(labelled.values(), default=first))
    uncounted = list(counted.values()) or [first]
    behind = zip(CONSUMERS, (unsampled, uncounted, unjoined), strict=True)
    return {name: max(now - max(min(times, default=now), first), 0) / MICROSECONDS for name, times in behind}


def _read_ends(log: Log) -> dict[str, dict[int, int]] | None:
    try:
        return {topic: log.end_offsets(topic) for topic in TOPICS}
    except LogError:
        return None


def _find_waiting(
    ends: Mapping[str, Mapping[int, int]] | None, topic: str, offsets: Mapping[int, int]
) -> list[int]:
    """Give the partitions with records beyond these offsets."""
    if ends is None:
        return list(offsets)
    return [partition for partition, end in ends[topic].items() if end > offsets.get(partition, 0)]

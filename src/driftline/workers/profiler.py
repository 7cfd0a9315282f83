"""The profiler: owns partitions of the log and keeps them counted."""

import threading
import time
from collections.abc import Iterable
from contextlib import closing

import structlog
from psycopg.errors import DeadlockDetected, LockNotAvailable

from driftline.log.log import Log, Reader
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.lake import Lake
from driftline.workers.catalog import Catalog
from driftline.workers.partition import CONSUMER, PartitionProfiler

_IDLE_S = 1.0

logger = structlog.get_logger("driftline.profiler")


def run_profiler(database: Database, log: Log, lake: Lake, settings: Settings, stop: threading.Event) -> None:
    """Profile every partition that is this worker's, until told to stop; then flush and leave.

    Raises when the database or the log is away: what was not flushed is still in the log, so run it again
    (`keep_running`).
    """
    with closing(log.reader(CONSUMER, PREDICTION_SAMPLES)) as reader:
        _run(database, reader, lake, settings, stop)


def _run(database: Database, reader: Reader, lake: Lake, settings: Settings, stop: threading.Event) -> None:
    catalog = Catalog()
    owned: dict[int, PartitionProfiler] = {}
    while not stop.is_set():
        claimed = reader.claim()
        for partition in owned.keys() - claimed:  # what was not flushed is read again by whoever has it now
            del owned[partition]
            logger.info("partition lost", partition=partition)
        for partition in sorted(claimed - owned.keys()):
            owned[partition] = PartitionProfiler(
                database, reader, lake, catalog, partition, max_future_s=settings.max_future_s
            )
            logger.info("partition taken", partition=partition)
        read = sum([profiler.poll() for profiler in owned.values()])
        for profiler in owned.values():
            _flush_if_due(profiler, settings.flush_interval_s)
        if not read:
            offsets = {number: each.next_offset for number, each in owned.items()}
            reader.wait(offsets, _until_due(owned.values(), settings.flush_interval_s))
    for profiler in owned.values():
        profiler.flush()


def _until_due(profilers: Iterable[PartitionProfiler], interval_s: float) -> float:
    """Give the seconds until something pending has to be flushed, a second at most."""
    due = [each.flushed_at + interval_s for each in profilers if each.has_pending]
    return max(0.0, min([_IDLE_S, *(moment - time.monotonic() for moment in due)]))


def _flush_if_due(profiler: PartitionProfiler, interval_s: float) -> None:
    """Flush what is pending when it is time; with nothing pending, keep the partition's clock going."""
    due = profiler.flushed_at + (interval_s if profiler.has_pending else _IDLE_S)
    if time.monotonic() < due and not profiler.is_full:
        return
    try:
        profiler.flush()
        profiler.count_waiting()
    except (DeadlockDetected, LockNotAvailable) as error:  # it reads again from the stored offset
        logger.warning("flush is tried again", partition=profiler.partition, reason=str(error).strip())

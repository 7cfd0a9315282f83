"""The sampler: reads every prediction of `prediction_logs` and hands a sample over to `prediction_samples`.

What a slice kept, and the offset of the next one, are handed over in one transaction of the log, so every kept
prediction is there once. Dead letters are written before, once for each record however often that happens.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import closing

import structlog
from psycopg import Connection

from driftline.core.window import MICROSECONDS
from driftline.log.errors import OffsetConflict, RecordsLost
from driftline.log.log import Log, Relay
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.clocks import advance_relay_clock
from driftline.store.database import Database
from driftline.store.dead_letters import add_dead_letters
from driftline.store.sampling import Rate, list_rates
from driftline.workers.catalog import Catalog, KnownVersion
from driftline.workers.packing import pack_kept
from driftline.workers.slicing import Bounds, Harvest, PartitionSlices

CONSUMER = "sampler"
_IDLE_S = 1.0

logger = structlog.get_logger("driftline.sampler")


def run_sampler(database: Database, log: Log, settings: Settings, stop: threading.Event) -> None:
    """Sample every partition that is this worker's, until told to stop; what is open then is read again.

    Raises when the database or the log is away: what was not handed over is still in the log, so run it again
    (`keep_running`).
    """
    with closing(log.relay(CONSUMER, PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay:
        sampler = Sampler(database, relay, settings)
        while not stop.is_set():
            if not sampler.step():
                sampler.wait(_IDLE_S)


class Sampler:
    """Samples the partitions that its relay has. After any error make a new one: it starts from what is stored."""

    def __init__(self, database: Database, relay: Relay, settings: Settings) -> None:
        self._database, self._relay = database, relay
        self._bounds = Bounds(
            settings.sampler_slice_rows, settings.sampler_slice_mb << 20, settings.max_future_s * MICROSECONDS
        )
        self._catalog = Catalog()
        self._owned: dict[int, PartitionSlices] = {}
        self._newest_output = 0
        self._told_at = -_IDLE_S

    def step(self) -> int:
        """Read what there is next, and hand over what that completed; gives how many records were read."""
        self._claim()
        read = sum([self._read(slices) for slices in self._owned.values()])
        idle = time.monotonic() - self._told_at >= _IDLE_S
        if idle:
            for slices in self._owned.values():
                slices.complete(self._relay.appended_before(slices.partition, slices.next_offset))
            self._told_at = time.monotonic()
        self._hand_over([slices.harvest() for slices in self._owned.values()], tell=idle)
        return read

    def wait(self, seconds: float) -> None:
        """Wait until there is something to read, at most so long."""
        self._relay.wait({number: slices.next_offset for number, slices in self._owned.items()}, seconds)

    def _claim(self) -> None:
        claimed = self._relay.claim()
        for partition in self._owned.keys() - claimed:  # whoever has it now reads its open slice again
            del self._owned[partition]
            logger.info("partition lost", partition=partition)
        for partition in sorted(claimed - self._owned.keys()):
            committed = self._relay.committed(partition)
            # Whoever had it before may have handed over just now, and died before it wrote a clock.
            self._newest_output = max(self._newest_output, time.time_ns() // 1000)
            slices = self._owned[partition] = PartitionSlices(partition, committed, self._find, self._bounds)
            self._skip_lost(slices)
            logger.info("partition taken", partition=partition, offset=committed)

    def _read(self, slices: PartitionSlices) -> int:
        try:
            records = self._relay.read(slices.partition, slices.next_offset)
        except RecordsLost:
            self._skip_lost(slices)
            return 0
        slices.take(records)
        if not records:
            slices.next_offset = self._relay.skip_gap(slices.partition, slices.next_offset)
        return len(records)

    def _skip_lost(self, slices: PartitionSlices) -> None:
        """Go on behind records that somebody deleted, if that has happened, and say once how many they were."""
        first, wanted = self._relay.first_offset(slices.partition), slices.next_offset
        if first > wanted:
            slices.skip_lost(first)
            logger.error(
                "records were deleted before they were sampled",
                partition=slices.partition,
                first_offset=wanted,
                records=first - wanted,
            )

    def _find(self, model_id: str, version: str, moment: int) -> tuple[KnownVersion, int] | None:
        if "\x00" in model_id or "\x00" in version:
            return None  # PostgreSQL has no such text
        with self._database.transaction() as conn:
            known = self._catalog.find_version(conn, model_id, version)
            rates = list_rates(conn, model_id, version)
        return (known, _n_at(rates, moment)) if known is not None and rates else None

    def _hand_over(self, harvests: Sequence[Harvest], *, tell: bool) -> None:
        """Hand over what was closed; say how far each partition is, also if nothing was and it is time to."""
        packed = pack_kept([kept for harvest in harvests for kept in harvest.kept])
        refused = [*packed.refused, *(letter for harvest in harvests for letter in harvest.refused)]
        if refused:
            with self._database.transaction() as conn:
                add_dead_letters(conn, refused)
        advanced = {
            harvest.partition: harvest.clock.next_offset
            for harvest in harvests
            if harvest.clock.next_offset > self._owned[harvest.partition].handed_over
        }
        if not advanced and not tell:
            return
        try:
            with self._database.transaction() as conn:
                self._commit(conn, packed.records, advanced, harvests)
        except OffsetConflict as error:
            logger.warning("partitions are read again from where they were handed over", reason=str(error))
            self._owned.clear()
            return
        for partition, offset in advanced.items():
            self._owned[partition].handed_over = offset

    def _commit(
        self, conn: Connection, records: Sequence[NewRecord], advanced: dict[int, int], harvests: Sequence[Harvest]
    ) -> None:
        if advanced:
            appended = self._relay.hand_over(conn, records, advanced)
            self._newest_output = max(self._newest_output, appended or 0)
        for harvest in harvests:
            if harvest.clock.append_time > 0:
                advance_relay_clock(
                    conn, PREDICTION_LOGS, harvest.partition, harvest.clock, output_time=self._newest_output
                )


def _n_at(rates: Sequence[Rate], moment: int) -> int:
    """Choose the N in force at a moment; before the first, the first.

    Labels are tested with the smallest N in force since their prediction was made, so this one loses none; and a
    slice that is read again after a crash is decided by the same N.
    """
    return next((rate.n for rate in reversed(rates) if rate.since <= moment), rates[0].n)

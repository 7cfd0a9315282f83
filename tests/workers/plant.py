"""A whole driftline without threads: tests send, poll, flush and close step by step."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psycopg import Connection

from driftline.core.batch import Batch
from driftline.core.columns import Columns
from driftline.core.moment import to_micros
from driftline.core.profile import Profile, decode_profile
from driftline.core.reference import Reference, build_reference, encode_reference
from driftline.core.schema import Dtype, Feature, Kind, Schema, layout
from driftline.core.sliced import SlicedProfile, decode_sliced, merge_sliced, slice_rows
from driftline.core.window import MICROSECONDS
from driftline.log import postgres
from driftline.log.batch_format import encode_batch
from driftline.log.log import Log, Reader
from driftline.log.postgres_log import PostgresLog
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.clocks import advance_partition_clock
from driftline.store.database import Database
from driftline.store.dead_letters import DeadLetter, list_dead_letters
from driftline.store.drift import METRICS, DriftSeries, read_drift_series
from driftline.store.lake import Lake, open_lake
from driftline.store.models import create_model
from driftline.store.profiles import read_window
from driftline.store.references import StoredReference, store_reference
from driftline.store.versions import create_version, set_schema
from driftline.store.windows import StoredWindow, list_windows
from driftline.workers.catalog import Catalog
from driftline.workers.monitor import run_cycle
from driftline.workers.partition import CONSUMER, PartitionProfiler
from driftline.workers.up import read_clock

SECOND = MICROSECONDS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MONDAY = to_micros(datetime(2026, 1, 5, tzinfo=UTC))
"""The tests' time begins on this Monday, long before the log's own clock."""

FAR = 10**16
AMOUNT, SIZE, PREDICTION, SCORE, COUNTRY = range(5)
SCHEMA = Schema(
    (
        Feature("amount", Kind.NUMERIC),
        Feature("size", Kind.NUMERIC, Dtype.FLOAT64),
        Feature("country", Kind.CATEGORICAL),
    )
)
COUNTRIES = ("DE", "FR", "US")


@dataclass(slots=True)
class Plant:
    """One database, lake and log of `partitions` (a table if not given), and what a test does with them."""

    database: Database
    folder: Path
    partitions: int = 1
    settings: Settings = field(default_factory=lambda: Settings(allowed_lateness_s=60, idle_close_s=300))
    lake: Lake = field(init=False)
    log: Log = field(default=None)  # type: ignore[assignment]
    catalog: Catalog = field(default_factory=Catalog)
    now: int = field(default_factory=read_clock)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Make the topic and the lake's folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lake = open_lake(str(self.folder))
        self.log = self.log or PostgresLog(self.database)
        self.log.prepare(self.partitions)

    def register(
        self,
        model_id: str = "fraud",
        version: str = "3",
        *,
        window: int = HOUR,
        schema: Schema = SCHEMA,
        **settings: object,
    ) -> None:
        """Register a model with one version."""
        plan = layout(schema)
        with self.database.transaction() as conn:
            create_model(
                conn, model_id, window_length=window, time_zone=schema.time_zone, settings=settings or None
            )
            create_version(conn, model_id, version)
            set_schema(
                conn,
                model_id,
                version,
                schema=schema.to_dict(),
                schema_id=schema.schema_id,
                feature_names=plan.names,
                feature_kinds=plan.kinds,
            )

    def refer(
        self, reference: Reference, model_id: str = "fraud", version: str = "3", *, valid_from: int = 0
    ) -> None:
        """Upload a reference; workers look at it again at once."""
        with self.database.transaction() as conn:
            store_reference(
                conn,
                StoredReference(
                    model_id,
                    version,
                    reference.grid.grid_id,
                    encode_reference(reference),
                    reference.profile.rows,
                    self.now,
                    valid_from,
                ),
                [],
            )
        self.catalog.forget()

    def send(self, *batches: Batch, partition: int = 0, schema: Schema = SCHEMA) -> int:
        """Append batches to a partition of the table, each as a record of its own; gives the first offset."""
        return self.append(*(record_of(batch, schema) for batch in batches), partition=partition)

    def append(self, *records: NewRecord, partition: int = 0) -> int:
        """Append records to a partition of the table."""
        with self.database.transaction() as conn:
            return postgres.append(conn, PREDICTION_SAMPLES, partition, records)

    def profiler(self, partition: int = 0, reader: Reader | None = None) -> PartitionProfiler:
        """Start a worker on a partition, which knows nothing but the database."""
        reader = reader or self.log.reader(CONSUMER, PREDICTION_SAMPLES)
        return PartitionProfiler(self.database, reader, self.lake, self.catalog, partition)

    def drain(self, *profilers: PartitionProfiler) -> None:
        """Consume all there is, with these workers or with new ones."""
        for profiler in profilers or [self.profiler(p) for p in range(self.partitions)]:
            while profiler.poll():
                pass
            profiler.flush()
            profiler.count_waiting()

    def cycle(self) -> int:
        """Close and compute until nothing is left to do; gives how many windows that were."""
        total = 0
        while done := run_cycle(self.database, self.log, self.catalog, self.settings, lambda: self.now, self.stop):
            total += done
        return total

    def let_pass(self, seconds: float) -> None:
        """Let it seem that all partitions were consumed until so long after now."""
        with self.database.transaction() as conn:
            for partition in range(self.partitions):
                advance_partition_clock(conn, PREDICTION_SAMPLES, partition, read_clock() + int(seconds * SECOND))

    def windows(self, model_id: str = "fraud", version: str = "3") -> dict[int, StoredWindow]:
        """All windows of a version, by start."""
        with self.database.transaction() as conn:
            found = list_windows(conn, model_id, version, -FAR, FAR)
        return {window.window_start: window for window in found}

    def profile(self, start: int, segment: str = "", model_id: str = "fraud", version: str = "3") -> Profile:
        """The stored profile of a window."""
        with self.database.transaction() as conn:
            stored = {each.segment: each for each in read_window(conn, model_id, version, start)}
        return decode_profile(stored[segment].payload or b"")

    def counted(self, start: int, model_id: str = "fraud", version: str = "3") -> SlicedProfile:
        """What was counted in a window: its stored profiles and the parts not yet merged."""
        with self.database.transaction() as conn:
            stored = {
                e.segment: decode_profile(e.payload or b"") for e in read_window(conn, model_id, version, start)
            }
            rows = conn.execute(
                "SELECT payload FROM profile_parts WHERE model_id = %s AND model_version = %s"
                " AND window_start = to_timestamp(%s) AND payload IS NOT NULL",
                (model_id, version, start / SECOND),
            ).fetchall()
        parts = [decode_sliced(payload) for (payload,) in rows]
        if "" in stored:
            parts.append(SlicedProfile(stored.pop(""), stored))
        return merge_sliced(parts)

    def drift(
        self,
        model_id: str = "fraud",
        version: str = "3",
        *,
        step: int = HOUR,
        segment: str = "",
        kind: str = "training",
        metrics: Sequence[str] = tuple(METRICS),
    ) -> DriftSeries:
        """All drift rows of a version."""
        with self.database.transaction() as conn:
            return read_drift_series(
                conn,
                model_id,
                version,
                since=-FAR,
                until=FAR,
                step=step,
                segment=segment,
                reference_kind=kind,
                metrics=metrics,
            )

    def statuses(self, **series: object) -> dict[int, tuple[str, int]]:
        """Status and start of the pool of each window, in hours since Monday."""
        found = self.drift(metrics=(), **series)  # type: ignore[arg-type]
        return {
            hours(start): (status, hours(pool))
            for start, pool, status in zip(
                found.window_start.tolist(), found.pool_start.tolist(), found.status, strict=True
            )
        }

    def letters(self) -> list[DeadLetter]:
        """All dead letters, oldest first."""
        with self.database.transaction() as conn:
            return list_dead_letters(conn, limit=10_000)[::-1]

    def execute(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run SQL; gives its rows if it has any."""
        with self.database.transaction() as conn:
            cursor = conn.execute(query, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


def hours(time: int) -> int:
    """Hours since Monday."""
    return (time - MONDAY) // HOUR


def at(hour: float) -> int:
    """The time so many hours after Monday."""
    return MONDAY + int(hour * HOUR)


def make_batch(
    ids: Iterable[object],
    times: ArrayLike,
    *,
    model_id: str = "fraud",
    version: str = "3",
    shift: float = 0.0,
    weight: int = 1,
    seed: int = 0,
    schema: Schema = SCHEMA,
    columns: Columns | None = None,
) -> Batch:
    """Make predictions at times (one, or one each): values are drawn, amounts shifted by so many deviations."""
    names = tuple(map(str, ids))
    if columns is None:
        columns = draw_columns(len(names), shift=shift, seed=seed, extra=len(schema.segments))
    moments = np.broadcast_to(np.asarray(times, np.int64), len(names)).copy()
    return Batch(model_id, version, schema.schema_id, "", names, moments, columns, weight)


def draw_columns(rows: int, *, shift: float = 0.0, seed: int = 0, extra: int = 0) -> Columns:
    """Draw rows of SCHEMA; the first `extra` segment columns are copies of the country."""
    rng = np.random.default_rng(seed)
    country = rng.integers(0, len(COUNTRIES), (rows, 1))
    country = np.repeat(country, 1 + extra, axis=1)
    return Columns(
        (rng.normal(shift, 1, (rows, 1))).astype(np.float32),
        np.column_stack([rng.lognormal(0, 1, rows), rng.random(rows), np.full(rows, np.nan)]),
        country.astype(np.int32),
        (COUNTRIES,) * (1 + extra),
    )


def make_reference(*, times: NDArray[np.int64] | None = None, **made: object) -> Reference:
    """Build a reference; 100 rows a window give 10 bins, and so verdicts from 100 rows on."""
    return _build(**made) if times is None else _build.__wrapped__(times=times, **made)  # type: ignore[arg-type]


@cache
def _build(
    *,
    rows: int = 5_000,
    window_rows: float = 100,
    window: int = HOUR,
    schema: Schema = SCHEMA,
    seed: int = 1_000,
    times: NDArray[np.int64] | None = None,
) -> Reference:
    columns = draw_columns(rows, seed=seed, extra=len(schema.segments))
    return build_reference(lambda: [(columns, times)], schema, window_length=window, window_rows=window_rows)


def count_at_once(reference: Reference, batches: Sequence[Batch]) -> SlicedProfile:
    """Count batches in one go, each id once: what any sequence of flushes must end with."""
    parts = []
    seen: set[str] = set()
    for batch in batches:
        fresh = [row for row, text in enumerate(batch.ids) if text not in seen and not seen.add(text)]  # type: ignore[func-returns-value]
        if fresh:
            weights = np.full(batch.rows, batch.weight, np.int64)
            parts.append(slice_rows(reference, batch.columns, np.array(fresh, np.int64), weights))
    return merge_sliced(parts)


def assert_equal(counted: SlicedProfile, expected: SlicedProfile) -> None:
    """Compare profiles of everything and of each segment: counts exactly, sums to rounding."""
    assert counted.segments.keys() == expected.segments.keys()
    pairs = [(counted.whole, expected.whole)]
    pairs += [(counted.segments[key], expected.segments[key]) for key in expected.segments]
    for one, other in pairs:
        assert (one.grid_id, one.rows, one.weight, one.weight_squares) == (
            other.grid_id,
            other.rows,
            other.weight,
            other.weight_squares,
        )
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_allclose(one.sums, other.sums, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(one.extremes, other.extremes)
        assert one.new_values == other.new_values


def wait_for(condition: object, seconds: float = 30) -> None:
    """Wait until a condition of threads holds, looking again and again; fails after so long."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.02)


def named(batch: Batch, model_id: str, version: str = "3") -> Batch:
    """The same predictions as those of another model."""
    return replace(batch, model_id=model_id, version=version)


def record_of(batch: Batch, schema: Schema = SCHEMA) -> NewRecord:
    """The record that a producer appends for a batch."""
    headers = {"model": batch.model_id, "version": batch.version}
    return NewRecord(f"{batch.model_id}/{batch.version}".encode(), encode_batch(batch, schema), headers)


def one_row(conn: Connection, query: str) -> tuple[object, ...]:
    """The only row of a query."""
    (row,) = conn.execute(query).fetchall()  # type: ignore[call-overload]
    return tuple(row)

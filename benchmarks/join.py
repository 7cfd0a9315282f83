"""Labels a second joined with predictions that wait for them, on the embedded database, and what these weigh.

Predictions of a binary model with a segment, with ids as the SDK makes them, wait in thirty daily partitions.
Labels come in the order in which they become known, half of them within a day and one in twenty later than a week,
and then for any prediction in no order at all. They go the whole way: read from the log, decoded, joined, written.
"""

import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time, time_ns

import numpy as np
from numpy.typing import NDArray

from driftline.core.join_keys import make_keys
from driftline.core.labels import Labels
from driftline.core.moment import NO_TIME
from driftline.core.schema import Feature, Kind, Schema, Task, layout
from driftline.core.window import DAY, MICROSECONDS, Window
from driftline.log.label_format import CONTENT_TYPE, encode_labels
from driftline.log.postgres_log import PostgresLog
from driftline.log.record import NewRecord
from driftline.log.topics import LABELS
from driftline.settings import Settings
from driftline.store.database import Database, open_database
from driftline.store.joined_models import code_classes, code_segments, lock_models, number_versions
from driftline.store.label_counts import read_counts
from driftline.store.models import create_model
from driftline.store.partitions import maintain_partitions
from driftline.store.performance_windows import WindowRows, add_rows
from driftline.store.predictions import PredictionColumns, add_predictions
from driftline.store.versions import create_version, set_schema
from driftline.workers.joiner import CONSUMER, TOPICS, Joiner
from records import Record, make_parser, report

MODEL, VERSION = "payments", "1"
SCHEMA = Schema((Feature("amount", Kind.NUMERIC),), Task.BINARY, segments=("country",))
COUNTRIES = ("AT", "CH", "DE", "FR", "IT", "US")
DAYS = 30
SPREAD = 1.18
"""Of the logarithm of delays, whose median is a day."""
WINDOW = 3600 * MICROSECONDS
CHUNK = 200_000
RECORD_LABELS = 5_000
_QUARTER = 250_000
_SEED = 4


@dataclass(slots=True)
class Pending:
    """The predictions that wait, and when each was made."""

    database: Database
    begin: int
    version_no: int
    segments: list[int]
    sdk_ids: bool
    rng: np.random.Generator
    times: NDArray[np.int64]


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--pending", type=int, default=10_000_000, help="predictions that wait in the end")
    parser.add_argument("--labels", type=int, default=300_000, help="labels at each size")
    parser.add_argument("--random-ids", action="store_true", help="ids that are no UUIDs of the SDK")
    options = parser.parse_args()
    sizes = sorted({options.pending // 10, options.pending})
    records, rates = [], []
    for size in sizes:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_database(Settings(data_dir=Path(folder))) as database,
        ):
            measured = measure(
                prepare(database, sdk_ids=not options.random_ids), size, options.labels, final=size == sizes[-1]
            )
        records += measured
        rates.append(next(record.value for record in measured if record.unit == "labels/s"))
    budget = None if options.random_ids else 1.3
    records.append(
        Record(f"cost of a label at {sizes[-1]:,} against {sizes[0]:,}", rates[0] / rates[-1], "x", budget)
    )
    report("Joining labels", records, options)


def measure(pending: Pending, size: int, labels: int, *, final: bool) -> list[Record]:
    """Load predictions, weigh them, and join labels with some of them; the last size has budgets."""
    loading = load(pending, size)
    rest(pending.database)
    weight = measure_bytes(pending.database) / size
    known = pending.times + (DAY * pending.rng.lognormal(0, SPREAD, size)).astype(np.int64)
    in_order = np.argsort(known)[size // 2 :][:labels]
    others = np.setdiff1d(np.arange(size), in_order)
    rate, cpu = join(pending, in_order)
    worst, _ = join(pending, pending.rng.choice(others, min(labels, len(others)), replace=False))
    return [
        Record(f"{size:,} pending: loading them", loading, "rows/s"),
        Record(
            f"{size:,} pending: one of them, with its share of indexes", weight, "bytes", 130 if final else None
        ),
        Record(
            f"{size:,} pending: labels joined and written", rate, "labels/s", 15_000 if final else None, "higher"
        ),
        Record(f"{size:,} pending: CPU of the joiner, without PostgreSQL's", cpu, "µs/label"),
        Record(f"{size:,} pending: labels joined in no order", worst, "labels/s", None, "higher"),
    ]


def prepare(database: Database, *, sdk_ids: bool) -> Pending:
    """Make the model, the topics and the partitions, as if driftline had run for a month."""
    now = time_ns() // 1000
    PostgresLog(database).prepare(1)
    with database.connection() as conn:
        for day in range(DAYS, -1, -4):
            maintain_partitions(conn, now - day * DAY)
        maintain_partitions(conn, now)
    plan = layout(SCHEMA)
    with database.transaction() as conn:
        create_model(conn, MODEL, window_length=WINDOW, task=str(SCHEMA.task))
        create_version(conn, MODEL, VERSION)
        set_schema(
            conn, MODEL, VERSION, schema=SCHEMA.to_dict(), schema_id=SCHEMA.schema_id,
            feature_names=plan.names, feature_kinds=plan.kinds,
        )  # fmt: skip
        model_no = lock_models(conn, [MODEL])[MODEL].model_no
        version_no = number_versions(conn, [(model_no, VERSION)])[model_no, VERSION]
        code_classes(conn, model_no, ["0", "1"])
        segments = code_segments(conn, version_no, [(country,) for country in COUNTRIES])
    begin = now - now % WINDOW - DAYS * DAY
    rng = np.random.default_rng(_SEED)
    return Pending(database, begin, version_no, list(segments.values()), sdk_ids, rng, np.empty(0, np.int64))


def load(pending: Pending, rows: int) -> float:
    """Add predictions as the joiner does, in the order of their times; gives how many a second."""
    pending.times = pending.begin + np.sort(pending.rng.integers(0, DAYS * DAY, rows))
    seconds = -perf_counter()
    for start in range(0, rows, CHUNK):
        numbers = np.arange(start, min(start + CHUNK, rows))
        its = pending.times[numbers]
        starts, place, counts = np.unique(its - its % WINDOW, return_inverse=True, return_counts=True)
        with pending.database.transaction() as conn:
            ids = add_rows(
                conn,
                [
                    WindowRows(pending.version_no, Window(at, at + WINDOW), count, count)
                    for at, count in zip(starts.tolist(), counts.tolist(), strict=True)
                ],
            )
            window_id = np.array([ids[pending.version_no, at] for at in starts.tolist()], np.int32)
            keys = make_keys(make_ids(pending, numbers))
            add_predictions(conn, make_columns(pending, keys, its, window_id[place]))
    return rows / (seconds + perf_counter())


def rest(database: Database) -> None:
    """Do what PostgreSQL does by itself in the days that predictions wait, before anything is timed."""
    with database.connection() as conn:
        conn.execute("VACUUM (ANALYZE) predictions")
        conn.execute("CHECKPOINT")


def make_ids(pending: Pending, numbers: NDArray[np.int64]) -> list[str]:
    """Make the ids of predictions: UUIDv7 as the SDK's, a new prefix every quarter of a second, or others."""
    mixed = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    if not pending.sdk_ids:
        return [f"order-{number:x}" for number in mixed.tolist()]
    quarters = pending.times[numbers] // _QUARTER
    return [
        f"{quarter // 4 * 1000 >> 16:08x}-{quarter // 4 * 1000 & 0xFFFF:04x}-7{quarter * 40_503 & 0xFFF:03x}"
        f"-8{quarter * 30_011 & 0xFFF:03x}-{tail & 0xFFFFFFFFFFFF:012x}"
        for quarter, tail in zip(quarters.tolist(), mixed.tolist(), strict=True)
    ]


def make_columns(
    pending: Pending,
    keys: NDArray[np.bytes_],
    times: NDArray[np.int64],
    window_id: NDArray[np.int32],
) -> PredictionColumns:
    """Make the columns of a binary model with a segment."""
    rows = len(keys)
    score = pending.rng.random(rows)
    nothing = np.zeros(rows, np.int64)
    return PredictionColumns(
        key=keys,
        predicted_at=times,
        window_id=window_id,
        weight=np.full(rows, 100, np.int32),
        score=score,
        value=np.full(rows, np.nan),
        class_code=(score > 0.5).astype(np.int32),
        segment_code=pending.rng.choice(np.array(pending.segments, np.int32), rows),
        id_hash=nothing,
        group_hash=nothing,
        scores=None,
    )


def join(pending: Pending, chosen: NDArray[np.int64]) -> tuple[float, float]:
    """Send labels of predictions in this order, and join them.

    Gives how many a second, and the joiner's own microseconds of CPU for each.
    """
    labels = len(chosen)
    log = PostgresLog(pending.database)
    for start in range(0, labels, RECORD_LABELS):
        send(pending, log, chosen[start : start + RECORD_LABELS])
    before = read_joined(pending.database)
    with ExitStack() as stack:
        readers = {topic: stack.enter_context(closing(log.reader(CONSUMER, topic))) for topic in TOPICS}
        joiner = Joiner(pending.database, readers)
        wall, cpu = -perf_counter(), -process_time()
        while joiner.read():
            if joiner.is_full:
                joiner.flush()
        joiner.flush()
        wall, cpu = wall + perf_counter(), cpu + process_time()
    joined = read_joined(pending.database) - before
    if joined != labels:
        raise SystemExit(f"{labels:,} labels were sent and {joined:,} joined")
    return labels / wall, 1e6 * cpu / labels


def send(pending: Pending, log: PostgresLog, numbers: NDArray[np.int64]) -> None:
    """Append a record of labels, as the API does."""
    rows = len(numbers)
    labels = Labels(
        MODEL,
        False,
        tuple(make_ids(pending, numbers)),
        tuple(pending.rng.integers(0, 2, rows).tolist()),
        np.full(rows, NO_TIME),
        np.full(rows, pending.begin + DAYS * DAY),
        np.ones(rows),
    )
    record = NewRecord(b"", encode_labels(labels), {"model": MODEL, "content-type": CONTENT_TYPE})
    with pending.database.transaction() as conn:
        log.append(conn, LABELS, [record])


def read_joined(database: Database) -> int:
    """Read how many labels were joined."""
    with database.transaction() as conn:
        return read_counts(conn, MODEL).joined


def measure_bytes(database: Database) -> int:
    """Measure the partitions of predictions with their indexes."""
    with database.transaction() as conn:
        row = conn.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhparent = 'predictions'::regclass"
        ).fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    main()

"""From the broker to profiles: CPU seconds per value of the workers, one at a time and each alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time, thread_time, time
from typing import Any

import numpy as np

from driftline.core.batch import Batch
from driftline.core.schema import Schema
from driftline.core.window import MICROSECONDS
from driftline.log.micro_batches import cut_batch
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.workers import partition
from driftline.workers.partition import CONSUMER
from driftline.workers.sampler import CONSUMER as SAMPLER
from driftline.workers.sampler import Sampler
from event_producer import make_events
from kafka_site import VERSION, Plant, draw_columns, make_schema, open_site, register
from records import Record

FEATURES = 500
PARTITIONS = 4
WARM = 8
"""Records that go before, not measured: they compile, and fill caches."""
_PATIENCE_S = 60.0
_lake = [0.0]


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work took: seconds of CPU of this process, those of writing the sample lake, and seconds."""

    cpu: float
    lake: float
    wall: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cpu + other.cpu, self.lake + other.lake, self.wall + other.wall)


def measure_values(values: int, event_rows: int) -> list[Record]:
    """Values a second: micro-batches of 30 and 1,000 rows, and JSON events."""
    records = []
    with time_lake(), open_site(PARTITIONS, sampler_slice_rows=10_000, sampler_slice_mb=256) as site:
        for rows in (30, 1_000):
            cost = measure_batches(site.plant, rows, count := -(-values // (rows * FEATURES)))
            records += report_cost(f"micro-batches of {rows:,} rows", cost, count * rows, 50)
        sampled, profiled = measure_events(site.plant, event_rows)
    records += report_cost("JSON events, sampler (N = 1) and profiler", sampled + profiled, event_rows, 5)
    share = sampled.cpu / (sampled + profiled).cpu
    return [*records, Record("JSON events: the share of the sampler in that", 100 * share, "%")]


def report_cost(what: str, cost: Cost, rows: int, budget: float) -> list[Record]:
    """Say how many values a second a core takes, and how many came through on this machine."""
    millions = rows * FEATURES / 1e6
    to_profile = millions / (cost.cpu - cost.lake)
    return [
        Record(f"{what}, to the profile: per second of CPU", to_profile, "M values/s", budget, "higher"),
        Record(
            f"{what}, and to the sample lake: per second of CPU", millions / cost.cpu, "M values/s", None, "higher"
        ),
        Record(f"{what}, both: per second", millions / cost.wall, "M values/s", None, "higher"),
    ]


def measure_batches(plant: Plant, rows: int, count: int) -> Cost:
    """Profile micro-batches of so many rows, as the SDK writes them, of a model for each partition."""
    schema, model_ids = make_schema(FEATURES), [f"batches of {rows}, {k}" for k in range(PARTITIONS)]
    for model_id in model_ids:
        register(plant, model_id, schema)
    append_batches(plant, model_ids, schema, rows, WARM)
    profile_all(plant)
    append_batches(plant, model_ids, schema, rows, count)
    cost = profile_all(plant)
    check_rows(plant, model_ids, (WARM + count) * rows)
    return cost


def measure_events(plant: Plant, rows: int) -> tuple[Cost, Cost]:
    """Sample JSON events of which all are kept, then profile them."""
    register(plant, "events", make_schema(FEATURES))
    append_events(plant, "warm", WARM)
    sample_all(plant)
    profile_all(plant)
    append_events(plant, "p", rows)
    costs = sample_all(plant), profile_all(plant)
    check_rows(plant, ["events"], WARM + rows)
    return costs


def check_rows(plant: Plant, model_ids: Sequence[str], expected: int) -> None:
    """See that every prediction was counted."""
    counted = sum(w.row_count for model_id in model_ids for w in plant.windows(model_id, VERSION).values())
    letters = [(letter.reason_code, letter.reason) for letter in plant.letters()]
    if counted != expected or letters:
        raise SystemExit(f"{counted} of {expected} predictions were counted; dead letters: {letters[:5]}")


def append_batches(plant: Plant, model_ids: Sequence[str], schema: Schema, rows: int, count: int) -> None:
    """Append micro-batches of the models in turn; values of a model repeat after 1,000 rows, ids never do."""
    columns = [draw_columns(rows, FEATURES, seed) for seed in range(1 + 2 * (1_000 // rows))]
    moments = np.full(rows, int(time() * MICROSECONDS))

    def make(k: int) -> NewRecord:
        ids = tuple(f"{count}-{k:08}-{row:08}" for row in range(rows))
        values, model_id = columns[k % len(columns)], model_ids[k % len(model_ids)]
        batch = Batch(model_id, VERSION, schema.schema_id, f"b{k}", ids, moments, values)
        [record] = cut_batch(batch, schema)
        return record

    append(plant, PREDICTION_SAMPLES, make, count)


def append_events(plant: Plant, prefix: str, count: int) -> None:
    """Append events, each a record keyed by its prediction id."""
    texts = make_events(FEATURES)
    names = {"model": "events", "version": VERSION}
    headers = {**names, "content-type": "application/json", "timestamp": "2025-01-01T00:00:00Z"}

    def make(k: int) -> NewRecord:
        return NewRecord(f"{prefix}-{k:08}".encode(), texts[k % len(texts)], headers)

    append(plant, PREDICTION_LOGS, make, count)


def append(plant: Plant, topic: str, make: Callable[[int], NewRecord], count: int, at_once: int = 50) -> None:
    """Append records that are made as they are needed."""
    with plant.database.connection() as conn:
        for start in range(0, count, at_once):
            plant.log.append(conn, topic, [make(k) for k in range(start, min(start + at_once, count))])


def profile_all(plant: Plant) -> Cost:
    """Profile all there is, as `run_profiler` does: partitions in turn, flushed when they are full."""
    ends = plant.log.end_offsets(PREDICTION_SAMPLES)
    with closing(plant.log.reader(CONSUMER, PREDICTION_SAMPLES)) as reader:
        await_partitions(reader.claim, reader.wait)
        profilers = [plant.profiler(partition, reader) for partition in ends]
        started = start()
        while any(each.next_offset < ends[each.partition] for each in profilers):
            if not sum([each.poll() for each in profilers]):
                reader.wait({each.partition: each.next_offset for each in profilers}, 1.0)
            for each in profilers:
                if each.is_full:
                    each.flush()
        for each in profilers:
            each.flush()
        return since(started)


def sample_all(plant: Plant) -> Cost:
    """Sample all there is, until the last slice has been handed over."""
    ends = plant.log.end_offsets(PREDICTION_LOGS)
    with closing(plant.log.relay(SAMPLER, PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay:
        await_partitions(relay.claim, relay.wait)
        sampler = Sampler(plant.database, relay, plant.settings)
        started = start()
        while any(relay.committed(partition) < end for partition, end in ends.items()):
            if not sampler.step():
                sampler.wait(1.0)
        return since(started)


def await_partitions(claim: Callable[[], frozenset[int]], wait: Callable[[dict[int, int], float], None]) -> None:
    """Wait until the group has given all partitions."""
    deadline = perf_counter() + _PATIENCE_S
    while len(claim()) < PARTITIONS:
        if perf_counter() > deadline:
            raise SystemExit(f"the partitions did not come within {_PATIENCE_S:.0f} s")
        wait({}, 0.1)


@contextmanager
def time_lake() -> Iterator[None]:
    """Add up the CPU seconds that the profiler takes to write samples, in `_lake`."""
    original = partition.write_samples

    def write(*arguments: Any) -> int:
        before = thread_time()
        size = original(*arguments)
        _lake[0] += thread_time() - before
        return size

    partition.write_samples = write
    yield
    partition.write_samples = original


def start() -> Cost:
    """Look at the clocks."""
    return Cost(process_time(), _lake[0], perf_counter())


def since(started: Cost) -> Cost:
    """Give what has been used since then."""
    now = start()
    return Cost(now.cpu - started.cpu, now.lake - started.lake, now.wall - started.wall)

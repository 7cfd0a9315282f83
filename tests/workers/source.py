"""A producer that logs every prediction, and the sampler that reads it, step by step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import msgspec

from driftline.core.batch import Batch
from driftline.core.moment import from_micros
from driftline.core.schema import Schema
from driftline.core.slices import SLICE
from driftline.log import postgres
from driftline.log.batch_format import decode_batch
from driftline.log.json_rows import json_row
from driftline.log.record import LogRecord, NewRecord
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.workers.sampler import CONSUMER, Sampler
from tests.workers.plant import MONDAY, SCHEMA, Plant

FIRST = MONDAY + 1_800_000_000
"""When the first slice of the tests begins: half past twelve at night."""
HEADERS = {"model": "fraud", "version": "3", "content-type": "application/json"}


def slice_at(number: float) -> int:
    """An append time within a slice of the tests."""
    return FIRST + int(number * SLICE)


def logged(batch: Batch, schema: Schema = SCHEMA, **headers: str) -> list[NewRecord]:
    """Each row as a record of its own in JSON, keyed by its id."""
    said = {"model": batch.model_id, "version": batch.version, "content-type": "application/json", **headers}
    return [NewRecord(batch.ids[row].encode(), json_row(batch, schema, row), said) for row in range(batch.rows)]


def prediction(
    name: str, *, headers: Mapping[str, str] = HEADERS, key: bytes | None = None, **fields: object
) -> NewRecord:
    """One record; fields replace or add to those of a plain prediction, None takes one away."""
    plain = {
        "prediction_id": name,
        "timestamp": from_micros(FIRST).isoformat(),
        "features": {"amount": 1.5, "size": 2, "country": "DE"},
        "score": 0.5,
    }
    row = {field: value for field, value in (plain | fields).items() if value is not None}
    return NewRecord(name.encode() if key is None else key, msgspec.json.encode(row), headers)


def log(plant: Plant, *records: NewRecord, appended: int = FIRST, partition: int = 0) -> int:
    """Append records as if that had happened at a time; gives the first offset."""
    with plant.database.transaction() as conn:
        first = postgres.append(conn, PREDICTION_LOGS, partition, records)
        conn.execute(
            "UPDATE log_records SET appended_at = to_timestamp(%s) WHERE topic = %s AND partition = %s"
            " AND log_offset >= %s",
            (appended / 1e6, PREDICTION_LOGS, partition, first),
        )
    return first


@contextmanager
def running(plant: Plant) -> Iterator[Sampler]:
    """A sampler that knows nothing but what is stored; leaving ends it as a crash would."""
    with closing(plant.log.relay(CONSUMER, PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay:
        yield Sampler(plant.database, relay, plant.settings)


def sample(plant: Plant) -> None:
    """Run a sampler until it has read all there is and handed it over."""
    with running(plant) as sampler:
        while sampler.step():
            pass


def samples(plant: Plant) -> list[LogRecord]:
    """What was handed over so far."""
    with plant.database.transaction() as conn:
        return [
            record
            for partition in range(plant.partitions)
            for record in postgres.read(conn, PREDICTION_SAMPLES, partition, 0)
        ]


def batches(plant: Plant, schema: Schema = SCHEMA) -> list[Batch]:
    """What was handed over so far, decoded."""
    return [decode_batch(record.payload, schema) for record in samples(plant)]


def kept(plant: Plant, schema: Schema = SCHEMA) -> dict[str, int]:
    """The ids that were handed over, with their weights."""
    return {text: batch.weight for batch in batches(plant, schema) for text in batch.ids}


def within(records: Sequence[NewRecord], ids: set[str]) -> list[NewRecord]:
    """The records of some predictions."""
    return [record for record in records if record.key.decode() in ids]

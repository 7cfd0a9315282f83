"""What cannot be counted is kept with the reason; the good rest is counted, and no partition is ever blocked."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.core.batch import Batch
from driftline.core.errors import InvalidInput
from driftline.core.moment import NO_TIME, from_micros
from driftline.core.window import DAY
from driftline.log.batch_format import decode_batch, encode_batch
from driftline.log.record import NewRecord
from driftline.store.dead_letters import DeadLetter
from driftline.workers import counter, partition
from driftline.workers.up import read_clock
from tests.workers.plant import (
    FAR,
    HOUR,
    MONDAY,
    SCHEMA,
    SECOND,
    Plant,
    assert_equal,
    at,
    count_at_once,
    draw_columns,
    make_batch,
    make_reference,
)

HEADERS = {"model": "fraud", "version": "3"}
GOOD = make_batch(range(10), at(0.5))


def reasons(plant: Plant) -> list[str]:
    return [letter.reason_code for letter in plant.letters()]


def kept(letter: DeadLetter) -> Batch:
    return decode_batch(letter.payload, SCHEMA)


def test_an_unknown_version(plant: Plant) -> None:
    payload = encode_batch(GOOD, SCHEMA)
    plant.append(
        NewRecord(b"k", payload, {"model": "fraud", "version": "9"}),
        NewRecord(b"k", payload, {"model": "nobody's", "version": "3"}),
        NewRecord(b"k", payload, {}),
    )
    plant.send(GOOD)
    plant.drain()
    assert reasons(plant) == ["unknown_version"] * 3
    letters = plant.letters()
    assert [(letter.model_id, letter.model_version) for letter in letters] == [
        ("fraud", "9"), ("nobody's", "3"), (None, None),
    ]  # fmt: skip
    assert all(letter.payload == payload for letter in letters)
    assert letters[0].reason == "model 'fraud' has no version '9' with a schema; register it with POST /models"
    assert plant.windows()[MONDAY].row_count == 10


def test_a_version_is_known_as_soon_as_it_is_registered(plant: Plant) -> None:
    """A version that was unknown a moment ago is looked for again."""
    profiler = plant.profiler()
    plant.send(make_batch(range(5), at(0.5), model_id="new"))
    plant.drain(profiler)
    plant.register("new")
    plant.send(make_batch(range(5), at(0.5), model_id="new"))
    plant.drain(profiler)
    assert reasons(plant) == ["unknown_version"]
    assert plant.execute("SELECT row_count FROM sample_files WHERE model_id = 'new'") == [(5,)]


def test_malformed_bytes(plant: Plant) -> None:
    payloads = [b"", b"\x00", b"no batch", encode_batch(GOOD, SCHEMA)[:-5], b"\xc1" * 100, b"\x81\xa6format\x07"]
    plant.append(*(NewRecord(b"k", payload, HEADERS) for payload in payloads))
    plant.send(GOOD)
    plant.drain()
    assert reasons(plant) == ["malformed_batch"] * len(payloads)
    assert [letter.payload for letter in plant.letters()] == payloads
    assert all(letter.reason for letter in plant.letters())
    assert plant.windows()[MONDAY].row_count == 10


def test_a_batch_of_another_model_than_its_headers_say(plant: Plant) -> None:
    other = make_batch(range(5), at(0.5), model_id="other")
    plant.append(NewRecord(b"k", encode_batch(other, SCHEMA), HEADERS))
    plant.drain()
    assert reasons(plant) == ["malformed_batch"]
    assert "of model 'other' version '3'" in plant.letters()[0].reason
    assert plant.windows() == {}


MUTATIONS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(mutations=MUTATIONS, cut=st.integers(0, 40))
def test_any_bytes_are_a_batch_or_refused(mutations: list[tuple[int, int]], cut: int) -> None:
    """Nothing but InvalidInput may come of what travels, or it would block its partition."""
    data = bytearray(encode_batch(GOOD, SCHEMA))
    for place, value in mutations:
        data[place % len(data)] = value
    try:
        batch = decode_batch(bytes(data[: len(data) - cut] if cut < 5 else data), SCHEMA)
    except InvalidInput:
        return
    assert batch.columns.rows == batch.rows == len(batch.timestamps)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(mutations=MUTATIONS)
def test_whatever_can_be_read_can_be_flushed(plant: Plant, mutations: list[tuple[int, int]]) -> None:
    data = bytearray(encode_batch(GOOD, SCHEMA))
    for place, value in mutations:
        data[place % len(data)] = value
    end = plant.append(NewRecord(b"k", bytes(data), HEADERS)) + 1
    profiler = plant.profiler()
    plant.drain(profiler)
    assert profiler.next_offset == end
    assert "not_countable" not in reasons(plant)


TIMES: list[tuple[int, str]] = [
    (-1, "invalid_timestamp"),
    (-62_135_596_800_000_000, "invalid_timestamp"),
    (-(2**63) + 1, "invalid_timestamp"),
    (NO_TIME, "no_timestamp"),
    (2**63 - 1, "timestamp_in_future"),
    (253_402_300_800_000_000, "timestamp_in_future"),
    (FAR, "timestamp_in_future"),
]


@pytest.mark.parametrize(("time", "reason"), TIMES)
def test_times_that_cannot_be(plant: Plant, time: int, reason: str) -> None:
    batch = make_batch(range(10), np.where(np.arange(10) < 3, time, at(0.5)))
    plant.send(batch)
    plant.drain()
    plant.cycle()
    assert reasons(plant) == [reason]
    letter = kept(plant.letters()[0])
    assert letter.ids == ("0", "1", "2")
    assert letter.timestamps.tolist() == [time] * 3
    assert plant.windows()[MONDAY].row_count == 7
    assert plant.profile(MONDAY).rows == 7


def test_each_reason_has_a_letter_of_its_own(plant: Plant) -> None:
    times = [at(0.5), -5, NO_TIME, FAR, at(0.5), -7, at(0.5)]
    plant.send(make_batch(["a", "b", "c", "d", "", "f", "x" * 2000], times))
    plant.drain()
    by_reason = {letter.reason_code: kept(letter).ids for letter in plant.letters()}
    assert by_reason == {
        "invalid_timestamp": ("b", "f"),
        "no_timestamp": ("c",),
        "timestamp_in_future": ("d",),
        "no_prediction_id": ("",),
        "invalid_prediction_id": ("x" * 2000,),
    }
    assert plant.windows()[MONDAY].row_count == 1
    assert plant.letters()[0].reason.startswith("2 predictions, the first: timestamp lies before 1970")


def test_the_first_and_the_last_time_that_can_be(plant: Plant) -> None:
    now = read_clock()
    plant.send(make_batch(["first", "last", "beyond"], [0, now + 3599 * SECOND, now + 3700 * SECOND]))
    plant.drain()
    plant.cycle()
    assert reasons(plant) == ["timestamp_in_future"]
    assert sorted(plant.windows()) == [0, (now + 3599 * SECOND) // HOUR * HOUR]


def test_the_first_day_in_a_zone_where_it_was_still_1969(bare: Plant) -> None:
    schema = replace(SCHEMA, time_zone="America/New_York")
    bare.register(window=DAY, schema=schema)
    bare.refer(make_reference(window=DAY, schema=schema))
    bare.send(make_batch(["first"], 0, schema=schema), make_batch(["now"], at(0), schema=schema), schema=schema)
    bare.drain()
    bare.cycle()
    assert [from_micros(start).year for start in bare.windows()] == [1969, 2026]
    assert bare.letters() == []


def test_a_worker_may_allow_any_future(plant: Plant) -> None:
    """Even the last day of the calendar, whose window would end after it, blocks nothing."""
    profiler = partition.PartitionProfiler(
        plant.database,
        plant.log.reader(partition.CONSUMER, "prediction_samples"),
        plant.lake,
        plant.catalog,
        0,
        max_future_s=10**12,
    )
    last = 253_402_300_800_000_000 - 1
    plant.send(make_batch(["last"], last), GOOD)
    plant.drain(profiler)
    assert profiler.next_offset == 2
    assert {letter.prediction_id or "" for letter in plant.letters()} <= {"last", ""}
    assert len(plant.letters()) in (1, 2)


@pytest.mark.parametrize("name", ["add_parts", "grow_windows"])
def test_what_cannot_be_counted_is_set_aside(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A fault of driftline's own: the version's rows are kept, those of others are counted, the log goes on."""
    plant.register("other")
    plant.refer(make_reference(), "other")
    store = getattr(counter, name)

    def fail(conn: object, entries: list[object]) -> None:
        if any(entry.model_id == "fraud" for entry in entries):  # type: ignore[attr-defined]
            raise ZeroDivisionError("just so")
        store(conn, entries)

    with monkeypatch.context() as patch:
        patch.setattr(counter, name, fail)
        profiler = plant.profiler()
        plant.send(GOOD, make_batch(range(20, 25), at(0.5)), make_batch(range(7), at(0.5), model_id="other"))
        plant.drain(profiler)
    assert reasons(plant) == ["not_countable"] * 2
    assert "just so" in plant.letters()[0].reason
    assert plant.windows() == {}
    assert plant.windows("other")[MONDAY].row_count == 7

    letters = [kept(letter) for letter in plant.letters()]
    plant.send(*letters)  # as soon as it is mended
    plant.drain(profiler)
    assert_equal(plant.counted(MONDAY), count_at_once(make_reference(), [GOOD, letters[1]]))


@pytest.mark.parametrize(
    "error", [OSError("no space left on device"), PermissionError("no"), ConnectionError("away")]
)
def test_a_lake_that_cannot_be_written_stops_the_flush_and_loses_nothing(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(*_: object) -> int:
        raise error

    profiler = plant.profiler()
    plant.send(GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(partition, "write_samples", fail)
        profiler.poll()
        with pytest.raises(type(error)):
            profiler.flush()
    assert (reasons(plant), plant.windows()) == ([], {})
    plant.drain(profiler)
    assert plant.windows()[MONDAY].row_count == 10


def _infinite(batch: Batch) -> None:
    batch.columns.float32[:] = np.inf


def _missing(batch: Batch) -> None:
    batch.columns.float32[:] = np.nan
    batch.columns.float64[:] = np.nan
    batch.columns.codes[:] = 3


def _enormous(batch: Batch) -> None:
    batch.columns.float32[:] = 3e38
    batch.columns.float64[:, 0] = np.linspace(-1, 1, batch.rows) * 1e308


def _large(batch: Batch) -> None:
    batch.columns.float64[:, 0] = 1e200  # whose square is infinite


def _largest(batch: Batch) -> None:
    batch.columns.float64[:, 0] = 1.7e308  # whose sum is infinite


def _subnormal(batch: Batch) -> None:
    batch.columns.float32[:] = 1e-45
    batch.columns.float64[:, 0] = 5e-324


@pytest.mark.parametrize("spoil", [_infinite, _missing, _enormous, _large, _largest, _subnormal])
def test_values_of_any_size(plant: Plant, spoil: Callable[[Batch], None]) -> None:
    """Numbers that PostgreSQL's `real` cannot hold, or no numbers at all."""
    batch = make_batch(range(200), at(0.5), columns=draw_columns(200))
    spoil(batch)
    plant.send(batch, make_batch(["last"], at(2)))
    plant.drain()
    plant.cycle()
    assert reasons(plant) == []
    assert plant.statuses()[0] == ("ok", 0)
    assert plant.profile(MONDAY).rows == 200


def test_a_hostile_weight(plant: Plant) -> None:
    """Sums of weights must not leave their integers."""
    plant.send(GOOD, make_batch(range(100, 1_500), at(0.5), weight=2**20), make_batch(["last"], at(2)))
    plant.drain()
    plant.cycle()
    window = plant.windows()[MONDAY]
    assert window.weight == 10 + 1_400 * 2**20
    assert plant.profile(MONDAY).weight_squares == 10 + 1_400 * 2**40
    assert plant.statuses()[0][0] == "ok"

    header = encode_batch(replace(GOOD, weight=2**20), SCHEMA)
    plant.append(NewRecord(b"k", header.replace(b"\xce\x00\x10\x00\x00", b"\xce\x00\x10\x00\x01"), HEADERS))
    plant.drain()
    assert reasons(plant) == ["malformed_batch"]
    assert "weight" in plant.letters()[0].reason


def test_a_buffer_that_is_full_is_flushed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "MAX_BYTES", 5_000)
    profiler = plant.profiler()
    plant.append(NewRecord(b"k", b"x" * 4_000, HEADERS))
    profiler.poll()
    assert not profiler.is_full
    plant.append(NewRecord(b"k", b"x" * 4_000, HEADERS))
    profiler.poll()
    assert profiler.is_full  # what was refused takes room too
    profiler.flush()
    assert not profiler.is_full

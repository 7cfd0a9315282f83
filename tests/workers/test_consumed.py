"""What windows wait for: the profiler, and the sampler before it unless nobody needs one."""

import pytest

from driftline.log import postgres
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.store.clocks import RelayClock, advance_partition_clock, advance_relay_clock
from driftline.store.database import Database
from driftline.workers.consumed import read_consumed_until
from tests.workers.plant import MINUTE, MONDAY, SECOND, Plant


@pytest.fixture
def two(database: Database, plant: Plant) -> Plant:
    return Plant(database, plant.folder, partitions=2)


def count_until(plant: Plant, *times: int) -> None:
    with plant.database.transaction() as conn:
        for partition, time in enumerate(times):
            advance_partition_clock(conn, PREDICTION_SAMPLES, partition, time)


def hand_over_until(plant: Plant, partition: int, time: int, *, output: int, offset: int = 0) -> None:
    with plant.database.transaction() as conn:
        clock = RelayClock(time, offset)
        advance_relay_clock(conn, PREDICTION_LOGS, partition, clock, output_time=output)


def log_something(plant: Plant, partition: int) -> None:
    with plant.database.transaction() as conn:
        postgres.append(conn, PREDICTION_LOGS, partition, [NewRecord(b"p", b"{}")])


def until(plant: Plant) -> int | None:
    return read_consumed_until(plant.database, plant.log)


def test_all_partitions_of_the_samples_count(two: Plant) -> None:
    assert until(two) is None
    count_until(two, MONDAY)
    assert until(two) is None  # nobody has ever looked at the second
    count_until(two, MONDAY, MONDAY - SECOND)
    assert until(two) == MONDAY - SECOND


def test_without_predictions_to_sample_no_sampler_is_needed(two: Plant) -> None:
    count_until(two, MONDAY, MONDAY)
    assert until(two) == MONDAY
    log_something(two, 1)
    assert until(two) is None


def test_a_sampler_that_is_gone_holds_up_nothing_once_it_has_handed_over_all(two: Plant) -> None:
    log_something(two, 0)
    hand_over_until(two, 0, MONDAY, output=MONDAY, offset=1)
    count_until(two, MONDAY + 30 * SECOND, MONDAY + 30 * SECOND)
    assert until(two) == MONDAY  # it may be about to say how far it is
    count_until(two, MONDAY + 2 * MINUTE, MONDAY + 2 * MINUTE)
    assert until(two) == MONDAY + 2 * MINUTE
    log_something(two, 0)
    assert until(two) == MONDAY


def test_what_was_handed_over_counts_when_it_has_been_consumed(two: Plant) -> None:
    hand_over_until(two, 0, MONDAY, output=MONDAY + 5 * SECOND)
    hand_over_until(two, 0, MONDAY + 10 * SECOND, output=MONDAY + 15 * SECOND)
    hand_over_until(two, 1, MONDAY + 20 * SECOND, output=MONDAY)
    expected = {4: None, 5: 0, 14: 0, 15: 10, 70: 10}
    for seconds, known in expected.items():
        count_until(two, *[MONDAY + seconds * SECOND] * 2)
        assert until(two) == (None if known is None else MONDAY + known * SECOND)
    assert two.execute("SELECT count(*) FROM relay_clocks") == [(2,)]  # the first is superseded


def test_the_slowest_counts(two: Plant) -> None:
    hand_over_until(two, 0, MONDAY + SECOND, output=MONDAY)
    hand_over_until(two, 1, MONDAY + 3 * SECOND, output=MONDAY)
    count_until(two, *[MONDAY + 2 * SECOND] * 2)
    assert until(two) == MONDAY + SECOND
    hand_over_until(two, 0, MONDAY + 9 * SECOND, output=MONDAY)
    assert until(two) == MONDAY + 2 * SECOND

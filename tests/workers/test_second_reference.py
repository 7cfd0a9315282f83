"""A second reference: another grid from its window on, and nothing of two grids ever merged."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.workers.plant import (
    DAY,
    SCHEMA,
    Plant,
    assert_equal,
    at,
    count_at_once,
    make_batch,
    make_reference,
)

FIRST = make_reference()
LATER = make_reference(seed=77)


def grids(plant: Plant) -> list[str]:
    return [
        {FIRST.grid.grid_id: "first", LATER.grid.grid_id: "later"}[w.grid_id] for w in plant.windows().values()
    ]


def send(plant: Plant, hour: float, rows: int, *, seed: int = 0, name: str = "") -> None:
    plant.send(make_batch([f"{name}{hour}-{i}" for i in range(rows)], at(hour), seed=seed))
    plant.drain()


@pytest.fixture
def twice(bare: Plant) -> Plant:
    """A version with another reference from the third hour on."""
    bare.register()
    bare.refer(FIRST)
    bare.refer(LATER, valid_from=at(2))
    return bare


def test_windows_are_counted_in_the_reference_of_their_time(twice: Plant) -> None:
    for hour in range(5):
        send(twice, hour, 120, seed=hour)
    twice.cycle()
    assert grids(twice) == ["first", "first", "later", "later", "later"]
    for hour in range(5):
        reference = FIRST if hour < 2 else LATER
        batch = make_batch([f"{hour}-{i}" for i in range(120)], at(hour), seed=hour)
        assert_equal(twice.counted(at(hour)), count_at_once(reference, [batch]))
    assert twice.drift().grid_id == tuple(window.grid_id for window in twice.windows().values())


def test_windows_of_the_old_grid_are_computed_again_in_it(twice: Plant) -> None:
    send(twice, 0, 120)
    send(twice, 5, 1)
    twice.cycle()
    send(twice, 0.5, 80, seed=9)
    twice.cycle()
    assert grids(twice) == ["first", "later"]
    assert twice.drift().row_count.tolist() == [200, 1]
    assert twice.drift().grid_id[0] == FIRST.grid.grid_id
    assert twice.profile(at(0)).rows == 200


def test_a_window_that_has_begun_stays_in_its_grid(bare: Plant) -> None:
    bare.register()
    bare.refer(FIRST)
    send(bare, 0, 50)
    bare.refer(LATER, valid_from=at(-1))  # which is before this window, but it has begun
    send(bare, 0.5, 70, seed=1)
    send(bare, 3, 1)
    bare.cycle()
    assert grids(bare) == ["first", "later"]
    assert bare.profile(at(0)).rows == 120


def test_a_worker_sees_another_reference_within_two_seconds(bare: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("driftline.workers.catalog.time", SimpleNamespace(monotonic=lambda: clock[0]))
    bare.register()
    bare.refer(FIRST)
    send(bare, 0, 10)
    forget, bare.catalog.forget = bare.catalog.forget, lambda: None  # type: ignore[method-assign]
    bare.refer(LATER, valid_from=at(1))
    profiler = bare.profiler()
    bare.catalog.forget = forget  # type: ignore[method-assign]
    for hour, moment in ((1, 1_002.0), (2, 1_002.1)):
        clock[0] = moment
        bare.send(make_batch(range(10), at(hour)))
        bare.drain(profiler)
    assert grids(bare) == ["first", "first", "later"]


def test_pools_never_span_two_grids(twice: Plant) -> None:
    for hour in range(6):
        send(twice, hour, 45)
    send(twice, 9, 1)
    twice.cycle()
    said = {hour: status for hour, status in twice.statuses().items() if hour < 9}
    assert said == {
        0: ("pooling", 0),
        1: ("too_few", 0),
        2: ("pooling", 2),
        3: ("pooling", 2),
        4: ("ok", 2),
        5: ("pooling", 5),
    }
    assert twice.drift().row_count.tolist() == [45, 90, 45, 90, 135, 45, 1]


def test_rolling_references_never_mix_two_grids(bare: Plant) -> None:
    bare.register(reference_kinds=["training", "rolling"])
    bare.refer(FIRST)
    bare.refer(LATER, valid_from=at(3))
    for hour in range(6):
        send(bare, hour, 200, seed=hour)
    send(bare, 9, 1)
    bare.cycle()
    assert [said for said, _ in bare.statuses(kind="rolling").values()] == [
        "no_reference", "ok", "ok", "no_reference", "ok", "ok",
    ]  # fmt: skip


def test_a_day_is_judged_in_the_grid_of_its_last_window(twice: Plant) -> None:
    for hour in (0, 1, 3, 23.5):
        send(twice, hour, 120)
    send(twice, 25.5, 1)
    twice.cycle()
    series = twice.drift(step=DAY)
    assert (series.grid_id, series.row_count.tolist()) == ((LATER.grid.grid_id,), [240])


def test_late_rows_of_the_old_grid_leave_the_verdict_on_the_day_alone(twice: Plant) -> None:
    for hour in (0, 1, 3, 23.5):
        send(twice, hour, 120)
    send(twice, 25.5, 1)
    twice.cycle()
    send(twice, 0.5, 500)
    twice.cycle()
    series = twice.drift(step=DAY)
    assert (series.grid_id, series.row_count.tolist()) == ((LATER.grid.grid_id,), [240])


def test_the_first_reference_holds_for_windows_before_it(bare: Plant) -> None:
    bare.register()
    bare.refer(FIRST, valid_from=at(100))
    bare.refer(LATER, valid_from=at(200))
    send(bare, 0, 10)
    assert grids(bare) == ["first"]


def test_a_version_registered_anew_begins_anew(bare: Plant) -> None:
    """Deleted and registered again under the same name, with the same training data but segments."""
    bare.register()
    bare.refer(FIRST)
    profiler = bare.profiler()
    batch = make_batch(range(50), at(0))
    bare.send(batch)
    bare.drain(profiler)
    bare.cycle()
    bare.execute("DELETE FROM models")
    bare.execute("DELETE FROM profile_parts")
    bare.execute("DELETE FROM profiles")
    schema = replace(SCHEMA, segments=("country",))
    bare.register(schema=schema)
    again = make_reference(schema=schema)
    assert again.grid.grid_id == FIRST.grid.grid_id
    bare.refer(again)
    batch = replace(batch, schema_id=schema.schema_id)
    bare.send(batch, schema=schema)
    bare.drain(profiler)
    bare.cycle()
    assert bare.windows()[at(0)].row_count == 50
    assert sorted(bare.counted(at(0)).segments) == ["country=DE", "country=FR", "country=US"]
    assert_equal(bare.counted(at(0)), count_at_once(again, [batch]))

"""Windows with too few rows wait for the next ones: pools that never overlap, decided once, judged once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.core.drift import Status
from tests.workers.plant import DAY, HOUR, SCHEMA, Plant, at, hours, make_batch, make_reference

LAST = 200
"""An hour long after the others: its event closes them all."""
_names = count()


def send(plant: Plant, traffic: Mapping[int, int], *, shift: float = 0, model_id: str = "fraud") -> None:
    """Send so many new rows in each hour, without closing anything."""
    plant.send(
        *(
            make_batch(
                [f"{next(_names)}" for _ in range(rows)], at(hour + 0.5), shift=shift, seed=hour, model_id=model_id
            )
            for hour, rows in traffic.items()
            if rows
        )
    )


def close(plant: Plant, traffic: Mapping[int, int], *, shift: float = 0) -> None:
    """Send rows, and let the hours before the last one close."""
    send(plant, traffic, shift=shift)
    plant.drain()
    plant.cycle()


def run(plant: Plant, traffic: Mapping[int, int], *, shift: float = 0) -> dict[int, tuple[str, int]]:
    """Send rows, close all of them, and give status and pool of each hour."""
    close(plant, traffic | {LAST: 1}, shift=shift)
    return {hour: said for hour, said in plant.statuses().items() if hour < LAST}


def test_enough_rows_are_judged_alone(plant: Plant) -> None:
    assert run(plant, {0: 100, 1: 300}) == {0: ("ok", 0), 1: ("ok", 1)}


def test_windows_wait_for_one_another(plant: Plant) -> None:
    said = run(plant, {0: 40, 1: 30, 2: 30, 3: 50, 4: 50, 5: 99})
    assert said == {
        0: ("pooling", 0),
        1: ("pooling", 0),
        2: ("ok", 0),
        3: ("pooling", 3),
        4: ("ok", 3),
        5: ("pooling", 5),
    }
    series = plant.drift()
    assert series.row_count.tolist() == [40, 70, 100, 50, 100, 99, 1]
    assert series.n_eff.tolist() == series.row_count.tolist()


def test_a_pool_has_one_verdict(plant: Plant) -> None:
    run(plant, {0: 60, 1: 60, 2: 60, 3: 60}, shift=2)
    drifted = plant.drift().metrics["drifted"][:, 0]
    assert drifted.tolist() == [False, True, False, True, False]
    status = plant.drift().metrics["feature_status"][:, 0]
    assert status.tolist() == ["pooling", "ok", "pooling", "ok", "partial"]


def test_windows_without_rows_lie_within_a_pool(plant: Plant) -> None:
    assert run(plant, {0: 40, 7: 70, 9: 10}) == {0: ("pooling", 0), 7: ("ok", 0), 9: ("pooling", 9)}


def test_a_pool_gives_up_after_a_day(plant: Plant) -> None:
    said = run(plant, dict.fromkeys(range(26), 4))
    assert said[23] == ("too_few", 0)
    assert [said[hour] for hour in range(23)] == [("pooling", 0)] * 23
    assert said[24] == ("pooling", 24)


def test_a_pool_that_the_next_window_would_stretch_beyond_a_day_gives_up(plant: Plant) -> None:
    said = run(plant, {0: 10, 5: 10, 24: 10, 26: 95})
    assert said == {0: ("pooling", 0), 5: ("too_few", 0), 24: ("pooling", 24), 26: ("ok", 24)}
    assert plant.drift().metrics["feature_status"][1, 0] == "too_few"


def test_a_pool_before_a_long_silence_gives_up(plant: Plant) -> None:
    assert run(plant, {0: 10, 150: 10}) == {0: ("too_few", 0), 150: ("pooling", 150)}


def test_a_day_with_too_few_rows_waits_for_nobody(bare: Plant) -> None:
    bare.register(window=DAY)
    bare.refer(make_reference(window=DAY))
    close(bare, {3: 99, 30: 100, 50: 1, 75: 1, 125: 1})
    assert bare.statuses(step=DAY) == {
        0: ("too_few", 0),
        24: ("ok", 24),
        48: ("too_few", 48),
        72: ("too_few", 72),
        120: ("partial", 120),
    }


def test_pools_form_while_traffic_comes(plant: Plant) -> None:
    """The same as all at once: a window joins the pool that waits, whenever it closes."""
    for hour in range(12):
        close(plant, {hour: 30})
    said = plant.statuses()
    assert [said[hour] for hour in range(8)] == [
        ("pooling", 0), ("pooling", 0), ("pooling", 0), ("ok", 0),
        ("pooling", 4), ("pooling", 4), ("pooling", 4), ("ok", 4),
    ]  # fmt: skip


def test_sampled_rows_count_for_what_they_are_worth(plant: Plant) -> None:
    """Rows of unequal weight are worth fewer: the pool's n_eff, not the sum over its windows, has to suffice."""
    for hour, weight in ((0, 1), (1, 100)):
        plant.send(make_batch([f"{hour}-{i}" for i in range(55)], at(hour + 0.5), weight=weight, seed=hour))
    plant.send(make_batch(range(200), at(2.5), seed=2, weight=100))
    plant.send(make_batch(["last"], at(LAST)))
    plant.drain()
    plant.cycle()
    said = plant.statuses()
    assert (said[0], said[1], said[2]) == (("pooling", 0), ("pooling", 0), ("ok", 0))
    series = plant.drift()
    assert series.n_eff[1] == pytest.approx((55 + 5500) ** 2 / (55 + 55 * 10_000), rel=1e-5)
    assert set(series.metrics["feature_status"][2]) == {"ok", "no_reference"}


# --- rows that come late


def test_late_rows_change_numbers_and_not_pools(plant: Plant) -> None:
    before = run(plant, {0: 60, 1: 60, 2: 60, 3: 60})
    assert plant.drift().metrics["drifted"][1, 0] == 0
    close(plant, {0: 300}, shift=3)
    after = {hour: said for hour, said in plant.statuses().items() if hour < LAST}
    assert after == before == {0: ("pooling", 0), 1: ("ok", 0), 2: ("pooling", 2), 3: ("ok", 2)}
    series = plant.drift()
    assert series.row_count.tolist() == [360, 420, 60, 120, 1]
    assert series.metrics["drifted"][:, 0].tolist() == [False, True, False, False, False]


def test_late_rows_in_the_first_window_reach_every_window_of_the_pool(plant: Plant) -> None:
    run(plant, {0: 30, 1: 30, 2: 30, 3: 30})
    close(plant, {0: 5})
    assert plant.drift().row_count.tolist() == [35, 65, 95, 125, 1]


def test_late_rows_in_the_last_window_of_a_pool(plant: Plant) -> None:
    before = run(plant, {0: 30, 1: 70, 2: 30})
    close(plant, {1: 500})
    assert {hour: said for hour, said in plant.statuses().items() if hour < LAST} == before
    assert plant.drift().row_count.tolist() == [30, 600, 30, 1]


def test_late_rows_count_for_the_pool_that_still_waits(plant: Plant) -> None:
    close(plant, {0: 40, 1: 1, 2: 1})
    assert plant.statuses()[0] == ("pooling", 0)
    close(plant, {0: 58})  # 98 rows now, with those of the second hour 99
    close(plant, {2: 1, 4: 1})
    assert [plant.statuses()[hour] for hour in range(3)] == [("pooling", 0), ("pooling", 0), ("ok", 0)]


def test_a_late_window_in_a_gap_inside_a_pool(plant: Plant) -> None:
    run(plant, {0: 40, 3: 70, 4: 100})
    close(plant, {2: 500})
    said = {hour: said for hour, said in plant.statuses().items() if hour < LAST}
    assert said == {0: ("pooling", 0), 2: ("pooling", 0), 3: ("ok", 0), 4: ("ok", 4)}
    assert plant.drift().row_count.tolist() == [40, 540, 610, 100, 1]


def test_a_late_window_between_pools_is_a_pool_of_its_own(plant: Plant) -> None:
    run(plant, {0: 100, 5: 100})
    close(plant, {2: 100, 3: 10})
    said = {hour: said for hour, said in plant.statuses().items() if hour < LAST}
    assert said == {0: ("ok", 0), 2: ("ok", 2), 3: ("too_few", 3), 5: ("ok", 5)}


def test_a_late_window_before_all_others(plant: Plant) -> None:
    run(plant, {5: 100})
    close(plant, {0: 10, 1: 100})
    said = {hour: said for hour, said in plant.statuses().items() if hour < LAST}
    assert said == {0: ("too_few", 0), 1: ("ok", 1), 5: ("ok", 5)}


def test_late_rows_may_turn_too_few_into_a_verdict_once(plant: Plant) -> None:
    assert run(plant, {0: 10, 5: 10, 30: 100})[5] == ("too_few", 0)
    close(plant, {0: 79})
    assert plant.statuses()[5] == ("too_few", 0)
    close(plant, {5: 1})
    assert (plant.statuses()[0], plant.statuses()[5]) == (("pooling", 0), ("ok", 0))


# --- segments


@pytest.fixture
def segmented(bare: Plant) -> Plant:
    schema = replace(SCHEMA, segments=("country",))
    bare.register(schema=schema)
    bare.refer(make_reference(schema=schema))
    return bare


def send_countries(plant: Plant, hour: float, rows: Mapping[str, int]) -> None:
    schema = replace(SCHEMA, segments=("country",))
    for code, name in enumerate(("DE", "FR", "US")):
        if rows.get(name):
            batch = make_batch([f"{next(_names)}" for _ in range(rows[name])], at(hour), schema=schema, seed=code)
            batch.columns.codes[:] = code
            plant.send(batch, schema=schema)


def test_each_segment_has_pools_of_its_own(segmented: Plant) -> None:
    for hour, rows in {0: {"DE": 60, "FR": 200}, 1: {"DE": 60}, 2: {"DE": 60, "FR": 60}, 3: {"US": 5}}.items():
        send_countries(segmented, hour, rows)
    send_countries(segmented, LAST, {"DE": 1})
    segmented.drain()
    segmented.cycle()

    def said(segment: str) -> dict[int, tuple[str, int]]:
        return {h: s for h, s in segmented.statuses(segment=segment).items() if h < LAST}

    assert said("country=DE") == {0: ("pooling", 0), 1: ("ok", 0), 2: ("pooling", 2)}
    assert said("country=FR") == {0: ("ok", 0), 2: ("pooling", 2)}
    assert said("country=US") == {3: ("pooling", 3)}
    assert said("") == {0: ("ok", 0), 1: ("pooling", 1), 2: ("ok", 1), 3: ("pooling", 3)}
    assert segmented.drift(segment="country=DE").row_count.tolist() == [60, 120, 60, 1]
    assert segmented.profile(at(0), "country=FR").rows == 200


def test_a_segment_that_the_reference_never_had(segmented: Plant) -> None:
    schema = replace(SCHEMA, segments=("country",))
    for hour in (0, 1):
        batch = make_batch(range(150), at(hour), schema=schema)
        batch.columns.codes[:] = 3  # no country at all
        segmented.send(batch, schema=schema)
    send_countries(segmented, LAST, {"DE": 1})
    segmented.drain()
    segmented.cycle()
    series = segmented.drift(segment="country=__other__")
    assert series.status == ("no_reference", "no_reference")
    assert set(series.metrics["feature_status"].ravel()) == {"no_reference"}
    assert not series.metrics["drifted"].any()
    assert segmented.statuses()[0] == ("ok", 0)


# --- any traffic

TRAFFIC = st.lists(st.sampled_from([0, 0, 3, 20, 40, 60, 99, 100, 130]), min_size=1, max_size=30)
LATE = st.dictionaries(st.integers(0, 29), st.sampled_from([1, 40, 120]), max_size=3)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(traffic=TRAFFIC, late=LATE, cut=st.integers(0, 29))
def test_the_laws_of_pools_hold_for_any_traffic(
    bare: Plant, traffic: Sequence[int], late: Mapping[int, int], cut: int
) -> None:
    model = f"model-{next(_names)}"
    bare.register(model)
    bare.refer(make_reference(), model)
    counts = dict(enumerate(traffic))
    for part in ({h: n for h, n in counts.items() if h < cut}, {h: n for h, n in counts.items() if h >= cut}):
        send(bare, part, model_id=model)
        bare.drain()
        bare.cycle()
    send(bare, {LAST: 1}, model_id=model)
    bare.drain()
    bare.cycle()
    first = check_pools(bare, model, counts)
    assert_minimal(first, counts)

    send(bare, late, model_id=model)
    bare.drain()
    bare.cycle()
    after = {hour: counts.get(hour, 0) + late.get(hour, 0) for hour in {*counts, *late}}
    second = check_pools(bare, model, after)
    for hour, (status, pool) in first.items():
        assert second[hour][1] == pool
        assert (
            second[hour][0]
            in {"ok": ["ok"], "pooling": ["pooling", "too_few"], "too_few": ["too_few", "ok"]}[status]
        )


def check_pools(plant: Plant, model: str, counts: Mapping[int, int]) -> dict[int, tuple[str, int]]:
    """Check what holds for pools at any time, and give status and pool of each hour."""
    series = plant.drift(model)
    said = {h: s for h, s in plant.statuses(model_id=model).items() if h < LAST}
    present = sorted(hour for hour, rows in counts.items() if rows)
    assert sorted(said) == present
    rows = dict(
        zip((hours(start) for start in series.window_start.tolist()), series.row_count.tolist(), strict=True)
    )
    pools: dict[int, list[int]] = {}
    for hour in present:
        pools.setdefault(said[hour][1], []).append(hour)
    ends = []
    for start, members in sorted(pools.items()):
        inside = [hour for hour in present if start <= hour <= members[-1]]
        assert inside == members  # nothing between belongs to another pool
        assert members[0] == start or not counts[start]
        assert members[-1] + 1 - start <= 24
        assert all(said[hour][0] == Status.POOLING for hour in members[:-1])
        for hour in members:
            assert rows[hour] == sum(counts[other] for other in members if other <= hour)
        enough = rows[members[-1]] >= 100
        last = said[members[-1]][0]
        assert last == Status.OK if enough and last != Status.POOLING else last in ("too_few", "pooling", "ok")
        assert enough or last != Status.OK
        ends.append((start, members[-1]))
    assert all(end < following for (_, end), (following, _) in pairwise(ends))
    waiting = [start for start, members in pools.items() if said[members[-1]][0] == Status.POOLING]
    assert len(waiting) <= 1
    assert not waiting or waiting[0] == max(pools)
    return said


def assert_minimal(said: Mapping[int, tuple[str, int]], counts: Mapping[int, int]) -> None:
    """A pool is judged as soon as it has enough rows, not later."""
    for hour, (status, pool) in said.items():
        total = sum(rows for other, rows in counts.items() if pool <= other <= hour)
        assert (status == Status.OK) == (total >= 100)


def test_the_numbers_of_a_pool_are_those_of_its_rows_at_once(plant: Plant) -> None:
    """What is said of a pool is what would be said of one window with all of its rows."""
    plant.register("whole", window=6 * HOUR)
    plant.refer(make_reference(window=6 * HOUR), "whole")
    for hour in range(6):
        for model in ("fraud", "whole"):
            batch = make_batch([f"{hour}-{i}" for i in range(18)], at(hour + 0.5), shift=0.5, seed=hour)
            plant.send(replace(batch, model_id=model))
    plant.send(*(make_batch(["last"], at(LAST), model_id=model) for model in ("fraud", "whole")))
    plant.drain()
    plant.cycle()
    pooled, whole = plant.drift("fraud"), plant.drift("whole", step=6 * HOUR)
    assert pooled.status[5] == whole.status[0] == "ok"
    for name in ("psi_score", "ks_statistic", "mean", "std", "qvalue", "level", "sample_count"):
        np.testing.assert_allclose(pooled.metrics[name][5], whole.metrics[name][0], rtol=1e-6)

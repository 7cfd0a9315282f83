"""Natural variation learned from production, where the training data carry no timestamps."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.core.drift import KS_LARGE, PSI_LARGE
from driftline.core.natural import LEAST_LEARNED, find_skew, learn_natural_variation
from driftline.store.learning import Learning, read_learning, write_learning
from driftline.workers import learning
from tests.workers.plant import AMOUNT, DAY, HOUR, MONDAY, Plant, at, draw_columns, make_batch, make_reference

REFERENCE = make_reference()
GRID = REFERENCE.grid.grid_id


def column(values: object) -> np.ndarray:
    return np.array(values, float)[:, None]


def test_the_thresholds_cover_what_was_seen() -> None:
    psi = column([0.02] * 18 + [0.31, 0.02])
    ks = column([0.05] * 18 + [0.25, 0.05])
    drifted = column([0] * 18 + [1, 0]).astype(bool)
    natural = learn_natural_variation(psi, ks, drifted)
    assert 0.31 < natural.psi[0, 0] <= 0.5
    assert 0.25 <= natural.ks[0, 0] <= 0.45
    assert natural.fits(1)


def test_a_run_of_three_drifted_windows_is_left_out() -> None:
    calm, drifted = [0.02] * 20, [False] * 20
    two = learn_natural_variation(
        column([*calm, 0.4, 0.4, 0.02]), column([0.1] * 23), column([*drifted, 1, 1, 0]).astype(bool)
    )
    three = learn_natural_variation(
        column([*calm, 0.4, 0.4, 0.4]), column([0.1] * 23), column([*drifted, 1, 1, 1]).astype(bool)
    )
    assert two.psi[0, 0] >= 0.4
    assert three.psi[0, 0] < 0.1


def test_runs_are_left_out_feature_by_feature() -> None:
    psi = np.full((30, 2), 0.02)
    psi[10:14] = 0.4
    drifted = np.zeros((30, 2), bool)
    drifted[10:14, 0] = True
    drifted[[10, 12], 1] = True
    natural = learn_natural_variation(psi, np.zeros((30, 2)), drifted)
    assert natural.psi[0, 0] < 0.1
    assert natural.psi[0, 1] >= 0.4


def test_thresholds_are_never_raised_beyond_two_and_a_half_times() -> None:
    natural = learn_natural_variation(column([3.0] * 20), column([0.9] * 20), np.zeros((20, 1), bool))
    assert (natural.psi[0, 0], natural.ks[0, 0]) == (2.5 * PSI_LARGE, 2.5 * KS_LARGE)


def test_few_windows_teach_nothing() -> None:
    for windows in range(LEAST_LEARNED + 1):
        natural = learn_natural_variation(
            column([0.3] * windows), column([0.1] * windows), np.zeros((windows, 1), bool)
        )
        assert (natural.psi[0, 0] > 0) == (windows >= LEAST_LEARNED)


def test_what_is_not_defined_teaches_nothing() -> None:
    nothing = np.full((20, 1), np.nan)
    natural = learn_natural_variation(nothing, nothing, np.zeros((20, 1), bool))
    assert (natural.psi[0, 0], natural.ks[0, 0]) == (0, 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 2**31))
def test_laws_of_learning(windows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    psi, ks = rng.exponential(0.2, (windows, 3)), rng.random((windows, 3))
    drifted = rng.random((windows, 3)) < 0.3
    natural = learn_natural_variation(psi, ks, drifted)
    assert (natural.psi >= 0).all()
    assert (natural.psi <= 2.5 * PSI_LARGE).all()
    assert (natural.ks >= 0).all()
    assert (natural.ks <= 2.5 * KS_LARGE).all()
    if windows >= LEAST_LEARNED:
        alone = ~np.logical_and(drifted, True)
        for f in range(3):
            covered = np.minimum(psi[alone[:, f], f], 2.5 * PSI_LARGE)
            assert (covered <= natural.psi[0, f] + 1e-12).all()


def test_skew_is_drift_from_the_first_window_on() -> None:
    drifted = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 1]], bool)
    assert find_skew(drifted).tolist() == [True, False, False]
    assert find_skew(drifted[:1]).tolist() == [True, True, False]


# --- in the store and in the verdicts


@pytest.fixture
def untimed(bare: Plant) -> Plant:
    """A model with hourly windows, and a reference without timestamps."""
    bare.register()
    bare.refer(REFERENCE)
    return bare


def produce(plant: Plant, shifts: Mapping[int, float], rows: int = 120) -> None:
    """Send an hour of rows for each shift, and close all but the last one."""
    for hour, shift in shifts.items():
        plant.send(make_batch([f"{hour}-{i}" for i in range(rows)], at(hour + 0.5), shift=shift, seed=hour))
    plant.drain()
    plant.cycle()


def learned(plant: Plant, step: int = HOUR, grid: str = GRID) -> Learning:
    with plant.database.transaction() as conn:
        found = read_learning(conn, "fraud", "3", grid, step)
    assert found is not None
    return found


def drifted(plant: Plant) -> list[bool]:
    return plant.drift(metrics=("drifted",)).metrics["drifted"][:, AMOUNT].tolist()  # type: ignore[no-any-return]


def test_training_serving_skew_is_reported_at_once(untimed: Plant) -> None:
    produce(untimed, {0: 1.0, 1: 1.0})
    first = learned(untimed)
    assert (first.windows, first.since, first.until, first.through) == (1, at(0), at(14 * 24), at(1))
    assert first.skewed.tolist() == [True, False, False, False, False]
    assert first.psi_offset[AMOUNT] == pytest.approx(1, abs=0.4)
    assert not first.is_over
    produce(untimed, dict.fromkeys(range(2, 40), 1.0))
    later = learned(untimed)
    assert later.skewed.tolist() == [True, False, False, False, False]
    assert later.psi[AMOUNT] < PSI_LARGE  # a difference that stays is not taken for variation
    assert drifted(untimed) == [True] * 39 + [False]


def test_what_comes_and_goes_is_learned(untimed: Plant) -> None:
    """Every ninth hour is different, by a psi of about 0.25: drift at first, then known."""
    produce(untimed, {hour: 0.5 if hour % 9 == 4 else 0.0 for hour in range(24 * 4)}, rows=400)
    found = drifted(untimed)
    assert sum(found[:24]) >= 2
    assert not any(found[48:])
    assert PSI_LARGE < learned(untimed).psi[AMOUNT] <= 0.5
    assert not learned(untimed).skewed.any()


def test_a_large_change_is_drift_all_the_same(untimed: Plant) -> None:
    produce(untimed, {hour: 2.0 if hour % 9 == 4 else 0.0 for hour in range(24 * 4)})
    assert drifted(untimed)[94] is True


def test_it_looks_again_once_a_day(untimed: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, int]] = []

    def note(conn, entry):  # type: ignore[no-untyped-def]
        if entry.step == HOUR:
            written.append(((entry.through - MONDAY) // HOUR, entry.windows))
        write_learning(conn, entry)

    monkeypatch.setattr(learning, "write_learning", note)
    produce(untimed, dict.fromkeys(range(24 * 3), 0.0))
    assert written == [(1, 1), (2, 2), (3, 3), (27, 27), (51, 51)]


def test_after_two_weeks_it_stays(bare: Plant) -> None:
    bare.register(window=6 * HOUR)
    bare.refer(make_reference(window=6 * HOUR))
    produce(bare, dict.fromkeys(range(0, 14 * 24 + 12, 6), 0.0))
    done = learned(bare, 6 * HOUR)
    assert done.is_over
    assert (done.windows, done.through) == (14 * 4, at(14 * 24))
    produce(bare, dict.fromkeys(range(14 * 24 + 12, 17 * 24, 12), 0.6))
    assert learned(bare, 6 * HOUR).through == done.through
    np.testing.assert_array_equal(learned(bare, 6 * HOUR).psi, done.psi)


def test_days_are_learned_apart(untimed: Plant) -> None:
    produce(untimed, {day * 24 + 23: 0.5 if day % 3 == 1 else 0.0 for day in range(12)}, rows=300)
    produce(untimed, {12 * 24 + 1: 0.0})
    days = learned(untimed, DAY)
    assert (days.windows, days.since) == (12, at(0))
    assert days.psi[AMOUNT] > 0.2


def test_windows_without_a_verdict_teach_nothing(untimed: Plant) -> None:
    produce(untimed, {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}, rows=60)
    found = learned(untimed)
    assert (found.windows, found.since, found.through) == (2, at(1), at(4))


def test_a_reference_with_timestamps_teaches_itself(bare: Plant) -> None:
    rows = 20_000
    times = MONDAY - DAY * 30 + np.arange(rows) * (30 * DAY // rows)
    reference = make_reference(rows=rows, times=times, window=6 * HOUR)
    assert reference.natural is not None
    bare.register(window=6 * HOUR)
    bare.refer(reference)
    produce(bare, dict.fromkeys(range(0, 48, 6), 0.0))
    assert bare.execute("SELECT count(*) FROM learned_variation") == [(0,)]


def test_each_reference_is_learned_for_anew(untimed: Plant) -> None:
    other = make_reference(seed=77)
    untimed.refer(other, valid_from=at(5))
    produce(untimed, dict.fromkeys(range(10), 0.0))
    assert (learned(untimed).windows, learned(untimed).since) == (3, at(0))
    assert learned(untimed, grid=other.grid.grid_id).since == at(5)


def test_segments_have_the_variation_of_everything(bare: Plant) -> None:
    from dataclasses import replace

    from tests.workers.plant import SCHEMA

    schema = replace(SCHEMA, segments=("country",))
    bare.register(schema=schema)
    bare.refer(make_reference(schema=schema))
    for hour in range(60):
        columns = draw_columns(400, shift=0.5 if hour % 9 == 4 else 0.0, seed=hour, extra=1)
        columns = replace(columns, codes=columns.codes[:, :1], tables=columns.tables[:1])
        batch = make_batch([f"{hour}-{i}" for i in range(400)], at(hour), columns=columns, schema=schema)
        bare.send(batch, schema=schema)
    bare.drain()
    bare.cycle()
    assert bare.execute("SELECT count(DISTINCT grid_id) FROM learned_variation") == [(1,)]
    whole, part = (bare.drift(segment=s).metrics["level"][:, AMOUNT] for s in ("", "country=DE"))
    assert whole[4] == 2
    assert whole[49] == whole[58] == 0
    assert part[58] == 0


def test_it_goes_with_its_model(untimed: Plant) -> None:
    produce(untimed, {0: 1.0, 1: 1.0})
    untimed.execute("DELETE FROM models")
    assert untimed.execute("SELECT count(*) FROM learned_variation") == [(0,)]

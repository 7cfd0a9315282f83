"""The verdict: what has drifted, what has not, and why there is none."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.bins import choose_bins, group_cells
from driftline.core.columns import Columns
from driftline.core.drift import Drift, NaturalVariation, Status, compute_drift
from driftline.core.profile import Profile, empty_profile, profile_rows
from driftline.core.reference import Reference
from driftline.core.schema import Schema, Task
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

SCHEMA = make_schema(len(SHAPES), 0, 2)


def draw(seed: int, rows: int, **changed: NDArray[np.float64]) -> Columns:
    """Every shape, 40 categories by a power law, and ids that never come up again."""
    rng = np.random.default_rng(seed)
    block = [changed.get(shape.replace(" ", "_"), make(rng, rows)) for shape, make in SHAPES.items()]
    codes = (rng.zipf(1.5, rows) % 40).astype(str)
    return make_columns(block, categories=[codes, [f"id {seed} {row}" for row in range(rows)]])


def draw_block(rng: Generator, rows: int, features: int) -> NDArray[np.float64]:
    names = list(SHAPES)
    return np.array([SHAPES[names[f % len(names)]](rng, rows) for f in range(features)])


REFERENCE = make_reference(draw(1, 20_000), SCHEMA)


def compare(columns: Columns, reference: Reference = REFERENCE, **options: object) -> Drift:
    profile = profile_rows(reference.grid, columns)
    return compute_drift(
        reference.grid, reference.bins, reference.profile, profile, outputs=reference.outputs, **options
    )  # type: ignore[arg-type]


def place(name: str) -> int:
    return list(SHAPES).index(name)


@pytest.mark.parametrize("rows", [500, 900, 20_000])
def test_nothing_drifts_when_nothing_changed(rows: int) -> None:
    drift = compare(draw(2, rows))
    present = np.isin(np.arange(len(drift.level)), [len(SHAPES), len(SHAPES) + 1], invert=True)
    assert (drift.level == 0).all()
    assert (drift.status[present] == Status.OK).all()
    assert (drift.status[~present] == Status.NO_REFERENCE).all()
    assert (drift.psi_score[present] < 0.1).all()
    assert drift.effective_rows == rows


def test_ids_that_never_come_up_again_are_no_drift_but_never_seen() -> None:
    drift = compare(draw(2, 900))
    assert drift.level[-1] == 0
    assert drift.psi_raw[-1] == 0
    few = make_reference(draw(1, 600), SCHEMA)
    drift = compare(draw(2, 900), few)
    assert drift.summary.never_seen_rate[-1] == 1
    assert drift.level[-1] == 0


@pytest.mark.parametrize("shift", [0.6, 1.0, 5.0, 1000.0])
def test_a_shift_drifts_alone(shift: float) -> None:
    moved = SHAPES["normal"](np.random.default_rng(3), 900) + shift
    drift = compare(draw(2, 900, normal=moved))
    assert np.flatnonzero(drift.drifted).tolist() == [place("normal")]
    assert drift.psi_score[0] > 0.2
    assert drift.qvalue[0] < 0.01
    assert drift.wasserstein[0] == pytest.approx(shift, rel=0.2)


def test_a_smaller_shift_is_moderate() -> None:
    moved = SHAPES["normal"](np.random.default_rng(3), 5000) + 0.4
    drift = compare(draw(2, 5000, normal=moved))
    assert drift.level[0] == 1
    assert not drift.drifted.any()


def test_significance_alone_is_no_drift() -> None:
    moved = SHAPES["normal"](np.random.default_rng(3), 50_000) + 0.1
    drift = compare(draw(2, 50_000, normal=moved))
    assert drift.qvalue[0] < 1e-9
    assert drift.level[0] == 0


def test_effect_alone_is_no_drift() -> None:
    """A hundred rows in 50 bins: the textbook's PSI is large by chance, and means nothing."""
    continuous = [place(name) for name in ("normal", "lognormal", "cauchy", "uniform", "bimodal")]
    large = []
    for seed in range(20):
        drift = compare(draw(seed, 100), min_samples=0)
        large.append(drift.psi_raw[continuous] > 0.2)
        assert (drift.level == 0).all()
    assert np.mean(large) > 0.9


def test_a_new_category_a_surge_of_missing_values_and_a_constant_are_drift() -> None:
    rng = np.random.default_rng(3)
    values = np.where(rng.random(900) < 0.5, np.nan, rng.standard_normal(900))
    changed = draw(2, 900, normal=values, uniform=np.full(900, 0.5))
    new = replace(changed, tables=(tuple(f"new {value}" for value in changed.tables[0]), changed.tables[1]))
    drift = compare(new)
    assert set(np.flatnonzero(drift.drifted)) == {place("normal"), place("uniform"), len(SHAPES) + 2}
    assert drift.summary.never_seen_rate[-2] == 1
    assert drift.summary.missing_rate[0] == pytest.approx(0.5, abs=0.05)


def test_natural_variation_raises_the_thresholds() -> None:
    moved = draw(2, 900, normal=SHAPES["normal"](np.random.default_rng(3), 900) + 0.8)
    features = REFERENCE.grid.features
    plain = compare(moved)
    usual = NaturalVariation(np.full((1, features), 1.0), np.full((1, features), 0.5))
    small = NaturalVariation(np.full((1, features), 0.01), np.full((1, features), 0.01))
    only_psi = NaturalVariation(usual.psi, small.ks)
    assert plain.drifted[0]
    assert compare(moved, natural=small).drifted[0]
    assert not compare(moved, natural=usual).level.any()
    assert compare(moved, natural=only_psi).drifted[0]  # ks alone is large enough


def test_a_natural_threshold_between_moderate_and_large_leaves_only_large() -> None:
    moved = draw(2, 5000, normal=SHAPES["normal"](np.random.default_rng(3), 5000) + 0.4)
    features = REFERENCE.grid.features
    between = NaturalVariation(np.full((1, features), 0.19), np.full((1, features), 0.17))
    assert compare(moved).level[0] == 1
    assert compare(moved, natural=between).level[0] == 0


def test_hours_have_natural_variation_of_their_own() -> None:
    psi = np.arange(168.0)[:, None] * np.ones((1, 3))
    variation = NaturalVariation(psi, psi / 1000)
    assert variation.at(30).psi.tolist() == [[30.0, 30.0, 30.0]]
    assert variation.at(30).ks.tolist() == [[0.03, 0.03, 0.03]]
    assert variation.fits(3)
    assert not variation.fits(4)
    single = NaturalVariation(psi[:1], psi[:1])
    assert single.at(30).psi.tolist() == [[0.0, 0.0, 0.0]]


def test_few_rows_give_numbers_but_no_verdict() -> None:
    moved = SHAPES["normal"](np.random.default_rng(3), 400) + 3
    columns = draw(2, 400, normal=moved)
    few = compare(columns)
    assert (few.status[: len(SHAPES)] == Status.TOO_FEW).all()
    assert few.psi_raw[0] > 1
    assert few.psi_pvalue[0] < 1e-9
    assert np.isnan(few.qvalue).all()
    assert not few.level.any()
    assert compare(columns, min_samples=400).drifted[0]
    coarse = replace(REFERENCE, bins=group_cells(REFERENCE.grid, REFERENCE.profile.counts, choose_bins(400)))
    assert compare(columns, coarse).drifted[0]


def test_weights_do_not_make_few_rows_many() -> None:
    columns = draw(2, 300)
    profile = profile_rows(REFERENCE.grid, columns, weights=100)
    drift = compute_drift(REFERENCE.grid, REFERENCE.bins, REFERENCE.profile, profile)
    assert drift.effective_rows == 300
    assert (drift.status[: len(SHAPES)] == Status.TOO_FEW).all()


def test_zero_rows_one_row_and_missing_columns_have_a_status() -> None:
    nothing = compute_drift(REFERENCE.grid, REFERENCE.bins, REFERENCE.profile, empty_profile(REFERENCE.grid))
    present = slice(0, len(SHAPES))
    assert (nothing.status[present] == Status.MISSING).all()
    assert not nothing.level.any()
    assert np.isnan(nothing.psi_score).all()
    one = compare(draw(2, 1))
    assert (one.status[present] == Status.TOO_FEW).all()
    few = compare(draw(2, 20, normal=np.full(20, np.nan)))
    assert few.status[0] == Status.MISSING
    assert np.isnan([few.psi_score[0], few.ks_statistic[0], few.qvalue[0]]).all()


@pytest.mark.parametrize("gone", [np.nan, np.inf])
def test_a_feature_that_lost_all_its_values_has_drifted(gone: float) -> None:
    drift = compare(draw(2, 900, normal=np.full(900, gone)))
    assert drift.status[0] == Status.OK
    assert drift.drifted[0]
    assert drift.psi_score[0] > 5
    assert np.isnan(drift.ks_statistic[0])
    assert drift.summary.missing_rate[0] + drift.summary.infinite_rate[0] == 1


def test_what_the_reference_did_not_have_has_no_reference() -> None:
    reference = make_reference(make_columns([np.full(1000, np.nan), np.arange(1000)]), make_schema(2))
    drift = compare(make_columns([np.arange(1000), np.arange(1000)]), reference)
    assert drift.status.tolist() == ["no_reference", "ok", "no_reference", "no_reference"]
    assert not drift.level.any()


def with_outputs(prediction: NDArray[np.float64], score: NDArray[np.float64], features: int) -> Columns:
    columns = make_columns(np.random.default_rng(len(prediction)).standard_normal((features, len(prediction))))
    return replace(columns, float64=np.stack([prediction, score], axis=1))


def test_outputs_are_tested_on_their_own() -> None:
    """Among 2,000 features a p-value of 1 in 1,000 is nothing; for the prediction alone it is something."""
    rng = np.random.default_rng(5)
    schema = Schema(make_schema(200).features, Task.REGRESSION)
    reference = make_reference(with_outputs(rng.standard_normal(2000), rng.random(2000), 200), schema)
    actual = with_outputs(rng.standard_normal(900) + 0.6, rng.random(900), 200)
    apart, together = compare(actual, reference), None
    profile = profile_rows(reference.grid, actual)
    together = compute_drift(reference.grid, reference.bins, reference.profile, profile)
    prediction, score = reference.names.index("__prediction__"), reference.names.index("__score__")
    assert np.flatnonzero(reference.outputs).tolist() == [prediction, score]
    assert apart.drifted[prediction]
    np.testing.assert_array_equal(apart.qvalue[[prediction, score]], apart.pvalue[[prediction, score]])
    assert together.qvalue[score] >= together.pvalue[score]
    np.testing.assert_array_equal(apart.pvalue, together.pvalue)


def test_both_tests_count_and_cost_a_factor_of_two() -> None:
    drift = compare(draw(2, 900, normal=SHAPES["normal"](np.random.default_rng(3), 900) + 0.5))
    numeric = slice(0, len(SHAPES))
    smaller = np.minimum(drift.psi_pvalue[numeric], drift.ks_pvalue[numeric])
    np.testing.assert_allclose(drift.pvalue[numeric], np.minimum(1, 2 * smaller))
    category = len(SHAPES) + 2
    smaller = min(drift.psi_pvalue[category], drift.chi2_pvalue[category])
    assert drift.pvalue[category] == pytest.approx(min(1, 2 * smaller))
    assert np.isnan(drift.ks_pvalue[category])
    assert np.isnan(drift.chi2_pvalue[numeric]).all()


def test_the_score_is_psi_less_its_noise_floor() -> None:
    drift = compare(draw(2, 900))
    floor = drift.psi_raw[0] - 49 * (1 / 900 + 1 / 20_000)
    assert drift.psi_score[0] == pytest.approx(max(0, floor))
    assert (drift.psi_score[drift.status == Status.OK] >= 0).all()


def pooled_profiles(reference: Reference, seeds: range, rows: int, features: int) -> list[Profile]:
    return [
        profile_rows(reference.grid, make_columns(draw_block(np.random.default_rng([seed, rows]), rows, features)))
        for seed in seeds
    ]


@pytest.mark.parametrize("rows", [200, 900, 5000])
def test_five_hundred_features_hardly_ever_cry_wolf(rows: int) -> None:
    """Of 40 windows without drift none has a drifted feature; the full run is benchmarks/false_positives.py."""
    features = 500
    reference = make_reference(
        make_columns(draw_block(np.random.default_rng(1), 10_000, features)),
        make_schema(features),
        window_rows=rows,
    )
    assert reference.bins.count == choose_bins(rows)
    for profile in pooled_profiles(reference, range(10 if rows > 900 else 40), rows, features):
        drift = compute_drift(reference.grid, reference.bins, reference.profile, profile)
        assert (drift.status[:features] == Status.OK).all()
        assert not drift.drifted.any()


def test_one_feature_of_five_hundred_that_drifted_is_reported() -> None:
    """PSI of two normals is the square of their distance: 0.3 of the population, in 38 of 40 windows at least."""
    features, rows, found = 500, 900, 0
    reference = make_reference(
        make_columns(draw_block(np.random.default_rng(1), 10_000, features)),
        make_schema(features),
        window_rows=rows,
    )
    for seed in range(40):
        block = draw_block(np.random.default_rng([seed, rows]), rows, features)
        block[0] += np.sqrt(0.3)
        profile = profile_rows(reference.grid, make_columns(block))
        drift = compute_drift(reference.grid, reference.bins, reference.profile, profile)
        found += bool(drift.drifted[0])
        assert drift.drifted.sum() == drift.drifted[0]
    assert found >= 38


@pytest.mark.parametrize(
    ("categories", "reference_rows", "rows"),
    [(30, 100, 100), (300, 1000, 100), (500, 2000, 500), (3000, 5000, 900)],
)
def test_many_categories_alike_do_not_cry_wolf(categories: int, reference_rows: int, rows: int) -> None:
    rng = np.random.default_rng(categories)
    features = 60
    table = tuple(f"v{i}" for i in range(categories))

    def draw_categories(count: int) -> Columns:
        codes = rng.integers(0, categories, (count, features)).astype(np.int32)
        nothing = np.full((count, 2), np.nan)
        return Columns(np.empty((count, 0), np.float32), nothing, codes, (table,) * features)

    reference = make_reference(draw_categories(reference_rows), make_schema(categories=features))
    reference = replace(
        reference,
        bins=group_cells(reference.grid, reference.profile.counts, choose_bins(min(rows, reference_rows))),
    )
    drifts = [compare(draw_categories(rows), reference) for _ in range(5)]
    judged = np.array([drift.level[reference.grid.numeric :] for drift in drifts])
    assert (judged == 2).mean() <= 0.02
    assert np.mean([(drift.psi_pvalue[reference.grid.numeric :] < 0.01).mean() for drift in drifts]) <= 0.02

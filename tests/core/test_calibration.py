"""Calibration: curves find how likely a class is, and say how well they know it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.core.calibration import MAX_KNOTS, Curve, calibrate, calibration_variance, fit_curves

Truth = Callable[[NDArray[np.float64]], NDArray[np.float64]]
SHAPES: dict[str, Truth] = {
    "right as they are": lambda s: s,
    "too high": lambda s: s**2,
    "too sure": lambda s: 1 / (1 + np.sqrt((1 - s) / s)),
    "the wrong way round": lambda s: 1 - s,
    "neither rising nor falling": lambda s: 0.5 + 0.4 * np.sin(8 * s),
    "rare": lambda s: 0.3 * s**6,
}


def both(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([1 - scores, scores])


def fit(truth: Truth, rows: int, seed: int) -> tuple[Curve, ...]:
    rng = np.random.default_rng(seed)
    scores = rng.random(rows)
    return fit_curves(both(scores), (rng.random(rows) < truth(scores)).astype(int), np.ones(rows))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curve_is_found(shape: str) -> None:
    scores = np.linspace(0.02, 0.98, 49)
    found = calibrate(fit(SHAPES[shape], 20_000, seed=1), both(scores))[:, 1]
    assert np.abs(found - SHAPES[shape](scores)).max() < 0.05


@pytest.mark.parametrize("rows", [300, 3_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_of_an_average_is_as_large_as_stated(shape: str, rows: int) -> None:
    """The window's scores are higher than the reference's: what counts is the curve there, not the mean.

    A dozen hits would be too few to know the error by, so where they are rare there are more rows.
    """
    rows = max(rows, 1_000) if shape == "rare" else rows
    scores = np.random.default_rng(0).beta(2.5, 1, 1_000)
    slopes = np.zeros((1, 1_000, 2))
    slopes[0, :, 1] = 1 / 1_000
    ratios = []
    for seed in range(40):
        curves = fit(SHAPES[shape], rows, seed)
        chances = calibrate(curves, both(scores))
        error = np.sqrt(calibration_variance(curves, both(scores), chances, slopes)[0])
        ratios.append((chances[:, 1].mean() - SHAPES[shape](scores).mean()) / error)
    assert 0.75 < np.sqrt(np.mean(np.square(ratios))) < 1.35


def test_the_error_of_three_classes_is_as_large_as_stated() -> None:
    def draw(rows: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        scores = rng.dirichlet([1, 0.7, 0.4], rows)
        truth = np.sqrt(scores) / np.sqrt(scores).sum(axis=1, keepdims=True)
        return scores, (rng.random((rows, 1)) > truth.cumsum(axis=1)[:, :2]).sum(axis=1)

    window, _ = draw(1_000, np.random.default_rng(0))
    slopes = np.repeat(np.eye(3)[:, None] / 1_000, 1_000, axis=1)
    expected = (np.sqrt(window) / np.sqrt(window).sum(axis=1, keepdims=True)).mean(axis=0)
    ratios = []
    for seed in range(40):
        scores, truth = draw(2_000, np.random.default_rng(seed + 1))
        curves = fit_curves(scores, truth, np.ones(2_000))
        chances = calibrate(curves, window)
        error = np.sqrt(calibration_variance(curves, window, chances, slopes))
        ratios.append((chances.mean(axis=0) - expected) / error)
    sizes = np.sqrt(np.mean(np.square(ratios), axis=0))
    assert ((sizes > 0.7) & (sizes < 1.35)).all()


def test_softened_scores_of_several_classes_are_found() -> None:
    """The truth depends on all scores at once: one class against the rest would not see it."""
    rng = np.random.default_rng(7)
    scores = rng.dirichlet([1, 0.7, 0.4], 15_000)
    truth = np.sqrt(scores) / np.sqrt(scores).sum(axis=1, keepdims=True)
    codes = (rng.random((15_000, 1)) > truth.cumsum(axis=1)[:, :2]).sum(axis=1)
    found = calibrate(fit_curves(scores, codes, np.ones(15_000)), scores)
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.03


def test_weights_stand_for_rows() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(800)
    truth = (rng.random(800) < scores).astype(int)
    weights = rng.integers(1, 4, 800)
    rows = np.repeat(np.arange(800), weights)
    once = fit_curves(both(scores), truth, weights.astype(float))
    often = fit_curves(both(scores[rows]), truth[rows], np.ones(len(rows)))
    np.testing.assert_allclose(calibrate(once, both(scores)), calibrate(often, both(scores)), atol=1e-6)


def test_scores_that_are_no_probabilities_are_calibrated_too() -> None:
    rng = np.random.default_rng(3)
    margins = rng.normal(0, 2, 20_000)
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-margins))).astype(int)
    curves = fit_curves(both(margins), truth, np.ones(20_000))
    assert not curves[1].probability
    found = calibrate(curves, both(np.array([-2.0, 0, 2])))[:, 1]
    np.testing.assert_allclose(found, [0.12, 0.5, 0.88], atol=0.03)


def test_few_labels_leave_a_line() -> None:
    assert len(fit(SHAPES["right as they are"], 40, seed=4)[0].knots) == 2
    assert len(fit(SHAPES["right as they are"], 5_000, seed=4)[0].knots) == MAX_KNOTS


def test_beyond_the_reference_the_curve_is_flat_and_says_so() -> None:
    _, curve = fit(lambda s: s, 1_000, seed=5)
    inner = slice(3, -3)
    narrow = Curve(curve.knots[inner], curve.odds[inner], curve.covariance[inner, inner], curve.probability)
    assert narrow.beyond(np.array([0.0, 0.5, 1.0])).tolist() == [True, False, True]
    assert narrow.read(np.array([0.0, 1.0])).tolist() == pytest.approx(narrow.odds[[0, -1]].tolist())


@given(
    scores=st.lists(st.sampled_from([-3.0, 0.0, 1e-9, 0.25, 0.5, 1.0, 7.0]), min_size=4, max_size=60),
    seed=st.integers(0, 1_000),
)
def test_whatever_the_scores_are_the_curve_is_a_probability(scores: list[float], seed: int) -> None:
    values = np.array([*scores, 0.1, 0.9])
    truth = np.random.default_rng(seed).integers(0, 2, len(values))
    truth[:2] = 0, 1
    curves = fit_curves(both(values), truth, np.ones(len(values)))
    found = calibrate(curves, both(values))
    assert ((found > 0) & (found < 1)).all()
    assert all(np.linalg.eigvalsh(curve.covariance).min() > 0 for curve in curves)
    assert found[:, 1].mean() == pytest.approx(truth.mean(), abs=0.01)

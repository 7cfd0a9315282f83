"""Direct loss estimation: trees find where errors are large."""

import numpy as np
import pytest
from numpy.typing import NDArray

from driftline.core.intervals import Clusters, find_clusters
from driftline.core.loss_trees import LEAST_LEAF, LossTrees, grow_loss_trees


def draw(rows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Errors are normal and three times as large where the second column is above 1."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((rows, 3))
    return inputs, rng.standard_normal(rows) * np.where(inputs[:, 1] > 1, 3, 1)


def grow(rows: int, seed: int = 1) -> LossTrees:
    inputs, errors = draw(rows, seed)
    return grow_loss_trees(inputs, errors, np.ones(rows), Clusters(None, rows), np.random.default_rng(seed))


def test_errors_are_found_where_they_are_large() -> None:
    usual, large = grow(10_000).read(np.array([[0, 0, 0], [0, 2.0, 0]])).mean(axis=0)
    normal = np.array([np.sqrt(2 / np.pi), 1, 3])  # E|e|, E e², E e⁴
    np.testing.assert_allclose(usual, normal, rtol=0.2)
    np.testing.assert_allclose(large, normal * [3, 9, 81], rtol=0.35)


def test_the_mean_over_the_reference_is_its_own() -> None:
    inputs, errors = draw(5_000, seed=2)
    trees = grow_loss_trees(inputs, errors, np.ones(5_000), Clusters(None, 5_000), np.random.default_rng(2))
    assert trees.read(inputs).mean(axis=(0, 1))[:2] == pytest.approx(
        [np.abs(errors).mean(), (errors**2).mean()], rel=0.03
    )


def test_the_spread_of_the_trees_is_the_error_of_the_estimate() -> None:
    window, _ = draw(1_000, seed=0)
    expected = np.sqrt(2 / np.pi) * np.where(window[:, 1] > 1, 3, 1).mean()
    ratios = []
    for seed in range(40):
        found = grow(1_000, seed + 1).read(window)[:, :, 0].mean(axis=1)
        ratios.append((found.mean() - expected) / found.std())
    assert 0.6 < np.sqrt(np.mean(np.square(ratios))) < 1.3


def test_few_rows_leave_one_leaf() -> None:
    inputs, errors = draw(LEAST_LEAF + 5, seed=3)
    few = Clusters(None, len(errors))
    trees = grow_loss_trees(inputs, errors, np.ones(len(errors)), few, np.random.default_rng(3))
    assert np.ptp(trees.read(inputs), axis=1).max() == 0


def test_rows_of_one_entity_are_drawn_together() -> None:
    inputs, errors = (np.repeat(values, 5, axis=0) for values in draw(400, seed=4))
    entities = find_clusters(np.repeat(np.arange(400), 5), 2_000)
    spread = {
        count: grow_loss_trees(inputs, errors, np.ones(2_000), clusters, np.random.default_rng(5))
        .read(inputs)[:, :, 0]
        .mean(axis=1)
        .std()
        for count, clusters in ((400, entities), (2_000, Clusters(None, 2_000)))
    }
    assert 1.5 < spread[400] / spread[2_000] < 3.5


def test_missing_and_infinite_inputs_and_constant_columns_have_a_leaf() -> None:
    inputs, errors = draw(500, seed=6)
    inputs[::3, 0], inputs[1::7, 1], inputs[:, 2] = np.nan, np.inf, 4.0
    inputs = np.column_stack([inputs, np.full(500, np.nan)])
    trees = grow_loss_trees(inputs, errors, np.ones(500), Clusters(None, 500), np.random.default_rng(6))
    assert np.isfinite(trees.read(inputs)).all()


def test_equal_seeds_grow_equal_trees() -> None:
    np.testing.assert_array_equal(grow(300).moments, grow(300).moments)

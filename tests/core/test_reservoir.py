"""Rows chosen from a stream: uniformly, whatever its parts, in bounded memory."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from driftline.core.reservoir import Reservoir


def choose(
    rows: int, size: int, cuts: Sequence[int] = (), groups: NDArray[np.int64] | None = None, seed: int = 0
) -> NDArray[np.int64]:
    reservoir = Reservoir(size, np.random.default_rng(seed))
    for part in np.split(np.arange(rows), sorted(cut % (rows + 1) for cut in cuts)):
        reservoir.add({"row": part}, None if groups is None else groups[part])
    return reservoir.take()["row"]


@given(
    st.integers(0, 300),
    st.integers(1, 50),
    st.lists(st.integers(0, 300), max_size=8),
    st.none() | st.integers(1, 40),
)
def test_the_parts_do_not_matter(rows: int, size: int, cuts: list[int], lists: int | None) -> None:
    groups = None if lists is None else np.random.default_rng(7).integers(0, lists, rows)
    chosen = choose(rows, size, cuts, groups)
    assert chosen.tolist() == choose(rows, size, (), groups).tolist()
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    if groups is None:
        assert len(chosen) == min(rows, size)
    else:
        assert len(chosen) <= size
        assert set(chosen.tolist()) == set(np.flatnonzero(np.isin(groups, groups[chosen])).tolist())


@pytest.mark.parametrize("by_list", [False, True])
def test_every_row_is_as_likely_as_any_other(by_list: bool) -> None:
    groups = np.arange(40) // 2 if by_list else None
    counts = np.zeros(40)
    for seed in range(2_000):
        counts[choose(40, 10, (13, 29), groups, seed)] += 1
    low, high = binom.interval(1 - 1e-4 / 40, 2_000, 0.25)
    assert ((counts >= low) & (counts <= high)).all()


def test_it_never_holds_more_than_twice_its_size_and_a_part() -> None:
    reservoir = Reservoir(100, np.random.default_rng(0))
    held = []
    for start in range(0, 100_000, 500):
        reservoir.add({"row": np.arange(start, start + 500)})
        held.append(sum(len(part["row"]) for part in reservoir._parts))
    assert max(held) <= 200 + 500
    assert held[-1] < 300
    assert len(reservoir.take()["row"]) == 100


def test_a_list_of_more_rows_than_fit_is_not_chosen() -> None:
    groups = np.array([1] * 50 + [2] * 3 + [3] * 3)
    assert 1 not in groups[choose(56, 10, (20,), groups)]


def test_nothing_offered_is_nothing_chosen() -> None:
    assert Reservoir(5, np.random.default_rng(0)).take() == {}

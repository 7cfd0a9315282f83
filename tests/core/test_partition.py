"""Edges are placed as well as brute force would place them."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.core.partition import partition_values


def heaviest_open_cell(weights: NDArray[np.int64], edges: list[int]) -> int:
    """Place 2i is directly before value i, 2i + 1 directly after; a cell (2i, 2i + 1) is closed."""
    return max(
        (
            int(weights[(low + 1) // 2 : (high + 1) // 2].sum())
            for low, high in pairwise(edges)
            if not (low % 2 == 0 and high == low + 1)
        ),
        default=0,
    )


def best(weights: NDArray[np.int64], room: int) -> int:
    last = 2 * len(weights) - 1
    inner = range(1, last)
    return min(
        heaviest_open_cell(weights, [0, *chosen, last])
        for size in range(min(room - 2, len(inner)) + 1)
        for chosen in combinations(inner, size)
    )


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(2, 9))
def test_no_other_placement_has_a_lighter_heaviest_cell(weights: list[int], room: int) -> None:
    masses = np.array(weights)
    begin, end = partition_values(masses, room)
    edges = sorted({*(2 * begin).tolist(), *(2 * end + 1).tolist()})
    assert len(begin) + len(end) <= room
    assert edges[0] == 0
    assert edges[-1] == 2 * len(masses) - 1
    assert heaviest_open_cell(masses, edges) == best(masses, room)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=400), st.integers(10, 300))
def test_the_heaviest_cell_weighs_at_most_two_shares(weights: list[int], room: int) -> None:
    masses = np.array(weights)
    begin, end = partition_values(masses, room)
    edges = sorted({*(2 * begin).tolist(), *(2 * end + 1).tolist()})
    assert len(begin) + len(end) <= room
    assert heaviest_open_cell(masses, edges) <= 2 * masses.sum() / (room - 1)


@pytest.mark.parametrize(("values", "room"), [(1, 2), (5, 10), (120, 241), (248, 497)])
def test_where_there_is_room_every_value_is_alone(values: int, room: int) -> None:
    begin, end = partition_values(np.arange(values) + 1, room)
    assert begin.tolist() == end.tolist() == list(range(values))


def test_edges_to_spare_close_the_heaviest_values() -> None:
    begin, end = partition_values(np.array([2, 3, 3, 3, 2, 2]), 8)
    assert begin.tolist() == [0, 1, 2, 3, 4, 5]
    assert end.tolist() == [1, 5]


def test_edges_to_spare_do_not_cut_off_single_rows() -> None:
    begin, end = partition_values(np.ones(1000, int), 241)
    assert len(begin) == 200
    assert end.tolist() == [999]

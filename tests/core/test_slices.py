"""Slices: bounded, the same in any order, nested in what N keeps, and unbiased."""

import random
from itertools import pairwise

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftline.core.sampling import MAX_N, keep, limit_of
from driftline.core.slices import SLICE, Reservoir, slice_end

PLENTY = 10**9
HASHES = st.lists(
    # Uniform ones, and small ones as only a very large N keeps them.
    st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2**46)),
    unique=True,
    max_size=60,
)
ROWS = st.lists(
    st.tuples(st.integers(2**50, 2**64 - 1), st.integers(0, 500)), unique_by=lambda row: row[0], max_size=60
)


def fill(hashes: list[int], n: int = 1, *, max_rows: int = PLENTY, max_bytes: int = PLENTY) -> Reservoir[int]:
    """Offer rows as a sampler does: only those within the limit. A row is its own hash."""
    reservoir: Reservoir[int] = Reservoir(n, max_rows=max_rows, max_bytes=max_bytes)
    for hashed in hashes:
        if hashed <= reservoir.limit:
            reservoir.offer(hashed, hashed, hashed, 1)
    return reservoir


def hash_of(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


@given(hashes=HASHES, n=st.integers(1, 1_000), cap=st.integers(1, 20))
def test_kept_are_the_rows_within_the_first_doubled_n_that_fits(hashes: list[int], n: int, cap: int) -> None:
    reservoir = fill(hashes, n, max_rows=cap)
    fitting = n
    while sum(hashed <= limit_of(fitting) for hashed in hashes) > cap:
        fitting *= 2
        if 2 * fitting > MAX_N:
            break
    within = [hashed for hashed in hashes if hashed <= limit_of(fitting)]
    assert (reservoir.n, reservoir.rows()) == (fitting, within[:cap])


@given(hashes=HASHES, n=st.integers(1, 1_000), cap=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_the_order_of_rows_changes_nothing(hashes: list[int], n: int, cap: int, seed: int) -> None:
    shuffled = random.Random(seed).sample(hashes, len(hashes))
    one, other = fill(hashes, n, max_rows=cap), fill(shuffled, n, max_rows=cap)
    assert one.n == other.n
    if 2 * one.n <= MAX_N:  # beyond it the first in the log stay
        assert sorted(one.rows()) == sorted(other.rows())


@given(rows=ROWS, budget=st.integers(500, 5_000), seed=st.integers(0, 2**32))
def test_bytes_are_bounded_as_rows_are(rows: list[tuple[int, int]], budget: int, seed: int) -> None:
    kept = []
    for order in (rows, random.Random(seed).sample(rows, len(rows))):
        reservoir: Reservoir[tuple[int, int]] = Reservoir(1, max_rows=PLENTY, max_bytes=budget)
        for row in order:
            if row[0] <= reservoir.limit:
                reservoir.offer(row[0], row[0], row, row[1])
        assert sum(size for _, size in reservoir.rows()) <= budget
        kept.append((reservoir.n, sorted(reservoir.rows())))
    assert kept[0] == kept[1]


@given(hashes=HASHES, cap=st.integers(1, 20))
def test_a_smaller_cap_keeps_some_of_the_same_rows(hashes: list[int], cap: int) -> None:
    small, large = fill(hashes, max_rows=cap), fill(hashes, max_rows=2 * cap)
    assert small.n >= large.n
    assert set(small.rows()) <= set(large.rows())


@given(
    ids=st.lists(st.text(st.characters(codec="utf-8")), unique=True, max_size=60),
    n=st.integers(1, 100),
    cap=st.integers(1, 20),
)
def test_whatever_a_slice_keeps_the_announced_n_keeps(ids: list[str], n: int, cap: int) -> None:
    """Labels are tested with the announced N or a smaller one: they are there for every row of a slice."""
    hashes = {hash_of(text): text for text in ids}
    reservoir = fill(list(hashes), n, max_rows=cap)
    assert all(keep(hashes[hashed], n) for hashed in reservoir.rows())
    assert all(keep(hashes[hashed], reservoir.n) for hashed in reservoir.rows())


def test_the_first_of_equal_rows_stays_and_takes_no_room() -> None:
    reservoir: Reservoir[str] = Reservoir(1, max_rows=2, max_bytes=PLENTY)
    assert all(reservoir.offer(5, "a", f"a{i}", 1) for i in range(100))
    assert reservoir.offer(6, "b", "b", 1)
    assert (reservoir.n, reservoir.rows()) == (1, ["a0", "b"])


def test_rows_of_one_entity_are_rows_of_their_own() -> None:
    reservoir: Reservoir[int] = Reservoir(1, max_rows=10, max_bytes=PLENTY)
    assert all(reservoir.offer(7, row, row, 1) for row in range(5))
    assert reservoir.rows() == [0, 1, 2, 3, 4]


def test_what_no_n_makes_room_for_is_said() -> None:
    reservoir: Reservoir[int] = Reservoir(3, max_rows=2, max_bytes=PLENTY)
    assert [reservoir.offer(0, row, row, 1) for row in range(4)] == [True, True, False, False]
    assert reservoir.rows() == [0, 1]
    assert MAX_N // 2 < reservoir.n <= MAX_N


def test_a_hot_entity_makes_room_for_others() -> None:
    """All rows of an entity have one hash: they are kept together or dropped together."""
    hot, other = 2**63, 2**40
    reservoir: Reservoir[int] = Reservoir(1, max_rows=10, max_bytes=PLENTY)
    for row in range(100):
        if hot <= reservoir.limit:
            reservoir.offer(hot, row, row, 1)
    assert reservoir.offer(other, 100, 100, 1)
    assert (reservoir.n, reservoir.rows()) == (2, [100])


def test_inclusion_is_uniform() -> None:
    """Over 100,000 ids: every hundredth of the ids and of the hash's own range keeps its share."""
    ids = [f"p-{i}" for i in range(100_000)]
    reservoir = fill([hash_of(text) for text in ids], 4, max_rows=5_000)
    kept = set(reservoir.rows())
    assert (reservoir.n, 2_500 < len(kept) <= 5_000) == (32, True)
    by_hundred = [
        sum(hash_of(text) in kept for text in ids[start : start + 1_000]) for start in range(0, 100_000, 1_000)
    ]
    assert stats.chisquare(by_hundred).pvalue > 0.001
    within = np.histogram([hashed / limit_of(reservoir.n) for hashed in kept], bins=50, range=(0, 1))[0]
    assert stats.chisquare(within).pvalue > 0.001


@pytest.mark.parametrize(("rows", "n"), [(40, 1), (150, 1), (1_000, 1), (1_000, 3), (5_000, 8)])
def test_weights_are_unbiased(rows: int, n: int) -> None:
    """The mean of the summed weights is the number of rows, as is each half's its own: 3,000 slices, 4 sigma."""
    rng = np.random.default_rng(11)
    sums = []
    for _ in range(3_000):
        hashes = rng.integers(0, 2**64, rows, np.uint64).tolist()
        reservoir = fill(hashes, n, max_rows=50)
        kept = set(reservoir.rows())
        sums.append([reservoir.n * len(kept), reservoir.n * sum(hashed in kept for hashed in hashes[: rows // 5])])
    found = np.array(sums, float)
    error = 4 * found.std(axis=0) / np.sqrt(len(found)) + 1e-9
    assert np.all(np.abs(found.mean(axis=0) - [rows, rows // 5]) <= error)


def test_slices_follow_one_another() -> None:
    ends = [slice_end(time) for time in range(0, 5 * SLICE, SLICE // 4)]
    assert set(np.diff(ends).tolist()) == {0, SLICE}
    assert all(end - SLICE <= time < end for time, end in zip(range(0, 5 * SLICE, SLICE // 4), ends, strict=True))
    assert all(later >= earlier for earlier, later in pairwise(ends))

"""Profiles: exact counts and moments, and merging as addition, whatever the split."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.core.columns import Columns
from driftline.core.entities import Entities, count_entities
from driftline.core.errors import InvalidPayload
from driftline.core.grid import hash_values
from driftline.core.profile import (
    NEW_VALUES,
    Profile,
    decode_profile,
    empty_profile,
    encode_profile,
    locate_columns,
    merge_profiles,
    profile_rows,
)
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

RNG = np.random.default_rng(7)
REFERENCE = make_reference(
    make_columns(
        [RNG.standard_normal(1000), RNG.poisson(3, 1000)],
        [2.0**24 + RNG.integers(0, 50, 1000)],
        [RNG.choice(["a", "b", "c"], 1000), [f"id{i}" for i in range(1000)]],
    ),
    make_schema(2, 1, 2),
)
GRID = REFERENCE.grid


def assert_same(one: Profile, other: Profile) -> None:
    """Counts exactly, sums up to the rounding of float64."""
    assert one.grid_id == other.grid_id
    assert (one.rows, one.weight, one.weight_squares) == (other.rows, other.weight, other.weight_squares)
    assert one.effective_rows == other.effective_rows
    assert one.skew == pytest.approx(other.skew, rel=1e-12)
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(one.extremes, other.extremes)
    np.testing.assert_allclose(one.sums[1], other.sums[1], rtol=1e-12)
    magnitude = np.sqrt(one.weight * one.sums[1])  # at least Σw|x - shift|, in which the signs may cancel
    assert (np.abs(one.sums[0] - other.sums[0]) <= 1e-12 * magnitude).all()
    assert one.new_values == other.new_values


def draw_columns(seed: int, rows: int) -> Columns:
    """Rows with everything that can be there: missing, infinite, beyond the range, new and known categories."""
    rng = np.random.default_rng(seed)
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 0.3])
    mixed = np.where(rng.random(rows) < 0.5, rng.choice(odd, rows), rng.standard_normal(rows) * 2)
    names = np.array(["a", "b", "c", "d", "é", "", *(f"new{i}" for i in range(60))])
    categories = [[None if rng.random() < 0.2 else str(rng.choice(names)) for _ in range(rows)] for _ in range(2)]
    return make_columns([mixed, rng.poisson(4, rows)], [2.0**24 + rng.integers(-5, 60, rows)], categories)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1000])
def test_counts_are_those_of_a_plain_search(rows: int, order: str) -> None:
    drawn = draw_columns(rows, rows)
    columns = Columns(
        np.asarray(drawn.float32, order=order),  # type: ignore[call-overload]
        np.asarray(drawn.float64, order=order),  # type: ignore[call-overload]
        np.asarray(drawn.codes, order=order),  # type: ignore[call-overload]
        drawn.tables,
    )
    weights = np.random.default_rng(rows).integers(1, 6, rows)
    profile = profile_rows(GRID, columns, weights=weights)
    assert (profile.rows, profile.weight) == (rows, weights.sum())
    assert (profile.counts.sum(axis=1) == profile.weight).all()
    blocks = [*columns.float32.T, *columns.float64.T]
    edges = [*GRID.edges32, *GRID.edges64]
    for f, (values, row) in enumerate(zip(blocks, edges, strict=True)):
        finite = np.isfinite(values)
        expected = np.bincount(np.searchsorted(row, values[finite], "right"), weights[finite], GRID.cells)
        np.testing.assert_array_equal(profile.counts[f, : GRID.cells], expected)
        assert profile.counts[f, GRID.missing] == weights[np.isnan(values)].sum()
        assert profile.counts[f, GRID.infinite] == weights[np.isinf(values)].sum()
        deviation = values[finite].astype(np.float64) - GRID.shift[f]
        np.testing.assert_allclose(profile.sums[0, f], (weights[finite] * deviation).sum(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(profile.sums[1, f], (weights[finite] * deviation**2).sum(), rtol=1e-12)
        ends = (values[finite].min(), values[finite].max()) if finite.any() else (np.inf, -np.inf)
        assert tuple(profile.extremes[:, f]) == ends


def test_categories_are_counted_by_cell() -> None:
    columns = make_columns(
        np.zeros((2, 7)), np.zeros((1, 7)), [["a", "a", None, "zz", "b", "yy", "zz"], ["id1", "id999", *"vwxyz"]]
    )
    profile = profile_rows(GRID, columns, weights=np.array([1, 2, 3, 4, 5, 6, 7]))
    first, second = profile.counts[-2:]
    cell_of = {value: cell for cell, value in enumerate(GRID.categories[0])}
    assert first[cell_of["a"]] == 3
    assert first[cell_of["b"]] == 5
    assert first[cell_of["c"]] == first[GRID.other] == 0
    assert (first[GRID.unseen], first[GRID.missing]) == (17, 3)
    assert profile.new_values[GRID.features - 2] == {"zz": 11, "yy": 6}
    assert second[: GRID.other].sum() == 1  # of 1000 equally rare values 200 have a cell
    assert (second[GRID.other], second[GRID.unseen]) == (2, 25)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_codes_may_have_any_integer_type(dtype: type[np.integer]) -> None:
    columns = draw_columns(1, 100)
    narrow = Columns(columns.float32, columns.float64, columns.codes.astype(dtype), columns.tables)
    assert_same(profile_rows(GRID, narrow), profile_rows(GRID, columns))


def test_chosen_rows_are_counted_alone_each_with_its_weight() -> None:
    columns, rows = draw_columns(2, 300), np.array([5, 5, 17, 299])
    weights = np.arange(300) + 1
    chosen = profile_rows(GRID, columns, rows, weights, locate_columns(GRID, columns))
    assert_same(chosen, profile_rows(GRID, columns.take(rows), weights=weights[rows]))


@pytest.mark.parametrize("weight", [1, 3, 1000])
def test_a_common_weight_multiplies_the_counts(weight: int) -> None:
    columns = draw_columns(3, 200)
    one, many = profile_rows(GRID, columns), profile_rows(GRID, columns, weights=weight)
    np.testing.assert_array_equal(many.counts, one.counts * weight)
    np.testing.assert_allclose(many.sums, one.sums * weight)
    np.testing.assert_array_equal(many.extremes, one.extremes)
    assert (many.rows, many.weight) == (200, 200 * weight)
    assert many.effective_rows == one.effective_rows == 200


def test_effective_rows_are_those_of_kish() -> None:
    columns = draw_columns(3, 4)
    profile = profile_rows(GRID, columns, weights=np.array([1, 1, 1, 7]))
    assert profile.effective_rows == pytest.approx(10**2 / 52)
    assert profile.skew == pytest.approx(10 * 346 / 52**2)
    assert empty_profile(GRID).effective_rows == 0
    assert empty_profile(GRID).skew == profile_rows(GRID, columns, weights=3).skew == 1


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 120),
    parts=st.integers(1, 6),
    of_entities=st.booleans(),
    encoded=st.booleans(),
    data=st.data(),
)
def test_the_profile_of_a_split_is_the_profile_of_the_whole(
    seed: int, rows: int, parts: int, of_entities: bool, encoded: bool, data: st.DataObject
) -> None:
    columns = draw_columns(seed, rows)
    weights = np.random.default_rng(seed).integers(1, 100, rows)
    if of_entities:
        columns = replace(columns, entities=np.random.default_rng(seed + 2).integers(0, 40, rows, np.uint64))
    part_of = np.random.default_rng(seed + 1).integers(0, parts, rows)
    order = data.draw(st.permutations(range(parts)))
    split = [profile_rows(GRID, columns, np.flatnonzero(part_of == part), weights) for part in order]
    if encoded:
        split = [decode_profile(encode_profile(part)) for part in split]
    whole = profile_rows(GRID, columns, weights=weights)
    assert_same(merge_profiles(split), whole)  # at once, in any order
    assert_same(reduce(lambda one, other: merge_profiles([one, other]), split), whole)  # from the left
    assert_same(reduce(lambda one, other: merge_profiles([other, one]), reversed(split)), whole)  # from the right
    assert_same(merge_profiles([empty_profile(GRID), whole]), whole)
    assert_same(merge_profiles([whole, empty_profile(GRID)]), whole)
    assert_same(merge_profiles([whole]), whole)


def test_profiles_of_different_grids_are_never_added() -> None:
    other = make_reference(make_columns([[1.0, 2.0]]), make_schema(1)).grid
    with pytest.raises(ValueError, match="grid"):
        merge_profiles([empty_profile(GRID), empty_profile(other)])
    with pytest.raises(ValueError, match="unpack"):
        merge_profiles([])


def new_value_profiles(values: NDArray[np.str_], parts: int) -> list[Profile]:
    zeros = np.zeros(len(values))
    columns = make_columns([zeros, zeros], [zeros], [values, values])
    return [profile_rows(GRID, columns, rows) for rows in np.array_split(np.arange(len(values)), parts)]


def test_the_new_values_that_are_kept_are_exact_under_merging() -> None:
    values = np.random.default_rng(5).choice([f"new{i}" for i in range(500)], 5000)
    merged = merge_profiles(new_value_profiles(values, 13)).new_values[GRID.features - 2]
    names, counts = np.unique(values, return_counts=True)
    smallest = np.argsort(hash_values(names.tolist()))[:NEW_VALUES]
    assert merged == {str(names[i]): int(counts[i]) for i in smallest}


def test_ten_thousand_categories_never_seen_are_counted() -> None:
    values = np.array([f"new{i}" for i in range(10_000)])
    (profile,) = new_value_profiles(values, 1)
    assert profile.counts[-1, GRID.unseen] == profile.counts[-2, GRID.unseen] == 10_000
    assert len(profile.new_values[GRID.features - 1]) == NEW_VALUES


def test_a_value_of_many_cells_is_found_whatever_the_grid() -> None:
    values = np.concatenate([make(RNG, 700) for make in SHAPES.values()])
    few, many = (make_reference(make_columns([values[:rows]]), make_schema(1)) for rows in (700, 10_000))
    assert (few.grid.cells, many.grid.cells) == (512, 256)
    for grid in (few.grid, many.grid, few.coarse, many.coarse):
        profile = profile_rows(grid, make_columns([values]))
        expected = np.bincount(np.searchsorted(grid.edges32[0], values.astype(np.float32), "right"))
        np.testing.assert_array_equal(np.trim_zeros(profile.counts[0], "b"), np.trim_zeros(expected, "b"))


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 50), weight=st.sampled_from([1, 300, 70_000, 10**10]))
def test_what_is_written_is_read(seed: int, rows: int, weight: int) -> None:
    profile = profile_rows(GRID, draw_columns(seed, rows), weights=weight)
    read = decode_profile(encode_profile(profile))
    assert_same(read, profile)
    np.testing.assert_array_equal(read.sums, profile.sums)
    assert read.counts.dtype == np.int64
    assert read.new_values == {f: dict(values) for f, values in profile.new_values.items()}


ENTITIES = count_entities(np.uint64([9, 3, 5]), np.int64([1, 1, 1]))
WRITTEN = encode_profile(
    profile_rows(GRID, replace(draw_columns(1, 40), entities=np.arange(40, dtype=np.uint64) // 3))
)


@given(st.integers(0, len(WRITTEN) - 1), st.integers(0, 255), st.integers(0, len(WRITTEN)))
@settings(max_examples=400)
def test_changed_bytes_are_a_profile_or_an_invalid_payload(place: int, byte: int, length: int) -> None:
    changed = bytearray(WRITTEN)
    changed[place] = byte
    for payload in (bytes(changed), WRITTEN[:length], bytes(changed[place:]), WRITTEN + bytes([byte])):
        try:
            profile = decode_profile(payload)
        except InvalidPayload:
            continue
        assert profile.counts.ndim == 2
        assert profile.sums.shape == profile.extremes.shape


@given(st.binary(max_size=300))
def test_random_bytes_are_no_profile(payload: bytes) -> None:
    with pytest.raises(InvalidPayload):
        decode_profile(payload)


def test_a_profile_of_unlike_arrays_is_refused() -> None:
    profile = profile_rows(GRID, draw_columns(1, 40))
    for broken in (
        replace(profile, sums=np.zeros(3)),
        replace(profile, extremes=np.zeros((2, 9))),
        replace(profile, counts=np.zeros(7, np.int64)),
        replace(profile, sums=np.zeros((3, 3)), extremes=np.zeros((3, 3))),
        replace(profile, new_values={99: {"a": 1}}),
        replace(profile, new_values={-1: {"a": 1}}),
        replace(profile, entities=replace(ENTITIES, weight=2)),
        replace(profile, entities=replace(ENTITIES, hashes=ENTITIES.hashes[::-1])),
        replace(profile, entities=replace(ENTITIES, weights=np.array([1, 0, 2]))),
        replace(profile, entities=replace(ENTITIES, weights=np.array([1, 2]))),
        replace(profile, entities=Entities(1, np.empty(0, np.uint64), np.empty(0, np.int64))),
    ):
        with pytest.raises(InvalidPayload, match="not a profile"):
            decode_profile(encode_profile(broken))

"""Segments: every row in one segment of each declared column."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.columns import Columns
from driftline.core.profile import merge_profiles, profile_rows
from driftline.core.reference import profile_segments
from driftline.core.schema import Feature, Kind, Schema, layout
from driftline.core.segment import (
    EVERYTHING,
    MAX_VALUES,
    OTHER,
    SegmentColumn,
    choose_values,
    count_values,
    split_segments,
)
from tests.core.samples import make_columns, make_reference, make_schema

SCHEMA = make_schema(1, 0, 2, segments=["c0", "c1"])


def draw(seed: int, rows: int) -> Columns:
    rng = np.random.default_rng(seed)
    countries = [None if code == 3 else f"v{code}" for code in rng.zipf(1.4, rows) % 40]
    return make_columns([rng.standard_normal(rows)], categories=[countries, rng.choice(["web", "app"], rows)])


REFERENCE = make_reference(draw(1, 5000), SCHEMA)


def test_the_most_frequent_values_have_segments_ties_by_name() -> None:
    counts = {f"v{i:02}": 5 for i in range(30)} | {"top": 9}
    assert choose_values(counts) == ("top", *(f"v{i:02}" for i in range(MAX_VALUES - 1)))
    assert choose_values({}) == ()


def test_a_value_called_other_is_among_the_others() -> None:
    column = SegmentColumn("c0", choose_values({OTHER: 9, "a": 1}))
    assert column.keys == ("c0=a", "c0=__other__")


def test_values_are_counted_without_the_missing() -> None:
    columns = make_columns(categories=[["a", None, "a", "b"]])
    assert count_values(columns, layout(make_schema(categories=1)), "c0") == {"a": 2, "b": 1}


@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.booleans())
def test_each_chosen_row_is_in_one_segment_of_each_column(seed: int, rows: int, some: bool) -> None:
    columns = draw(seed, rows)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(rows) < 0.5) if some else np.arange(rows)
    split = list(split_segments(columns, layout(SCHEMA), REFERENCE.segments, chosen))
    for segment in REFERENCE.segments:
        parts = {key: part for key, part in split if key in segment.keys}
        together = np.concatenate([*parts.values(), np.empty(0, np.int64)])
        assert sorted(together.tolist()) == chosen.tolist()
        assert all(len(part) and (np.diff(part) > 0).all() for part in parts.values())
        c = layout(SCHEMA).codes.index(segment.name)
        table = (*columns.tables[c], None)
        for key, part in parts.items():
            found = {table[code] for code in columns.codes[part, c]}
            if key.endswith(OTHER):
                assert not found & set(segment.values)
            else:
                assert found == {key.split("=", 1)[1]}


def test_segments_of_a_column_add_up_to_everything() -> None:
    columns = draw(2, 900)
    profiles = dict(profile_segments(REFERENCE.coarse, columns, SCHEMA, REFERENCE.segments, weights=3))
    whole = profile_rows(REFERENCE.coarse, columns, weights=3)
    for segment in REFERENCE.segments:
        merged = merge_profiles([profiles[key] for key in segment.keys if key in profiles])
        np.testing.assert_array_equal(merged.counts, whole.counts)
        assert merged.weight == whole.weight == 2700


def test_the_reference_has_a_profile_of_each_segment_and_of_the_whole() -> None:
    keys = {key for segment in REFERENCE.segments for key in segment.keys} - {"c1=__other__"}
    assert set(REFERENCE.segment_profiles) == keys | {EVERYTHING}
    assert REFERENCE.segment_profiles[EVERYTHING].rows == 5000
    assert REFERENCE.coarse_bins.min_samples == 100


def test_a_segment_column_need_not_be_a_feature() -> None:
    schema = Schema((Feature("x0", Kind.NUMERIC),), segments=("region",))
    columns = make_columns([np.arange(100.0)], categories=[["north", "south"] * 50])
    reference = make_reference(columns, schema)
    assert reference.names == ("x0", "__prediction__", "__score__")
    assert reference.segment_profiles["region=south"].rows == 50

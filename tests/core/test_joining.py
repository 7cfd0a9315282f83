"""Which label wins and which prediction it is for, against the plainest code there is."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.grouping import pack_columns, pair_rows
from driftline.core.joining import Outcome, Values, find_nearest, no_labels, settle
from driftline.core.moment import NO_TIME

LABEL = st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.sampled_from([1.0, 2.0]), st.integers(0, 6))
LABELS = st.lists(st.tuples(st.integers(0, 2), LABEL), max_size=12)


def to_values(labels: list[tuple[float, float, int]]) -> Values:
    value, weight, known_at = zip(*labels, strict=True) if labels else ((), (), ())
    return Values(np.array(value, float), np.array(weight, float), np.array(known_at, np.int64))


@given(labels=LABELS, cuts=st.lists(st.integers(0, 12), max_size=3))
def test_however_labels_are_cut_into_flushes_the_one_known_last_holds(
    labels: list[tuple[int, tuple[float, float, int]]], cuts: list[int]
) -> None:
    state, told = no_labels(3), np.zeros(len(Outcome), int)
    bounds = sorted({0, len(labels), *(min(cut, len(labels)) for cut in cuts)})
    for start, end in pairwise(bounds):
        part = labels[start:end]
        settled = settle(
            state, to_values([its for _, its in part]), np.array([group for group, _ in part], np.int64)
        )
        np.testing.assert_array_equal(settled.touched, settled.state.known_at != state.known_at)
        state = settled.state
        told += np.bincount(settled.outcome, minlength=len(Outcome))
        assert not set(settled.history_group.tolist()) - {group for group, _ in part}
    for group in range(3):
        its = [label for of, label in labels if of == group]
        if not its:
            assert (state.known_at[group], np.isnan(state.value[group])) == (NO_TIME, True)
            continue
        value, weight, known_at = max(enumerate(its), key=lambda each: (each[1][2], each[0]))[1]
        np.testing.assert_equal(state.value[group], value)
        assert state.known_at[group] == known_at
        assert np.isnan(value) or state.weight[group] == weight
    assert told.sum() == len(labels)


def test_withdrawn_labels_are_the_same_whatever_they_weigh() -> None:
    labels = to_values([(np.nan, 1.0, 1), (np.nan, 2.0, 2)])
    settled = settle(no_labels(1), labels, np.zeros(2, np.int64))
    assert settled.outcome.tolist() == [Outcome.WITHDRAWN, Outcome.DUPLICATE]
    assert (settled.changed.tolist(), settled.first_known.tolist()) == ([False], [NO_TIME])


def test_nothing_changes_without_labels() -> None:
    state = to_values([(1.0, 1.0, 3)])
    settled = settle(state, to_values([]), np.empty(0, np.int64))
    assert not settled.changed.any()
    assert not settled.touched.any()
    assert settled.state.known_at.tolist() == [3]


@given(
    predictions=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), max_size=10, unique=True),
    labels=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25), st.integers(0, 10)), max_size=10),
)
def test_the_nearest_earlier_prediction_of_the_group_is_found(
    predictions: list[tuple[int, int]], labels: list[tuple[int, int, int]]
) -> None:
    found = find_nearest(
        np.array([group for group, _ in predictions], np.int64),
        np.array([at for _, at in predictions], np.int64),
        np.array([group for group, _, _ in labels], np.int64),
        np.array([at for _, at, _ in labels], np.int64),
        np.array([reach for _, _, reach in labels], np.int64),
    )
    for place, (group, at, reach) in zip(found.tolist(), labels, strict=True):
        earlier = [(when, i) for i, (of, when) in enumerate(predictions) if of == group and when <= at]
        nearest = max(earlier, default=None)
        assert place == (nearest[1] if nearest is not None and at - nearest[0] <= reach else -1)


@given(left=st.lists(st.integers(0, 4), max_size=8), right=st.lists(st.integers(0, 4), max_size=8))
def test_pairs_are_all_of_them_in_order(left: list[int], right: list[int]) -> None:
    one, other = pair_rows(np.array(left, np.int64), np.array(right, np.int64))
    expected = [(i, j) for i, of in enumerate(left) for j, its in enumerate(right) if of == its]
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == expected


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([b"\0" * 8, b"a" + b"\0" * 7, b"\0" * 7 + b"a"]))))
def test_packed_columns_are_equal_where_all_are(rows: list[tuple[int, bytes]]) -> None:
    keys = np.frombuffer(b"".join(key for _, key in rows), "S8") if rows else np.empty(0, "S8")
    packed = pack_columns(np.array([number for number, _ in rows], np.int32), keys)
    _, group = np.unique(packed, return_inverse=True)
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            assert (group[i] == group[j]) == (one == other)

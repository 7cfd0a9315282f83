"""Entities: what counts as one unit, exactly or nearly, however the rows were split."""

from collections import Counter
from dataclasses import replace
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.columns import concatenate
from driftline.core.drift import Status, compute_drift
from driftline.core.entities import MAX_ENTITIES, NO_ENTITIES, Entities, count_entities, merge_entities
from driftline.core.frame import pack_frame
from driftline.core.profile import decode_profile, encode_profile, merge_profiles, profile_rows
from driftline.core.reference import Reference, build_reference
from driftline.core.schema import Feature, JoinKey, Kind, Schema
from driftline.core.sliced import merge_sliced, slice_rows
from driftline.core.window import DAY
from tests.core.samples import make_columns, make_reference, make_schema

ROWS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 2**20)), max_size=60)


def count(rows: list[tuple[int, int]]) -> Entities:
    hashes, weights = np.array(rows, np.int64).reshape(-1, 2).T
    return count_entities(hashes.astype(np.uint64), weights)


def spread(entities: int) -> NDArray[np.uint64]:
    """Hashes of so many entities, all different."""
    return np.random.default_rng(1).choice(2**62, entities, replace=False).astype(np.uint64)


def assert_equal(one: Entities, other: Entities) -> None:
    assert one.weight == other.weight
    assert one.hashes.tolist() == other.hashes.tolist()
    assert one.weights.tolist() == other.weights.tolist()


@given(st.lists(ROWS, min_size=1, max_size=6))
def test_parts_add_up_to_the_whole(parts: list[list[tuple[int, int]]]) -> None:
    counted = [count(part) for part in parts]
    whole = count([row for part in parts for row in part])
    assert_equal(merge_entities(counted), whole)
    assert_equal(reduce(lambda one, other: merge_entities([one, other]), counted), whole)
    assert_equal(merge_entities([*counted[::-1], NO_ENTITIES]), whole)


def test_parts_of_many_entities_add_up_as_well() -> None:
    rng = np.random.default_rng(2)
    hashes = spread(3 * MAX_ENTITIES)[rng.integers(0, 3 * MAX_ENTITIES, 40_000)]
    weights = rng.integers(1, 9, 40_000)
    whole = count_entities(hashes, weights)
    parts = [count_entities(hashes[i::7], weights[i::7]) for i in range(7)]
    assert len(whole.hashes) == MAX_ENTITIES
    assert whole.weight == weights.sum()
    assert_equal(merge_entities(parts), whole)
    assert_equal(reduce(lambda one, other: merge_entities([one, other]), parts), whole)


@given(ROWS)
def test_squares_are_exact_as_long_as_all_entities_are_known(rows: list[tuple[int, int]]) -> None:
    totals: dict[int, int] = {}
    for entity, weight in rows:
        totals[entity] = totals.get(entity, 0) + weight
    assert count(rows).sum_powers(2) == sum(total**2 for total in totals.values())


@pytest.mark.parametrize("sizes", ["equal", "geometric", "lognormal"])
def test_squares_of_more_entities_are_estimated(sizes: str) -> None:
    rng = np.random.default_rng(3)
    rows_of = {
        "equal": np.full(20_000, 5),
        "geometric": rng.geometric(0.2, 20_000),
        "lognormal": np.ceil(rng.lognormal(1, 0.8, 20_000)).astype(np.int64),
    }[sizes]
    hashes = np.repeat(spread(20_000), rows_of)
    counted = count_entities(hashes, np.full(len(hashes), 3))
    assert counted.sum_powers(2) == pytest.approx(9 * (rows_of**2).sum(), rel=0.1 if sizes != "equal" else 1e-9)


def test_mixed_weights_make_the_estimate_cautious() -> None:
    """A slice of a spike keeps the smallest hashes of the others, with eight times the weight."""
    hashes = np.sort(spread(20_000))
    spike = hashes[: len(hashes) // 8]
    counted = count_entities(np.concatenate([hashes, spike]), np.repeat([1, 8], [len(hashes), len(spike)]))
    exact = 81 * len(spike) + len(hashes) - len(spike)
    assert exact < counted.sum_powers(2) < 6 * exact


def draw(rng: Generator, entities: int, rows_each: int) -> tuple[NDArray[np.uint64], list[NDArray[np.float64]]]:
    """Entities of a population, each with its features: (hashes of the rows, values of the rows)."""
    hashes = np.repeat(rng.integers(0, 2**63, entities, np.uint64), rows_each)
    return hashes, [np.repeat(rng.standard_normal(entities), rows_each) for _ in range(4)]


REFERENCE = make_reference(
    make_columns(draw(np.random.default_rng(4), 20_000, 1)[1]), make_schema(4), window_rows=500
)


def judge(
    reference: Reference, values: list[NDArray[np.float64]], hashes: NDArray[np.uint64] | None
) -> tuple[bool, float]:
    profile = profile_rows(reference.grid, replace(make_columns(values), entities=hashes))
    drift = compute_drift(
        reference.grid, reference.bins, reference.profile, profile, outputs=reference.outputs, min_samples=100
    )
    inputs = drift.psi_score[~reference.outputs]
    return bool(drift.drifted.any()), float(inputs.mean())


def test_five_rows_an_entity_are_not_five_times_the_evidence() -> None:
    alarms, means = {True: 0, False: 0}, {True: 0.0, False: 0.0}
    for seed in range(50):
        hashes, values = draw(np.random.default_rng([5, seed]), 180, 5)
        for known in (True, False):
            alarm, mean = judge(REFERENCE, values, hashes if known else None)
            alarms[known] += alarm
            means[known] += mean / 50
    assert alarms[True] == 0
    assert alarms[False] > 25
    assert means[True] < 0.05
    assert means[False] > 0.2


def test_an_entity_that_comes_back_in_a_later_part_is_the_same_one() -> None:
    hashes, values = draw(np.random.default_rng(6), 200, 5)
    columns = replace(make_columns(values), entities=hashes)
    parts = [
        decode_profile(encode_profile(profile_rows(REFERENCE.grid, columns, np.arange(i, 1000, 5))))
        for i in range(5)
    ]
    assert [part.effective_rows for part in parts] == [200] * 5
    assert merge_profiles(parts).effective_rows == 200
    assert merge_profiles(parts).rows == 1000


def test_segments_count_their_own_entities() -> None:
    values = np.random.default_rng(7).standard_normal(600)
    countries = np.repeat(["DE", "FR"], 300)
    schema = make_schema(1, 0, 1, segments=["c0"])
    columns = make_columns([values], categories=[countries])
    reference = make_reference(columns, schema)
    hashes = np.concatenate([np.arange(300) // 3, np.arange(300) // 6]).astype(np.uint64)
    weights = np.ones(600, np.int64)
    columns = replace(columns, entities=hashes + np.uint64(1))
    halves = [slice_rows(reference, columns, np.arange(start, 600, 2), weights) for start in (0, 1)]
    sliced = merge_sliced(halves)
    assert sliced.segments["c0=DE"].effective_rows == 100
    assert sliced.segments["c0=FR"].effective_rows == 50
    assert sliced.whole.effective_rows == pytest.approx(600**2 / (50 * 9**2 + 50 * 3**2))


def test_a_reference_counts_the_entities_of_its_frame() -> None:
    rng = np.random.default_rng(9)
    names = [None if rng.random() < 0.1 else f"c-{rng.integers(0, 50)}" for _ in range(1_000)]
    frame = pa.table({"amount": rng.standard_normal(1_000), "customer": names})
    schema = Schema((Feature("amount", Kind.NUMERIC),), join_key=JoinKey.ENTITY_ID, entity_id="customer")
    columns = pack_frame(frame, schema).columns
    assert columns.entities is not None
    assert (columns.entities == 0).tolist() == [name is None for name in names]
    halves = [(columns.take(np.arange(start, 1_000, 2)), None) for start in (0, 1)]
    whole = build_reference(lambda: halves, schema, window_length=DAY).profile
    sizes = np.array([*Counter(name for name in names if name).values(), *[1] * names.count(None)])
    assert whole.effective_rows == pytest.approx(1_000**2 / (sizes**2).sum())
    by_row = pack_frame(frame, replace(schema, join_key=JoinKey.PREDICTION_ID)).columns
    assert build_reference(lambda: [(by_row, None)], schema, window_length=DAY).profile.effective_rows == 1_000


def test_joined_rows_keep_their_entities() -> None:
    columns = [make_columns([[1.0, 2.0]]), replace(make_columns([[3.0]]), entities=np.uint64([7]))]
    joined = concatenate(columns)
    assert joined.entities is not None
    assert joined.entities.tolist() == [0, 0, 7]
    assert joined.take(np.array([2, 0])).entities.tolist() == [7, 0]
    assert concatenate([columns[0], columns[0]]).entities is None


def test_windows_of_a_reference_bring_their_own_entities() -> None:
    """A thousand customers come every day: a day brings a thousand, not its share of all customers."""
    days = 10
    hashes = np.tile(np.arange(1, 1_001, dtype=np.uint64), days)
    columns = replace(make_columns([np.random.default_rng(10).standard_normal(1_000 * days)]), entities=hashes)
    reference = make_reference(columns, make_schema(1), np.repeat(np.arange(days), 1_000) * DAY)
    assert reference.profile.effective_rows == 1_000
    assert reference.bins.count == 50


def test_too_few_entities_are_too_few_rows() -> None:
    hashes, values = draw(np.random.default_rng(8), 20, 50)
    profile = profile_rows(REFERENCE.grid, replace(make_columns(values), entities=hashes))
    drift = compute_drift(REFERENCE.grid, REFERENCE.bins, REFERENCE.profile, profile, outputs=REFERENCE.outputs)
    assert (drift.status[~REFERENCE.outputs] == Status.TOO_FEW).all()
    assert drift.effective_rows == 20

"""The gate: the cap on rows per second changes N, never the expected counts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.sampling import limit_of
from driftline.sdk.gate import Gate


def run(gate, rng, rates):
    """Let so many predictions a second come; gives the weights of the kept rows of each second."""
    weights = []
    for second, rate in enumerate(rates):
        kept = []
        for i in range(rate):
            digest = rng.getrandbits(64)
            if digest <= gate.limit and (weight := gate.weigh(digest, second + i / rate)):
                kept.append(weight)
        gate.relax(second + 1.0)
        weights.append(kept)
    return weights


def begun(n, cap):
    gate = Gate(n, cap)
    gate.begin()
    return gate


def test_without_too_many_rows_the_server_s_n_is_the_weight():
    gate = begun(10, 100)
    weights = run(gate, random.Random(1), [500] * 5)
    assert {weight for kept in weights for weight in kept} == {10}


def test_weights_stay_right_while_the_cap_changes_n():
    rng = random.Random(2)
    totals = []
    for _ in range(200):
        gate = begun(2, 20)
        totals.append(sum(map(sum, run(gate, rng, [100, 3_000, 3_000, 50, 50]))))
    mean = sum(totals) / len(totals)
    deviation = (sum((total - mean) ** 2 for total in totals) / len(totals)) ** 0.5
    assert abs(mean - 6_200) < 4 * deviation / len(totals) ** 0.5


def test_the_rate_of_kept_rows_stays_below_the_cap():
    gate = begun(1, 50)
    first, *others = run(gate, random.Random(3), [10_000] * 4)
    assert len(first) <= 50 * 9  # one cap for each doubling on the way up
    assert all(len(kept) <= 100 for kept in others)


def test_a_doubled_n_comes_back_slowly_and_all_the_way():
    gate = begun(3, 10)
    run(gate, random.Random(4), [10_000])
    raised = gate.n
    assert raised > 100
    assert gate.n % 3 == 0
    run(gate, random.Random(4), [1] * 9)
    assert gate.n == raised
    run(gate, random.Random(4), [1] * 11 * 12)
    assert gate.n == 3


def test_before_it_begins_and_when_it_stands_open_every_call_comes_through():
    gate = Gate(100, 10)
    assert gate.limit == gate.asked_limit == limit_of(1)
    gate.begin()
    assert gate.limit == limit_of(100)
    gate.stand_open()
    assert gate.limit == limit_of(1)
    gate.shut()
    assert gate.limit < 0


def test_a_new_n_of_the_server_keeps_the_doublings():
    gate = begun(10, 1)
    assert gate.weigh(0, 0.0) == 10
    assert gate.n == 20
    gate.settle(30, by_entity=True)
    assert (gate.n, gate.by_entity, gate.settled) == (60, True, True)
    assert (gate.limit, gate.asked_limit) == (limit_of(60), limit_of(30))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.integers(1, 50))
def test_a_frame_fits_into_the_room_there_is(digests, room):
    n = begun(1, 1).fit(digests, room)
    assert sum(digest <= limit_of(n) for digest in digests) <= room or n == 2**20
    assert n == 1 or sum(digest <= limit_of(n // 2) for digest in digests) > room


@pytest.mark.parametrize("n", [1, 7, 2**20])
def test_n_never_exceeds_the_largest(n):
    gate = begun(n, 1)
    for i in range(30):
        gate.weigh(0, float(i))
    assert gate.n <= 2**20

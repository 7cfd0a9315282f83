"""Coordinated sampling: uniform whatever ids look like, nested, and the same for predictions and their labels."""

import uuid
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import chi2

from driftline.core.batch import hash_ids, keep_keys
from driftline.core.sampling import MAX_N, choose_n, keep, limit_of

IDS = 100_000
CHANCE = 1e-6
"""There are a hundred χ² tests, and a bias that matters is far beyond this."""


def make_uuid7(rng: Generator, count: int) -> list[str]:
    """UUIDs of version 7 (RFC 9562), made in the order of their times, some of them in the same millisecond."""
    milliseconds = 1_760_000_000_000 + np.sort(rng.integers(0, count // 2, count))
    tails = rng.integers(0, 2**62, (count, 2), np.int64)
    return [
        str(uuid.UUID(int=(int(time) << 80) | (7 << 76) | ((int(a) & 0xFFF) << 64) | (2 << 62) | int(b)))
        for time, (a, b) in zip(milliseconds, tails, strict=True)
    ]


def make_uuid4(rng: Generator, count: int) -> list[str]:
    return [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(count)]


SHAPES: dict[str, Callable[[Generator, int], list[str]]] = {
    "sequential integers": lambda _, count: [str(i) for i in range(count)],
    "large even integers": lambda _, count: [str(10**15 + 2 * i) for i in range(count)],
    "zero-padded integers": lambda _, count: [f"{i:012}" for i in range(count)],
    "UUIDv4": make_uuid4,
    "UUIDv7": make_uuid7,
    "prefixed": lambda _, count: [f"order-2026-11-{i % 28 + 1:02}-{i}" for i in range(count)],
    "emails": lambda rng, count: [
        f"{name}.{i}@example.{domain}"
        for i, (name, domain) in enumerate(
            zip(rng.choice(["ana", "bo", "chidi", "dörte"], count), rng.choice(["com", "org"], count), strict=True)
        )
    ],
    "one long prefix": lambda _, count: ["x" * 500 + str(i) for i in range(count)],
}


@pytest.fixture(scope="module", params=SHAPES)
def ids(request: pytest.FixtureRequest) -> Sequence[str]:
    return SHAPES[request.param](np.random.default_rng(1), IDS)


def pvalue(counts: NDArray[np.integer], expected: NDArray[np.floating] | float) -> float:
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1))


def test_hashes_are_uniform(ids: Sequence[str]) -> None:
    hashes = hash_ids(tuple(ids))
    for shift in (56, 28, 0):  # the highest byte, one in the middle, the lowest
        counts = np.bincount((hashes >> np.uint64(shift) & np.uint64(255)).astype(np.int64), minlength=256)
        assert pvalue(counts, IDS / 256) > CHANCE


@pytest.mark.parametrize("n", [2, 7, 100])
def test_one_in_n_is_kept_wherever_it_stands_in_the_stream(ids: Sequence[str], n: int) -> None:
    kept = np.array([keep(text, n) for text in ids])
    for classes in (16, 10, 7):  # where a position is the id: its last bits, its last digit, and neither
        counts = np.bincount(np.flatnonzero(kept) % classes, minlength=classes)
        counts = np.concatenate([counts, np.bincount(np.flatnonzero(~kept) % classes, minlength=classes)])
        share = np.repeat([1 / n, 1 - 1 / n], classes)
        size = np.tile(np.bincount(np.arange(IDS) % classes), 2)
        assert chi2.sf(((counts - size * share) ** 2 / (size * share)).sum(), classes) > CHANCE


def test_features_that_follow_the_id_are_sampled_in_proportion(ids: Sequence[str]) -> None:
    lengths = np.array([len(text) + ord(text[-1]) % 4 for text in ids])
    kept = np.array([keep(text, 20) for text in ids])
    whole, found = np.bincount(lengths), np.bincount(lengths[kept], minlength=lengths.max() + 1)
    expected = whole / 20
    enough = whole >= 200
    squares = (found - expected)[enough] ** 2 / (expected[enough] * 0.95)
    assert chi2.sf(squares.sum(), enough.sum()) > CHANCE


@given(st.text(max_size=40), st.integers(1, MAX_N), st.integers(1, MAX_N))
def test_the_kept_of_a_larger_n_are_among_those_of_a_smaller(key: str, one: int, other: int) -> None:
    if keep(key, max(one, other)):
        assert keep(key, min(one, other))


@given(st.integers(1, MAX_N))
def test_the_kept_share_is_one_in_n(n: int) -> None:
    kept = limit_of(n) + 1  # of 2^64 hashes
    assert (kept - 1) * n < 2**64 <= kept * n


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=20), st.integers(1, 50))
def test_whole_batches_are_decided_as_single_keys_are(texts: list[str], n: int) -> None:
    assert keep_keys(tuple(texts), n).tolist() == [keep(text, n) for text in texts]


@given(
    rates=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    doublings=st.lists(st.integers(0, 4), min_size=12, max_size=12),
    delay=st.integers(0, 12),
    waited=st.integers(0, 12),
    first=st.integers(0, 10**9),
)
def test_no_label_of_a_kept_prediction_is_dropped_while_n_changes(
    rates: list[int], doublings: list[int], delay: int, waited: int, first: int
) -> None:
    """One step is a time during which N is the same; a spike's slice doubles it some times more."""
    keys = [str(first + i) for i in range(60)]
    for made, (n, twice) in enumerate(zip(rates, doublings, strict=False)):
        arrives = made + min(waited, delay, len(rates) - 1 - made)
        label_n = min(rates[max(arrives - delay, 0) : arrives + 1])
        labels = {key for key in keys if keep(key, label_n)}
        assert {key for key in keys if keep(key, n << twice)} <= labels
        if len(set(rates)) == 1 and not twice:
            assert {key for key in keys if keep(key, n)} == labels


@given(st.integers(0, 10**9), st.integers(1, MAX_N))
def test_n_settles_where_a_window_brings_a_thousand_rows_within_a_factor_of_two(rows: int, current: int) -> None:
    n = choose_n(rows, current)
    assert 1 <= n <= MAX_N
    assert choose_n(rows, n) == n
    if n < MAX_N:
        assert rows // n <= 2_000
    assert n == 1 or rows // n >= 500

"""Ids: UUIDv7, never twice, also in forked children."""

import os
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from driftline.sdk import ids
from driftline.sdk.ids import make_id


def test_ids_are_uuids_of_version_7_and_of_now():
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(make_id()) for _ in range(1_000)]
    after = time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
    assert all(before - 300 <= each.int >> 80 <= after for each in made)
    assert all(str(each) == text for each, text in zip(made, map(str, made), strict=True))


def test_ids_of_many_threads_differ():
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [make_id() for _ in range(2_000)], range(8)))
    assert len({each for some in made for each in some}) == 16_000


def test_the_seed_of_the_host_does_not_matter():
    random.seed(1)
    first = [make_id()[-12:] for _ in range(600)]
    random.seed(1)
    assert not {make_id()[-12:] for _ in range(600)} & set(first)


def test_every_bit_that_is_random_varies(monkeypatch):
    monkeypatch.setattr(ids, "_LASTS_S", 0.0)
    ids._forget()
    seen = [uuid.UUID(make_id()).int for _ in range(1_000)]
    varying = (1 << 76) - 1 & ~(0b11 << 62)  # without time, version and variant
    ones = zeros = 0
    for each in seen:
        ones |= each
        zeros |= ~each
    assert ones & zeros & varying == varying


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_draws_anew(monkeypatch):
    make_id()
    tails = list(ids._tails)
    ids._forget()
    assert not ids._tails
    assert tails[-1] not in {make_id()[-12:] for _ in range(300)}

"""Batches: taken apart and joined again, each id once."""

from dataclasses import replace

import numpy as np
import pytest

from driftline.core.batch import Batch, drop_repeated, join_batches
from driftline.core.columns import Columns


def make(ids: str, *, seed: int = 0, **fields: object) -> Batch:
    rng = np.random.default_rng(seed)
    rows = len(ids)
    table = tuple(dict.fromkeys(ids))
    codes = np.array([[table.index(name)] for name in ids], np.int32).reshape(rows, 1)
    columns = Columns(rng.random((rows, 2), np.float32), rng.random((rows, 3)), codes, (table,))
    batch = Batch("m", "1", "s", f"b{seed}", tuple(ids), rng.integers(0, 99, rows), columns, 4)
    return replace(batch, **fields)  # type: ignore[arg-type]


def texts(batch: Batch) -> list[str]:
    return [batch.columns.tables[0][code] for code in batch.columns.codes[:, 0]]


def test_joined_rows_are_what_they_were() -> None:
    parts = [make("abc"), make("d", seed=1), make("", seed=2), make("ba", seed=3)]
    joined = join_batches(parts)
    assert (joined.ids, joined.batch_id, joined.weight, joined.rows) == (tuple("abcdba"), "b0", 4, 6)
    assert texts(joined) == list("abcdba")
    np.testing.assert_array_equal(joined.timestamps, np.concatenate([part.timestamps for part in parts]))
    np.testing.assert_array_equal(joined.columns.float32, np.concatenate([part.columns.float32 for part in parts]))
    assert (joined.entity_ids, joined.group_ids, joined.ranks, joined.class_scores) == (None, None, None, None)
    assert join_batches(parts[:1]) is parts[0]


def test_what_only_some_have_is_missing_in_the_others() -> None:
    one = make("ab", entity_ids=("e", None), ranks=np.array([3, 4], np.int32), class_scores=np.ones((2, 3)))
    other = make("c", seed=1, group_ids=("g",), class_scores=np.zeros((1, 3)))
    joined = join_batches([one, other])
    assert joined.entity_ids == ("e", None, None)
    assert joined.group_ids == (None, None, "g")
    assert joined.ranks is not None
    assert joined.ranks.tolist() == [3, 4, -1]
    assert joined.class_scores is not None
    assert joined.class_scores[:, 0].tolist() == [1, 1, 0]


@pytest.mark.parametrize(("ids", "kept"), [("abc", "abc"), ("abacba", "abc"), ("", "")])
def test_the_first_row_of_an_id_stays(ids: str, kept: str) -> None:
    batch = make(ids)
    once = drop_repeated(batch)
    assert once.ids == tuple(kept)
    firsts = [ids.index(name) for name in kept]
    np.testing.assert_array_equal(once.columns.float64, batch.columns.float64[firsts])

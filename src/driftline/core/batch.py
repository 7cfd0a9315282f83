"""A batch of predictions of one model version: what the log carries and the profiler counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import xxhash
from numpy.typing import NDArray

from driftline.core.columns import Columns, concatenate
from driftline.core.sampling import limit_of


@dataclass(frozen=True, slots=True)
class Batch:
    """n predictions of one model version.

    `ids` are the prediction ids; `timestamps` [n] int64, microseconds since the epoch (UTC), event time;
    `weight` is the sampling weight that every row of the batch carries (1 = everything was kept).
    `class_scores` [n, K] where the model gives one score per class (`__score__` is then their maximum).
    """

    model_id: str
    version: str
    schema_id: str
    batch_id: str
    ids: tuple[str, ...]
    timestamps: NDArray[np.int64]
    columns: Columns
    weight: int = 1
    entity_ids: tuple[str | None, ...] | None = None
    group_ids: tuple[str | None, ...] | None = None
    ranks: NDArray[np.int32] | None = None
    class_scores: NDArray[np.float64] | None = None

    @property
    def rows(self) -> int:
        """Number of predictions."""
        return len(self.ids)

    def take(self, rows: NDArray[np.intp]) -> "Batch":
        """Select predictions by position."""
        return Batch(
            self.model_id,
            self.version,
            self.schema_id,
            self.batch_id,
            tuple(self.ids[i] for i in rows),
            self.timestamps[rows],
            self.columns.take(rows),
            self.weight,
            None if self.entity_ids is None else tuple(self.entity_ids[i] for i in rows),
            None if self.group_ids is None else tuple(self.group_ids[i] for i in rows),
            None if self.ranks is None else self.ranks[rows],
            None if self.class_scores is None else self.class_scores[rows],
        )


def drop_repeated(batch: Batch) -> Batch:
    """Keep the first row of each prediction id."""
    if len(set(batch.ids)) == batch.rows:
        return batch
    first = {text: row for row, text in reversed(list(enumerate(batch.ids)))}
    return batch.take(np.array(sorted(first.values()), np.intp))


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Join batches of one version with one weight; what only some of them have is missing in the others' rows.

    The first one's batch id is the whole's. Scores per class must be of as many classes in all of them.
    """
    first = batches[0]
    if len(batches) == 1:
        return first
    return Batch(
        first.model_id,
        first.version,
        first.schema_id,
        first.batch_id,
        tuple(chain.from_iterable(batch.ids for batch in batches)),
        np.concatenate([batch.timestamps for batch in batches]),
        concatenate([batch.columns for batch in batches]),
        first.weight,
        _join_texts([batch.entity_ids for batch in batches], batches),
        _join_texts([batch.group_ids for batch in batches], batches),
        _join_ranks(batches),
        None
        if first.class_scores is None
        else np.concatenate([batch.class_scores for batch in batches if batch.class_scores is not None]),
    )


def _join_texts(
    of_batches: Sequence[tuple[str | None, ...] | None], batches: Sequence[Batch]
) -> tuple[str | None, ...] | None:
    if all(texts is None for texts in of_batches):
        return None
    filled = (
        (None,) * batch.rows if texts is None else texts for texts, batch in zip(of_batches, batches, strict=True)
    )
    return tuple(chain.from_iterable(filled))


def _join_ranks(batches: Sequence[Batch]) -> NDArray[np.int32] | None:
    if all(batch.ranks is None for batch in batches):
        return None
    return np.concatenate(
        [np.full(batch.rows, -1, np.int32) if batch.ranks is None else batch.ranks for batch in batches]
    )


def hash_ids(ids: tuple[str, ...]) -> NDArray[np.uint64]:
    """Hash prediction ids to 64 bits (xxh3 of the UTF-8 text): the key of sampling and of duplicates.

    >>> int(hash_ids(("a",))[0]) == xxhash.xxh3_64_intdigest(b"a")
    True
    """
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(text.encode()) for text in ids), np.uint64, len(ids))


def keep_keys(keys: tuple[str, ...], n: int) -> NDArray[np.bool_]:
    """Tell which join keys are kept when one in n is: what `core.sampling.keep` says, of many.

    >>> int(keep_keys(tuple(map(str, range(100_000))), 100).sum())
    1012
    """
    return np.ones(len(keys), bool) if n == 1 else hash_ids(keys) <= np.uint64(limit_of(n))


def join_keys(batch: Batch, *, by_entity: bool) -> tuple[str, ...]:
    """Give what each row is sampled by, and joined with its label: its id, or its entity's if it has one."""
    if not by_entity or batch.entity_ids is None:
        return batch.ids
    return tuple(own if key is None else key for key, own in zip(batch.entity_ids, batch.ids, strict=True))


def sample_batch(batch: Batch, n: int, *, by_entity: bool) -> Batch:
    """Keep one in n of the rows of a batch of weight 1, by their join keys; those that are kept weigh n."""
    kept = np.flatnonzero(keep_keys(join_keys(batch, by_entity=by_entity), n))
    return replace(batch.take(kept), weight=n)

"""Batches of one version as rows that can be counted together."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from driftline.core.batch import Batch, hash_ids
from driftline.core.columns import concatenate
from driftline.core.schema import JoinKey
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.dead_letters import Refused
from driftline.workers.catalog import KnownVersion
from driftline.workers.counter import Rows
from driftline.workers.refusal import refuse_batches


def join_batches(version: KnownVersion, batches: Sequence[Batch]) -> Rows:
    """Put batches behind one another."""
    columns = concatenate([batch.columns for batch in batches])
    if version.schema.join_key is JoinKey.ENTITY_ID:
        columns = replace(columns, entities=np.concatenate([_hash_entities(batch) for batch in batches]))
    return Rows(
        np.concatenate([hash_ids(batch.ids) for batch in batches]),
        np.concatenate([batch.timestamps for batch in batches]),
        columns,
        np.concatenate([np.full(batch.rows, batch.weight, np.int64) for batch in batches]),
    )


def _hash_entities(batch: Batch) -> NDArray[np.uint64]:
    """Hash the entity of each row; 0 where it has none."""
    hashes = np.zeros(batch.rows, np.uint64)
    if batch.entity_ids is not None:
        named = [row for row, entity in enumerate(batch.entity_ids) if entity is not None]
        hashes[named] = hash_ids(tuple(entity for entity in batch.entity_ids if entity is not None))
    return hashes


def refuse_late(version: KnownVersion, batches: Sequence[Batch], late: NDArray[np.int64]) -> list[Refused]:
    """Refuse rows, by their position in all batches, whose windows are final."""
    if not len(late):
        return []
    bounds = np.cumsum([0, *(batch.rows for batch in batches)])
    chosen = [late[(late >= start) & (late < end)] - start for start, end in pairwise(bounds)]
    parts = [batch.take(rows) for batch, rows in zip(batches, chosen, strict=True) if len(rows)]
    reason = f"{len(late)} predictions came after their window had become final"
    return refuse_batches(PREDICTION_SAMPLES, version, parts, "window_final", reason)

"""Micro-batches: a batch as records of the topic `prediction_samples`, none of them large."""

from collections.abc import Iterator

import numpy as np

from driftline.core.batch import Batch
from driftline.core.schema import Schema, layout
from driftline.log.batch_format import CONTENT_TYPE, encode_batch
from driftline.log.record import NewRecord

RECORD_ROWS = 10_000
RECORD_BYTES = 8 << 20
_ROW_OVERHEAD = 64  # an id, a time, a batch's share of names


def cut_batch(batch: Batch, schema: Schema) -> list[NewRecord]:
    """Cut a batch into records of at most 10,000 rows and 8 MB, keyed by model and version.

    Only a single row may take more.
    """
    plan = layout(schema)
    row_bytes = 4 * len(plan.float32) + 8 * len(plan.float64) + 2 * len(plan.codes) + _ROW_OVERHEAD
    size = max(1, min(RECORD_ROWS, RECORD_BYTES // row_bytes))
    key = f"{batch.model_id}/{batch.version}".encode()
    headers = {"model": batch.model_id, "version": batch.version, "content-type": CONTENT_TYPE}
    return [NewRecord(key, payload, headers) for payload in _encode_parts(batch, schema, size)]


def _encode_parts(batch: Batch, schema: Schema, size: int) -> Iterator[bytes]:
    """Encode parts of at most `size` rows, and of half as many where long texts make them too large."""
    for start in range(0, batch.rows, size):
        part = batch if batch.rows <= size else batch.take(np.arange(start, min(start + size, batch.rows)))
        payload = encode_batch(part, schema)
        if len(payload) <= RECORD_BYTES or part.rows == 1:
            yield payload
        else:
            yield from _encode_parts(part, schema, -(-part.rows // 2))

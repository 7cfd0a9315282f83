"""What the profiler could not count, as dead letters: each can be sent again as it is."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from driftline.core.batch import Batch
from driftline.log.batch_format import encode_batch
from driftline.log.received import Rejected
from driftline.log.record import LogRecord
from driftline.store.dead_letters import Refused
from driftline.store.samples import SampleFile
from driftline.workers.catalog import KnownVersion


def refuse_record(record: LogRecord, code: str, reason: str) -> Refused:
    """Refuse a record as a whole, as it came."""
    model_id, version = record.headers.get("model"), record.headers.get("version")
    return Refused(
        record.topic,
        code,
        reason,
        record.payload,
        model_id,
        version,
        headers=record.headers,
        record_key=record.key,
        partition=record.partition,
        log_offset=record.offset,
    )


def refuse_batches(
    topic: str, version: KnownVersion, batches: Sequence[Batch], code: str, reason: str
) -> list[Refused]:
    """Refuse batches of a version, for one reason."""
    return [
        Refused(
            topic,
            code,
            reason,
            encode_batch(batch, version.schema),
            version.model_id,
            version.model_version,
            batch.ids[0] if batch.rows == 1 else None,
            batch.rows,
        )
        for batch in batches
    ]


def refuse_rows(topic: str, version: KnownVersion, batch: Batch, rejected: Sequence[Rejected]) -> list[Refused]:
    """Refuse some rows of a batch: one letter a reason, which says what is wrong with the first of them."""
    by_code: dict[str, list[Rejected]] = defaultdict(list)
    for row in rejected:
        by_code[row.reason_code].append(row)
    letters = []
    for code, rows in by_code.items():
        part = batch.take(np.array([row.index for row in rows], np.intp))
        reason = rows[0].reason if len(rows) == 1 else f"{len(rows)} predictions, the first: {rows[0].reason}"
        letters += refuse_batches(topic, version, [part], code, reason)
    return letters


def refuse_sample_file(file: SampleFile, error: Exception) -> Refused:
    """Say that samples which waited for a reference are lost: their file cannot be counted."""
    reason = f"{file.row_count} predictions in sample file {file.path} were lost: {error}"
    return Refused(
        file.topic, "sample_file_lost", reason, b"", file.model_id, file.model_version, rows=file.row_count
    )


def refuse_expired_file(file: SampleFile) -> Refused:
    """Say that samples were deleted for their age before they could be counted."""
    reason = (
        f"{file.row_count} predictions in sample file {file.path} were never counted and are older than"
        f" retention_samples_days; their status was {file.status}"
    )
    return Refused(
        file.topic, "samples_expired", reason, b"", file.model_id, file.model_version, rows=file.row_count
    )


def refuse_lost_records(
    topic: str, partition: int, ranges: Sequence[tuple[int, int]], *, consumed: int
) -> Refused:
    """Say that ranges [first, end) of offsets were deleted before they were consumed.

    `consumed` is the offset up to which the partition was: the letter of who goes on from there again, and finds
    more or fewer of them lost, replaces this one.
    """
    count, first, last = sum(end - first for first, end in ranges), ranges[0][0], ranges[-1][1] - 1
    where = f"offsets {first} to {last}" if len(ranges) == 1 else f"between offsets {first} and {last}"
    reason = (
        f"{count} records of partition {partition}, {where}, were deleted from the log before they were consumed"
    )
    return Refused(topic, "log_records_lost", reason, b"", rows=count, partition=partition, log_offset=consumed)

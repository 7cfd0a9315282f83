"""Taking labels in: those whose predictions may have been kept, into the log, in one transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from psycopg import Connection

from driftline.api.intake import Outcome, claim_refused
from driftline.core.batch import keep_keys
from driftline.core.labels import Labels
from driftline.log.label_format import CONTENT_TYPE, encode_labels
from driftline.log.log import Log
from driftline.log.micro_batches import RECORD_ROWS
from driftline.log.partitioning import partition_of
from driftline.log.record import NewRecord
from driftline.log.topics import LABELS
from driftline.store.batches import accept_batch
from driftline.store.dead_letters import Refused, add_dead_letters
from driftline.store.label_imports import add_to_import
from driftline.workers.label_records import IMPORT


@dataclass(frozen=True, slots=True)
class LabelIntake:
    """What a request brings of one model (of none: ''): labels that are kept in `records`, and those refused.

    `rows` labels are in the records; `not_sampled` are of predictions that were not kept.
    """

    model_id: str
    rows: int
    records: Sequence[NewRecord]
    not_sampled: int
    refused: Sequence[Refused]
    import_id: str | None = None


def prepare_labels(
    model_id: str,
    received: Sequence[Labels],
    n: int,
    partitions: int,
    refused: Sequence[Refused],
    import_id: str | None = None,
) -> LabelIntake:
    """Keep the labels whose hash says that one in `n` includes them, and write records that name the import."""
    kept = [labels.take(np.flatnonzero(keep_keys(labels.keys, n))) for labels in received]
    rows = sum(labels.rows for labels in kept)
    return LabelIntake(
        model_id,
        rows,
        [record for labels in kept for record in _make_records(labels, partitions, import_id)],
        sum(labels.rows for labels in received) - rows,
        refused,
        import_id,
    )


def take_in_labels(
    conn: Connection, log: Log, intakes: Sequence[LabelIntake], key: str | None, digest: bytes
) -> Outcome:
    """Append labels to the log and keep what was refused; durable once the caller's transaction commits.

    What was taken in before under the same key is left alone. Raises AlreadyExists when the key was used for a
    body with another digest.
    """
    in_order = sorted(intakes, key=lambda intake: intake.model_id)  # no two wait for one another
    fresh = [intake for intake in in_order if _claim(conn, intake, key, digest)]
    refused = [letter for intake in fresh for letter in intake.refused]
    add_dead_letters(conn, refused)
    for intake in fresh:
        if intake.import_id is not None and intake.model_id:
            add_to_import(
                conn, intake.model_id, intake.import_id, accepted=intake.rows, not_sampled=intake.not_sampled
            )
    log.append(conn, LABELS, [record for intake in fresh for record in intake.records])
    accepted = sum(intake.rows for intake in fresh)
    return Outcome(
        accepted, sum(intake.rows for intake in intakes) - accepted, sum(letter.rows for letter in refused)
    )


def _claim(conn: Connection, intake: LabelIntake, key: str | None, digest: bytes) -> bool:
    if not intake.model_id:
        return claim_refused(conn, key, digest)
    return key is None or accept_batch(conn, intake.model_id, f"labels/{key}", intake.rows, digest)


def _make_records(labels: Labels, partitions: int, import_id: str | None) -> Iterator[NewRecord]:
    """Make a record of the labels of each partition, so that thousands of labels are a few records.

    A label belongs to the partition of its key; the record's own key is that of its first label.
    """
    record_keys = [f"{labels.model_id}/{key}".encode() for key in labels.keys]
    chosen = np.array([partition_of(key, partitions) for key in record_keys])
    for partition in np.unique(chosen):
        rows = np.flatnonzero(chosen == partition)
        for start in range(0, len(rows), RECORD_ROWS):
            part = rows[start : start + RECORD_ROWS]
            headers = {"model": labels.model_id, "content-type": CONTENT_TYPE}
            if import_id is not None:
                headers[IMPORT] = import_id
            yield NewRecord(record_keys[part[0]], encode_labels(labels.take(part)), headers)

"""Records of the topic `labels`: as driftline packs them, or as JSON from any producer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.batch import keep_keys
from driftline.core.category import mend_text
from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.labels import Labels
from driftline.core.schema import JoinKey, Task
from driftline.log.json_body import JSON
from driftline.log.label_format import CONTENT_TYPE, decode_labels, encode_labels
from driftline.log.label_rows import Joining, LabelSubmission, pack_labels, read_labels
from driftline.log.received import Rejected
from driftline.log.record import LogRecord
from driftline.log.topics import LABELS
from driftline.store.dead_letters import Refused
from driftline.store.joins import Join, find_joins
from driftline.store.sampling import read_label_ns
from driftline.workers.refusal import refuse_record

IMPORT = "import"
"""The header of a record that names the import whose labels it holds."""
MAX_IMPORT = 100


@dataclass(frozen=True, slots=True)
class ReceivedLabels:
    """Labels of one model that came one after the other; `record` is the first, `import_id` '' for no import."""

    record: LogRecord
    labels: Labels
    import_id: str = ""

    def refuse(self, code: str, reason: str) -> Refused:
        """Refuse them, as a record that can be appended again."""
        return Refused(
            LABELS,
            code,
            reason,
            encode_labels(self.labels),
            self.labels.model_id,
            prediction_id=self.labels.keys[0] if self.labels.rows == 1 else None,
            rows=self.labels.rows,
            headers={"model": self.labels.model_id, "content-type": CONTENT_TYPE},
            record_key=self.record.key,
            partition=self.record.partition,
            log_offset=self.record.offset,
        )

    def take(self, rows: NDArray[np.intp]) -> "ReceivedLabels":
        """Select labels by position."""
        return ReceivedLabels(self.record, self.labels.take(rows), self.import_id)


@dataclass(slots=True)
class _Lines:
    """Labels in JSON of one model, and the record of each."""

    model_id: str
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    records: list[LogRecord] = field(default_factory=list)


def read_joining(join: Join) -> Joining:
    """Tell how labels of a model are read; a model without any schema may yet be joined by either key."""
    numeric = join.task in (Task.REGRESSION, Task.RANKING)
    return Joining(frozenset(JoinKey(key) for key in join.keys) or frozenset(JoinKey), numeric)


def read_label_records(
    conn: Connection, records: Sequence[LogRecord], *, max_future: int
) -> tuple[list[ReceivedLabels], list[Refused]]:
    """Read labels in the order of the log, JSON of one model together; gives also what cannot be read.

    Labels in JSON are tested by their hash like those that come over HTTP. `max_future` (microseconds) is how far
    beyond its append time the times of one may be.
    """
    received: list[ReceivedLabels | _Lines] = []
    refused: list[Refused] = []
    open_: dict[str, _Lines] = {}
    for record in records:
        try:
            if record.headers.get("content-type") == CONTENT_TYPE:
                packed = _read_packed(record)
                open_.pop(packed.labels.model_id, None)
                received.append(packed)
                continue
            submissions, rejected = read_labels(
                record.payload, record.headers.get("content-type", JSON), model_id=record.headers.get("model")
            )
        except InvalidInput as error:
            refused.append(refuse_record(record, "malformed_labels", str(error)))
            continue
        refused += [_refuse_row(record, row, None) for row in rejected]
        for submission in submissions:
            if submission.model_id not in open_:
                open_[submission.model_id] = _Lines(submission.model_id)
                received.append(open_[submission.model_id])
            open_[submission.model_id].rows += submission.rows
            open_[submission.model_id].records += [record] * len(submission.rows)
    lines = [each for each in received if isinstance(each, _Lines)]
    packed_lines = _pack_lines(conn, lines, refused, max_future) if lines else {}
    found: list[ReceivedLabels] = []
    for each in received:
        found += packed_lines[id(each)] if isinstance(each, _Lines) else [each]
    return found, refused


def _read_packed(record: LogRecord) -> ReceivedLabels:
    labels = decode_labels(record.payload)
    if labels.model_id != record.headers.get("model"):
        raise InvalidPayload(
            f"the labels are of model {labels.model_id!r}, their header names another", field="model_id"
        )
    if mend_text(labels.model_id) != labels.model_id:
        raise InvalidPayload("model_id holds what is no text", field="model_id")
    return ReceivedLabels(record, labels, mend_text(record.headers.get(IMPORT, ""))[:MAX_IMPORT])


def _pack_lines(
    conn: Connection, lines: Sequence[_Lines], refused: list[Refused], max_future: int
) -> dict[int, list[ReceivedLabels]]:
    names = sorted({each.model_id for each in lines if mend_text(each.model_id) == each.model_id})
    joins = find_joins(conn, names)
    smallest = read_label_ns(conn, names, max(record.appended_at for each in lines for record in each.records))
    packed: dict[int, list[ReceivedLabels]] = {}
    for each in lines:
        join = joins.get(each.model_id)
        if join is None:
            reason = f"there is no model {each.model_id!r}; register it with POST /models, then replay"
            of_offset = {record.offset: record for record in each.records}
            refused += [refuse_record(record, "unknown_model", reason) for record in of_offset.values()]
            packed[id(each)] = []
            continue
        result = pack_labels(
            LabelSubmission(each.model_id, each.rows, range(len(each.rows))),
            read_joining(join),
            received_at=[record.appended_at for record in each.records],
            latest=each.records[-1].appended_at + max_future,
        )
        refused += [_refuse_row(each.records[row.index], row, each.model_id) for row in result.rejected]
        n = smallest[each.model_id]
        kept = [labels.take(np.flatnonzero(keep_keys(labels.keys, n))) for labels in result.labels]
        packed[id(each)] = [ReceivedLabels(each.records[0], labels) for labels in kept if labels.rows]
    return packed


def _refuse_row(record: LogRecord, row: Rejected, model_id: str | None) -> Refused:
    return Refused(
        LABELS,
        row.reason_code,
        row.reason,
        row.raw,
        model_id,
        prediction_id=row.prediction_id,
        headers={"content-type": JSON},
        partition=record.partition,
        log_offset=record.offset,
    )

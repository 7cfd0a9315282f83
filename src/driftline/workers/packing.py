"""What a slice keeps, packed: records of one prediction each become micro-batches that carry their weight.

A record that cannot be read or placed is refused alone, whatever it holds; the others go through.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from driftline.core.batch import Batch, drop_repeated, join_batches
from driftline.core.errors import InvalidInput
from driftline.log.json_format import Submission
from driftline.log.json_rows import pack_predictions
from driftline.log.logged import WrongKey, is_batch, read_batch, read_row
from driftline.log.micro_batches import cut_batch
from driftline.log.plain_rows import PlainFeatures, RowReader
from driftline.log.received import Rejected, accept_rows
from driftline.log.record import LogRecord, NewRecord
from driftline.store.dead_letters import Refused
from driftline.workers.catalog import KnownVersion
from driftline.workers.refusal import refuse_record

_CHUNK_BYTES = 256 << 10
"""So many bytes of JSON are unpacked at a time: as objects they take ten times as much, which the cache holds."""

logger = structlog.get_logger("driftline.sampler")


@dataclass(frozen=True, slots=True)
class Kept:
    """The records of a version that a slice kept, one in `n`; `latest` is the last acceptable event time."""

    version: KnownVersion
    n: int
    latest: int
    records: Sequence[LogRecord]


@dataclass(frozen=True, slots=True)
class Packed:
    """What goes to `prediction_samples`, and what cannot be used."""

    records: Sequence[NewRecord]
    refused: Sequence[Refused]


def pack_kept(kept: Iterable[Kept]) -> Packed:
    """Pack what slices kept; rows of one version, N and slice go together, wherever they were read."""
    together: dict[tuple[str, str, int, int], list[Kept]] = defaultdict(list)
    for each in kept:
        together[each.version.model_id, each.version.model_version, each.n, each.latest].append(each)
    records: list[NewRecord] = []
    refused: list[Refused] = []
    for group in together.values():
        first = group[0]
        packing = _Packing(first.version, first.latest)
        packing.pack([record for each in group for record in each.records])
        for batch in packing.batches():
            records += cut_batch(replace(drop_repeated(batch), weight=first.n), first.version.schema)
        refused += packing.refused
    return Packed(records, refused)


class _Packing:
    """Packs records of one version."""

    def __init__(self, version: KnownVersion, latest: int) -> None:
        self._version, self._latest = version, latest
        self._reader = RowReader(version.schema)
        self._packed: list[Batch] = []
        self.refused: list[Refused] = []

    def pack(self, records: Sequence[LogRecord]) -> None:
        for chunk in _chunks(records):
            self._pack_chunk(chunk)

    def batches(self) -> list[Batch]:
        """Join what was packed; scores of different numbers of classes stay apart."""
        alike: dict[int | None, list[Batch]] = defaultdict(list)
        for batch in self._packed:
            classes = None if batch.class_scores is None else batch.class_scores.shape[1]
            alike[classes].append(batch)
        return [join_batches(batches) for batches in alike.values()]

    def _pack_chunk(self, records: Sequence[LogRecord]) -> None:
        rows: dict[tuple[int, bool], list[tuple[LogRecord, dict[str, object]]]] = defaultdict(list)
        for record in records:
            try:
                if is_batch(record):
                    self._accept_batch(record)
                    continue
                row = read_row(record, self._version.schema, self._reader)
                score = row.get("score")
                classes = len(score) if isinstance(score, list) else 0
                rows[classes, isinstance(row.get("features"), PlainFeatures)].append((record, row))
            except InvalidInput as error:
                self._refuse(
                    record, "wrong_key" if isinstance(error, WrongKey) else "malformed_record", str(error)
                )
        for alike in rows.values():  # one with more classes would cost all others their scores
            self._accept_rows(alike)

    def _accept_batch(self, record: LogRecord) -> None:
        batch = replace(read_batch(record, self._version.schema), batch_id=_name_batch(record))
        received = accept_rows(batch, latest=self._latest, raw=lambda _: b"")
        self._keep(received.batch, received.rejected, [record])

    def _accept_rows(self, rows: Sequence[tuple[LogRecord, dict[str, object]]]) -> None:
        """Pack rows of JSON; should that fail, one by one, to find the one at fault."""
        records = [record for record, _ in rows]
        submission = Submission(
            self._version.model_id, self._version.model_version, [row for _, row in rows], range(len(rows))
        )
        try:
            received = pack_predictions(
                submission, self._version.schema, batch_id=_name_batch(records[0]), latest=self._latest
            )
        except Exception as error:
            if len(rows) > 1:
                for row in rows:
                    self._accept_rows([row])
                return
            if not isinstance(error, InvalidInput):
                logger.exception("prediction set aside", offset=records[0].offset)
            self._refuse(records[0], "malformed_record", str(error) or repr(error))
            return
        self._keep(received.batch, received.rejected, records)

    def _keep(self, batch: Batch | None, rejected: Sequence[Rejected], records: Sequence[LogRecord]) -> None:
        if batch is not None:
            self._packed.append(batch)
        for row in rejected:
            self._refuse(records[row.index], str(row.reason_code), row.reason)

    def _refuse(self, record: LogRecord, code: str, reason: str) -> None:
        self.refused.append(refuse_record(record, code, reason))


def _name_batch(record: LogRecord) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _chunks(records: Sequence[LogRecord]) -> Iterator[Sequence[LogRecord]]:
    start = size = 0
    for place, record in enumerate(records):
        size += len(record.payload)
        if size > _CHUNK_BYTES and place > start:
            yield records[start:place]
            start, size = place, len(record.payload)
    if start < len(records):
        yield records[start:]

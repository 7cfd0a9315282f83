"""Files of labels as requests: CSV and Parquet, whose columns are checked before anything is sent."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from driftline.cli.pieces import LABELS, Piece
from driftline.core.column import is_text
from driftline.core.errors import InvalidInput
from driftline.core.moment import NO_TIME, from_micros
from driftline.core.times import read_times
from driftline.files import read_chunks
from driftline.log.json_body import NDJSON

PIECE_ROWS = 20_000
KEYS = ("prediction_id", "request_id", "entity_id")
_ZONED = r"(Z|z|[+-][0-9]{2}:?[0-9]{2})\s*$"


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """What the columns of a file are called; `zone` is that of times which name none, None when they must.

    `withdraw_empty`: an empty value withdraws a label; otherwise such rows are left out.
    """

    key: str | None = None
    by_entity: bool = False
    value: str = "value"
    timestamp: str = "timestamp"
    known_at: str = "known_at"
    weight: str = "weight"
    zone: ZoneInfo | None = None
    withdraw_empty: bool = False


@dataclass(slots=True)
class LabelFile:
    """A file of labels of a model, cut into requests; `empty` counts rows without a value, once it was read."""

    path: Path
    model_id: str
    columns: LabelColumns
    import_id: str
    empty: int = 0

    def pieces(self) -> Iterator[Piece]:
        """Cut the file, always at the same places. Raises InvalidInput, naming the column and the fix."""
        names = _name_columns(self.path, self.columns)
        total, done, first = self.path.stat().st_size, 0, 1
        query = {"model_id": self.model_id, "import_id": self.import_id}
        self.empty = 0
        for table in read_chunks(self.path, list(names.values()), PIECE_ROWS, texts=(names["key"],)):
            rows, body = self._write(table, names, first)
            share = min(table.nbytes, total - done)
            done += share
            first += table.num_rows
            if rows:
                digest = hashlib.blake2b(self.import_id.encode() + body, digest_size=20).hexdigest()
                yield Piece(LABELS, NDJSON, body, query, f"import-{digest}", share)

    def _write(self, table: pa.Table, names: dict[str, str], first: int) -> tuple[int, bytes]:
        columns = {field: table.column(name) for field, name in names.items()}
        usable = np.ones(table.num_rows, np.bool_)
        self._check_keys(columns["key"], names["key"], first)
        missing = pc.is_null(columns["value"], nan_is_null=True).to_numpy(zero_copy_only=False)
        if is_text(columns["value"].type):
            blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(columns["value"]), ""), True)
            missing |= blank.to_numpy(zero_copy_only=False)
        if not self.columns.withdraw_empty:
            usable = ~missing
            self.empty += int(missing.sum())
        values = [
            None if gone else value for gone, value in zip(missing, columns["value"].to_pylist(), strict=True)
        ]
        written: dict[str, Sequence[Any]] = {
            "entity_id" if self.columns.by_entity else "prediction_id": columns["key"].to_pylist(),
            "value": values,
        }
        for field in ("timestamp", "known_at"):
            if field in columns:
                written[field] = self._read_times(columns[field], names[field], first)
        if "weight" in columns:
            written["weight"] = self._read_weights(columns["weight"], names["weight"], first)
        rows = [
            {name: value for name, value in zip(written, row, strict=True) if value is not None or name == "value"}
            for row, use in zip(zip(*written.values(), strict=True), usable, strict=True)
            if use
        ]
        encode = msgspec.json.Encoder().encode
        return len(rows), b"\n".join([encode(row) for row in rows])

    def _check_keys(self, column: pa.ChunkedArray, name: str, first: int) -> None:
        if column.null_count:
            row = first + int(np.argmax(pc.is_null(column).to_numpy(zero_copy_only=False)))
            raise self._fault(name, row, "is empty; say which prediction each label is of")

    def _read_times(self, column: pa.ChunkedArray, name: str, first: int) -> list[str | None]:
        """Give times as texts with a zone."""
        if self.columns.zone is None and _lacks_zone(column):
            raise self._fault(name, first, "has times without a zone; say which one it is, e.g. --zone UTC")
        micros, _ = read_times(name, column, self.columns.zone or ZoneInfo("UTC"))
        empty = pc.is_null(column).to_numpy(zero_copy_only=False)
        unread = np.flatnonzero((micros == NO_TIME) & ~empty)
        if len(unread):
            shown = column[int(unread[0])].as_py()
            raise self._fault(name, first + int(unread[0]), f"is {shown!r}; write times as 2026-11-23T08:00:00Z")
        return [None if micro == NO_TIME else from_micros(micro).isoformat() for micro in micros.tolist()]

    def _read_weights(self, column: pa.ChunkedArray, name: str, first: int) -> list[float | None]:
        try:
            numbers = column.cast(pa.float64())
        except pa.ArrowInvalid:
            raise self._fault(name, first, "holds texts; weights are numbers above 0") from None
        wrong = np.flatnonzero(~pc.fill_null(pc.greater(numbers, 0.0), True).to_numpy(zero_copy_only=False))
        if len(wrong):
            shown = numbers[int(wrong[0])].as_py()
            raise self._fault(name, first + int(wrong[0]), f"is {shown}; weights are numbers above 0")
        weights: list[float | None] = numbers.to_pylist()
        return weights

    def _fault(self, column: str, row: int, what: str) -> InvalidInput:
        return InvalidInput(f"{self.path}: column {column!r} {what} (row {row:,})", field=column)


def open_label_file(path: Path, model_id: str, columns: LabelColumns) -> LabelFile:
    """Name the import by what it holds: the same file again is the same import. Raises InvalidInput."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(msgspec.json.encode([model_id, str(columns)]))
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", field="path") from None
    return LabelFile(path, model_id, columns, digest.hexdigest())


def _name_columns(path: Path, columns: LabelColumns) -> dict[str, str]:
    """Find the columns that a file has by what they mean; InvalidInput when one that is needed is not there."""
    there = next(read_chunks(path, rows=1)).column_names
    keys = KEYS[2:] if columns.by_entity else KEYS[:2]
    wanted = {
        "key": columns.key or next((key for key in keys if key in there), keys[0]),
        "value": columns.value,
        "timestamp": columns.timestamp,
        "known_at": columns.known_at,
        "weight": columns.weight,
    }
    given = {
        field for field, default in (("timestamp", "timestamp"), ("known_at", "known_at"), ("weight", "weight"))
        if wanted[field] != default
    }  # fmt: skip
    option = {"key": "--key", "value": "--value", "timestamp": "--timestamp", "known_at": "--known-at"}
    for field, name in wanted.items():
        if name not in there and (field in ("key", "value") or field in given):
            raise InvalidInput(
                f"{path} has no column {name!r}; name it with {option.get(field, '--weight')}: the file has"
                f" {', '.join(there[:20])}",
                field=name,
            )
    return {field: name for field, name in wanted.items() if name in there}


def _lacks_zone(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return getattr(kind, "tz", None) is None
    if not is_text(kind):
        return False  # numbers are seconds since the epoch
    return not pc.all(pc.match_substring_regex(column, _ZONED), min_count=0).as_py()

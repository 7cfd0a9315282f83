"""Files of predictions and labels, cut into requests of bounded size and read in bounded memory."""

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

import msgspec
import pyarrow as pa

from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.frame import ID_COLUMNS
from driftline.core.schema import Schema
from driftline.files import read_chunks
from driftline.log.arrow_format import ARROW_STREAM
from driftline.log.batch_format import CONTENT_TYPE as BATCH
from driftline.log.batch_format import read_header
from driftline.log.json_body import JSON, NDJSON

PREDICTIONS, LABELS = "/predictions", "/labels"
MAX_BYTES = 8 << 20
MAX_LINES = 20_000
FRAME_ROWS = 65_536
MAX_OBJECT = 1 << 30
"""So large a JSON body may be; NDJSON and frames have no end."""
_MAX_LINE = 64 << 20

_BATCHES = (".batch",)
_LINES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
_OBJECTS = (".json", ".json.gz")
_FRAMES = (".parquet", ".pq", ".arrow", ".arrows", ".feather", ".ipc", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
SUFFIXES = (*_BATCHES, *_LINES, *_OBJECTS, *_FRAMES)
_LABELS = re.compile(r"labels[-_.].*")
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Piece:
    """One request: `target` is the path it goes to, `query` says whose rows these are.

    With it `share` bytes of the file are done. `key` names its content, so that sent again it is recognised.
    """

    target: str
    media_type: str
    body: bytes
    query: Mapping[str, str]
    key: str
    share: int = 0


def list_files(paths: Sequence[Path]) -> list[Path]:
    """List the files, and of folders all that have a known suffix, in the order of their names.

    Raises InvalidInput for a path that is not there or whose suffix is not known.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if _is_wanted(file.relative_to(path)))
            found += sorted(file for file in inside if file.is_file())
        elif not path.exists():
            raise InvalidInput(f"{path}: there is no such file or folder", field="path")
        elif not path.name.lower().endswith(SUFFIXES):
            raise InvalidInput(f"{path}: name it by what it holds, one of {', '.join(SUFFIXES)}", field="path")
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def is_frame(path: Path) -> bool:
    """Tell whether a file is a table, which does not say whose predictions it holds."""
    return path.name.lower().endswith(_FRAMES)


def cut_file(path: Path, query: Mapping[str, str], schema: Schema | None) -> Iterator[Piece]:
    """Cut a file into requests, always at the same places; `query` are the parameters of those that need them.

    The schema says which columns of a CSV hold ids. Raises InvalidInput for a file that cannot be read.
    """
    name = path.name.lower()
    if name.endswith(_BATCHES):
        yield _read_batch(path)
    elif name.endswith(_LINES):
        yield from _cut_lines(path, LABELS if _LABELS.fullmatch(name) else PREDICTIONS, query)
    elif name.endswith(_OBJECTS):
        yield from _cut_object(path, query)
    else:
        yield from _cut_frame(path, query, schema)


def halve(piece: Piece) -> tuple[Piece, ...]:
    """Cut a piece that is too large for the server in two; empty when that cannot be done."""
    if piece.media_type == NDJSON:
        lines = piece.body.splitlines()
        parts = [b"\n".join(half) for half in _halves(lines)]
    elif piece.media_type == ARROW_STREAM:
        table = pa.ipc.open_stream(piece.body).read_all()
        middle = table.num_rows // 2
        parts = [_write_stream(half) for half in (table.slice(0, middle), table.slice(middle)) if half.num_rows]
    else:
        parts = []
    if len(parts) < 2:
        return ()
    first, second = (replace(piece, body=part, key=_key_of(piece, part)) for part in parts)
    return replace(first, share=0), second


def _is_wanted(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not any(part.startswith(".") for part in path.parts)


def _halves(lines: list[bytes]) -> list[list[bytes]]:
    middle = len(lines) // 2
    return [half for half in (lines[:middle], lines[middle:]) if half]


def _read_batch(path: Path) -> Piece:
    """Read a batch; its own id is its key, as when the SDK sends it."""
    body = path.read_bytes()
    piece = _make_piece(PREDICTIONS, BATCH, body, {}, len(body))
    try:
        batch_id = read_header(body).batch_id
    except InvalidPayload:  # the server says why, and keeps it
        return piece
    return replace(piece, key=batch_id) if _KEY.fullmatch(batch_id) else piece


def _cut_lines(path: Path, target: str, query: Mapping[str, str]) -> Iterator[Piece]:
    with _open(path) as file:
        done = 0
        waiting: list[bytes] = []
        size = 0
        while line := file.readline(_MAX_LINE):
            if len(line) == _MAX_LINE:
                raise InvalidInput(f"{path} has a line of more than {_MAX_LINE >> 20} MiB; write one row a line")
            waiting.append(line.rstrip(b"\r\n"))
            size += len(line)
            if size >= MAX_BYTES or len(waiting) >= MAX_LINES:
                yield _make_piece(target, NDJSON, b"\n".join(waiting), query, _place(file) - done)
                done = _place(file)
                waiting.clear()
                size = 0
        if waiting:
            yield _make_piece(target, NDJSON, b"\n".join(waiting), query, path.stat().st_size - done)


class _Body(msgspec.Struct):
    """A JSON body of many predictions, each left as it is written."""

    predictions: list[msgspec.Raw]
    model_id: str | None = None
    version: str | int | None = None


def _cut_object(path: Path, query: Mapping[str, str]) -> Iterator[Piece]:
    """Cut a JSON body into lines; one that is not as expected goes as it is, for the server to judge."""
    with _open(path) as file:
        body = file.read(MAX_OBJECT + 1)
    if len(body) > MAX_OBJECT:
        raise InvalidInput(
            f"{path} holds more than {MAX_OBJECT >> 30} GiB of JSON; write it as NDJSON, a row a line"
        )
    try:
        content = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        yield _make_piece(PREDICTIONS, JSON, body, query, path.stat().st_size)
        return
    named = {"model_id": content.model_id, "version": content.version}
    its_query = {**query, **{name: str(value) for name, value in named.items() if value is not None}}
    share = path.stat().st_size / max(len(content.predictions), 1)
    start = 0
    while start < len(content.predictions):
        end, size = start, 0
        while end < len(content.predictions) and end - start < MAX_LINES and size < MAX_BYTES:
            size += len(memoryview(content.predictions[end]))
            end += 1
        lines = b"\n".join(_on_one_line(bytes(row)) for row in content.predictions[start:end])
        yield _make_piece(PREDICTIONS, NDJSON, lines, its_query, int(share * (end - start)))
        start = end


def _on_one_line(row: bytes) -> bytes:
    return row.replace(b"\n", b" ").replace(b"\r", b" ")  # only between tokens: in JSON texts they are escaped


def _cut_frame(path: Path, query: Mapping[str, str], schema: Schema | None) -> Iterator[Piece]:
    texts = (*ID_COLUMNS, "entity_id" if schema is None else schema.entity_id, "group_id")
    total = path.stat().st_size
    done = 0
    for table in read_chunks(path, rows=FRAME_ROWS, texts=texts):
        for part in _slices(table):
            share = min(part.nbytes, total - done)  # of a compressed file less, and the last piece the rest
            done += share
            yield _make_piece(PREDICTIONS, ARROW_STREAM, _write_stream(part), query, share)


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    if not table.num_rows:
        return
    rows = max(1, table.num_rows * MAX_BYTES // max(table.nbytes, MAX_BYTES))
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


def _write_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema.remove_metadata(), options=options) as writer:
        writer.write_table(table.replace_schema_metadata())
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _make_piece(target: str, media_type: str, body: bytes, query: Mapping[str, str], share: int) -> Piece:
    piece = Piece(target, media_type, body, query, "", share)
    return replace(piece, key=_key_of(piece, body))


def _key_of(piece: Piece, body: bytes) -> str:
    whose = msgspec.json.encode((piece.target, piece.media_type, sorted(piece.query.items())))
    return "import-" + hashlib.blake2b(whose + body, digest_size=20).hexdigest()


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.name.lower().endswith(".gz") else path.open("rb")


def _place(file: IO[bytes]) -> int:
    """Give how much of the file on disk has been read."""
    return int(getattr(file, "fileobj", file).tell())

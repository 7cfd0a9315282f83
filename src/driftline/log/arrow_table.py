"""Arrow IPC and Parquet bodies as tables, never larger in memory than allowed.

A few bytes can claim, or compress, gigabytes. So what a body will take is added up before it is read: the
lengths that Arrow writes in front of each compressed buffer, and the sizes in Parquet's metadata.
"""

import struct
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from driftline.core.arrow_memory import check_size, make_safe
from driftline.core.column import is_text
from driftline.core.errors import InvalidPayload

_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2  # kinds of message
_BATCH_ROWS = 8192


def read_arrow(body: bytes, *, max_bytes: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet, Arrow stream or Arrow file (Feather) body, told by its first bytes, and validate it fully.

    Of `columns` those that the body has are read, None reads all. Raises InvalidPayload for a body of
    another kind, a damaged one, and one that would take more than `max_bytes` in memory.
    """
    try:
        if body.startswith(b"PAR1"):
            return _read_parquet(body, max_bytes, columns)
        return _read_ipc(body, max_bytes, columns)
    except InvalidPayload:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError, LookupError, struct.error) as error:
        raise InvalidPayload(f"the body is damaged: {error}", field="body") from None


def _read_ipc(body: bytes, max_bytes: int, columns: Sequence[str] | None) -> pa.Table:
    is_file = body.startswith(b"ARROW1\x00\x00")
    if not is_file and not body.startswith(b"\xff\xff\xff\xff"):
        raise InvalidPayload("the body is neither Arrow IPC nor Parquet", field="body")
    rows = size = 0
    for metadata, buffers in _messages_of_file(body) if is_file else _messages_of_stream(body):
        its_rows, its_size = measure_message(metadata, buffers)
        rows += its_rows
        size += its_size
        check_size(max(size, 4 * rows), max_bytes)  # a column of nulls is rows without bytes
    source = pa.BufferReader(body)
    with pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source) as reader:
        _check_names(reader.schema)
        table = reader.read_all()
    if columns is not None:
        there = set(table.column_names)  # which Arrow makes anew at each asking
        table = table.select([name for name in columns if name in there])
    return make_safe(table, max_bytes)


def _messages_of_stream(body: bytes) -> Iterator[tuple[bytes, memoryview]]:
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(body)):
        if message.type in ("record batch", "dictionary batch"):
            yield message.metadata.to_pybytes(), memoryview(message.body)


def _messages_of_file(body: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Give the messages that the file's footer lists: what lies at its beginning differs between writers."""
    (length,) = struct.unpack_from("<i", body, len(body) - 10)
    footer = body[len(body) - 10 - length : -10]
    for field in (2, 3):  # dictionaries, record batches
        at = _field(footer, _table(footer, 0), field)
        blocks = _table(footer, at) if at else 0
        count = struct.unpack_from("<I", footer, blocks)[0] if at else 0
        for offset, ahead, size in struct.iter_unpack("<qi4xq", footer[blocks + 4 : blocks + 4 + 24 * count]):
            start = offset + (8 if body[offset : offset + 4] == b"\xff\xff\xff\xff" else 4)
            yield body[start : offset + ahead], memoryview(body)[offset + ahead : offset + ahead + size]


def measure_message(metadata: bytes, body: memoryview) -> tuple[int, int]:
    """Read from a message's flatbuffer how many rows it has and how many bytes its buffers take uncompressed.

    Raises struct.error or ValueError for a message that is none.
    """
    message = _table(metadata, 0)
    kind = metadata[_field(metadata, message, 1)]
    batch = _table(metadata, _field(metadata, message, 2))
    if kind == _DICTIONARY_BATCH:
        batch = _table(metadata, _field(metadata, batch, 1))
    elif kind != _RECORD_BATCH:
        raise ValueError(f"a message of kind {kind}")
    length_at = _field(metadata, batch, 0)
    length = struct.unpack_from("<q", metadata, length_at)[0] if length_at else 0
    if not _field(metadata, batch, 3):  # not compressed
        return length, len(body)
    buffers = _table(metadata, _field(metadata, batch, 2))
    count = struct.unpack_from("<I", metadata, buffers)[0]
    places = struct.iter_unpack("<qq", metadata[buffers + 4 : buffers + 4 + 16 * count])
    return length, sum(_uncompressed(body, offset, size) for offset, size in places)


def _uncompressed(body: memoryview, offset: int, size: int) -> int:
    if size == 0:
        return 0
    (length,) = struct.unpack_from("<q", body, offset)
    return int(size if length < 0 else length)  # -1: this buffer was not worth compressing


def _table(metadata: bytes, at: int) -> int:
    return int(at + struct.unpack_from("<I", metadata, at)[0])


def _field(metadata: bytes, table: int, number: int) -> int:
    """Give the place of a field of a flatbuffer table, 0 when it has its default."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    (size,) = struct.unpack_from("<H", metadata, vtable)
    slot = 4 + 2 * number
    offset = struct.unpack_from("<H", metadata, vtable + slot)[0] if slot < size else 0
    return table + offset if offset else 0


def _read_parquet(body: bytes, max_bytes: int, columns: Sequence[str] | None) -> pa.Table:
    with pq.ParquetFile(pa.BufferReader(body)) as file:
        schema, metadata = file.schema_arrow, file.metadata
    _check_names(schema)
    names = schema.names if columns is None else [name for name in columns if name in schema.names]
    if nested := [name for name in names if pa.types.is_nested(schema.field(name).type)]:
        raise InvalidPayload(
            f"column {nested[0]!r}: lists in Parquet have no known size; leave it out or send Arrow",
            field=nested[0],
        )
    # the metadata of single columns is not looked at: where it is damaged, reading it ends the process
    stored = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    check_size(max(stored, metadata.num_rows * sum(_width(schema.field(name).type) for name in names)), max_bytes)
    texts = [name for name in names if is_text(schema.field(name).type)]
    batches: list[pa.RecordBatch] = []
    size = 0
    # texts stay dictionaries: one long text, a million times, is stored once and must be read so
    with pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
            size += batch.nbytes
            check_size(size, max_bytes)
            batches.append(batch)
        table = pa.Table.from_batches(batches, batches[0].schema if batches else file.schema_arrow).select(names)
    return make_safe(table, max_bytes)


def _width(kind: pa.DataType) -> int:
    return max(1, kind.bit_width // 8) if pa.types.is_primitive(kind) else 4


def _check_names(schema: pa.Schema) -> None:
    names = [field.name for field in schema]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidPayload(f"column {twice!r} is there twice; rename or drop one of the two", field=twice)

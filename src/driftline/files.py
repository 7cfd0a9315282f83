"""Files of data as Arrow tables, whole or in chunks of bounded memory: Parquet, CSV, Arrow IPC (Feather).

The format is told by the file's first bytes, then by its name. A CSV column keeps one type throughout the
file: when it changes in the middle, the whole column is read as the narrower type that holds all of it, text
at the widest, so numbers with strings among them stay readable.
"""

import gzip
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from driftline.core.arrow_memory import make_safe
from driftline.core.column import number_of_text
from driftline.core.errors import InvalidFrame, InvalidPayload

CHUNK_ROWS = 65_536
_BLOCK = 2 << 20
_WHOLE = 256 << 20  # a CSV up to that size is read at once, by all cores
_CSV_NAMES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_MAX_CHUNK = 4 << 30  # texts that a chunk shows many times, written out
_FORMATS = "Parquet, CSV (also .gz), Arrow IPC or Feather"
_BAD_VALUE = re.compile(r"In CSV column #(\d+): CSV conversion error to [^:]+: invalid value '(.*)'", re.DOTALL)
_DELIMITERS = (",", ";", "\t", "|")
_COMMA_DECIMALS, _POINT_DECIMALS = r"^\s*[+-]?\d+,\d+\s*$", r"^\s*[+-]?\d+\.\d+\s*$"
_SAMPLE_MOSTLY = 0.9
_LONG_DIGITS = r"^\s*[+-]?\d{19,}\s*$"  # more than any number here can tell apart
_SURELY_LONG = 1e18


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a CSV is written: what separates its columns, and what the decimals of its numbers."""

    delimiter: str
    decimal: str = "."


def read_chunks(
    path: str | Path,
    columns: Sequence[str] | None = None,
    rows: int = CHUNK_ROWS,
    *,
    texts: Collection[str] = (),
) -> Iterator[pa.Table]:
    """Read a file as tables of at most `rows` rows each; `columns` names those to read, None all.

    `texts` names columns that are text in a CSV as well, whatever their values look like: ids such as 007.
    The first chunk comes even when the file has no rows, so that its columns are known. Raises InvalidFrame,
    at once and not when the first chunk is asked for, for a file that is not there or not what it claims.
    """
    path = Path(path)
    with _named(path):
        kind = _format_of(path)
        chunks = _READERS[kind](path, columns, rows) if kind != "csv" else _read_csv(path, columns, rows, texts)
        first = next(chunks)
    return _rest(path, first, chunks)


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a whole file as one table; raises InvalidFrame like `read_chunks`."""
    return pa.concat_tables(list(read_chunks(path, columns)))


def _rest(path: Path, first: pa.Table, chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    with _named(path):
        yield from chunks


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in every error that reading it raises."""
    try:
        yield
    except FileNotFoundError:
        raise InvalidFrame(f"{path}: there is no such file", field="path") from None
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, InvalidPayload) as error:
        raise InvalidFrame(f"{path}: {error}", field="path") from error


def _format_of(path: Path) -> str:
    if path.is_dir():
        raise InvalidFrame(f"{path} is a directory; name one file", field="path")
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"ARROW1"):
        return "arrow"
    if start.startswith(b"\xff\xff\xff\xff"):
        return "stream"
    name = path.name.lower()
    if name.endswith(_CSV_NAMES) and not start:
        raise InvalidFrame(f"{path} is empty; it needs a line of column names", field="path")
    if name.endswith(_CSV_NAMES):
        return "csv"
    if name.endswith((".parquet", ".pq", ".arrow", ".feather", ".ipc", ".arrows")):
        raise InvalidFrame(
            f"{path} does not begin like its name says: it is damaged, or of another format "
            f"(driftline reads {_FORMATS})",
            field="path",
        )
    raise InvalidFrame(f"{path}: unknown format; driftline reads {_FORMATS}", field="path")


def _read_parquet(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        schema = _selected(path, file.schema_arrow, columns)
        names = None if columns is None else list(columns)
        yield from _safe(_regroup(file.iter_batches(batch_size=rows, columns=names), schema, rows))


def _read_arrow(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        schema = _selected(path, file.schema, columns)
        batches = (file.get_batch(i).select(schema.names) for i in range(file.num_record_batches))
        yield from _safe(_regroup(batches, schema, rows))


def _read_stream(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        schema = _selected(path, stream.schema, columns)
        yield from _safe(_regroup((batch.select(schema.names) for batch in stream), schema, rows))


def _read_csv(path: Path, columns: Sequence[str] | None, rows: int, texts: Collection[str]) -> Iterator[pa.Table]:
    dialect = _read_dialect(path)
    with _open_csv(path, dialect) as reader:
        names = _selected(path, reader.schema, columns).names
    wanted = {name: pa.string() if name in texts else None for name in names}
    if path.stat().st_size <= (_WHOLE // 8 if _is_zipped(path) else _WHOLE):
        table = pacsv.read_csv(_csv_source(path), **_csv_options(dialect, wanted))
        _check_utf8(path, table.schema)
        if codes := _long_digits(path, dialect, _huge_numbers([table])):
            types = _types_of(table.schema) | dict.fromkeys(codes, pa.string())
            table = pacsv.read_csv(_csv_source(path), **_csv_options(dialect, types))
        yield from _regroup(table.to_batches(), table.schema, rows)
        return
    types = _csv_types(path, dialect, wanted)
    with _open_csv(path, dialect, types) as reader:
        yield from _regroup(reader, reader.schema, rows)


_READERS: Mapping[str, Callable[[Path, Sequence[str] | None, int], Iterator[pa.Table]]] = {
    "parquet": _read_parquet,
    "arrow": _read_arrow,
    "stream": _read_stream,
}


def _safe(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    return (make_safe(table, max_bytes=_MAX_CHUNK) for table in tables)


def _regroup(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Cut and join batches to tables of `rows` rows, the last one of fewer."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    empty = True
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, rows)
            waiting = table.slice(rows).to_batches()
            count -= rows
            empty = False
    if count or empty:
        yield pa.Table.from_batches(waiting, schema)


def _selected(path: Path, schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    _check_unique(path, schema.names)
    if columns is None:
        return schema
    present = set(schema.names)
    if absent := [name for name in columns if name not in present]:
        raise InvalidFrame(
            f"{path} has no column {absent[0]!r}; it has {', '.join(schema.names)}", field=absent[0]
        )
    return pa.schema([schema.field(name) for name in columns])


def _check_unique(path: Path, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InvalidFrame(f"{path}: column {twice!r} is there twice; rename or drop one of the two", field=twice)


def _read_dialect(path: Path) -> _Dialect:
    """Find out how a CSV is written; decimal commas only where the comma does not separate columns."""
    delimiter = _read_delimiter(path)
    if delimiter not in (";", "\t"):
        return _Dialect(delimiter)
    with _open_csv(path, _Dialect(delimiter)) as reader:
        names = reader.schema.names
    _check_unique(path, names)
    try:
        with _open_csv(path, _Dialect(delimiter), dict.fromkeys(names, pa.string())) as reader:
            batch = next(iter(reader), None)
    except pa.ArrowInvalid:  # reading the rows says it better
        return _Dialect(delimiter)
    commas, points = (
        0 if batch is None else sum(_is_spelled(column, pattern) for column in batch.columns)
        for pattern in (_COMMA_DECIMALS, _POINT_DECIMALS)
    )
    return _Dialect(delimiter, "," if commas > points else ".")


def _is_spelled(column: pa.Array, pattern: str) -> bool:
    """Tell whether nearly all values are whole numbers or decimals of one spelling, and some of them decimals."""
    decimals = pc.sum(pc.match_substring_regex(column, pattern)).as_py() or 0
    whole = pc.sum(pc.match_substring_regex(column, r"^\s*[+-]?\d+\s*$")).as_py() or 0
    return decimals > 0 and decimals + whole >= _SAMPLE_MOSTLY * (len(column) - column.null_count)


def _huge_numbers(batches: Iterable[pa.Table | pa.RecordBatch]) -> set[str]:
    """Name the columns of numbers that may have been longer in the file than a float64 can tell apart."""
    return {
        field.name
        for batch in batches
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if pa.types.is_floating(field.type) and (pc.max(pc.abs(column)).as_py() or 0) >= _SURELY_LONG
    }


def _long_digits(path: Path, dialect: _Dialect, suspects: Collection[str]) -> list[str]:
    """Name those of some columns whose values are mostly digits too long for a number: codes, read as text."""
    if not suspects:
        return []
    long, present = Counter[str](), Counter[str]()
    with _open_csv(path, dialect, dict.fromkeys(suspects, pa.string())) as reader:
        for batch in reader:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                long[name] += pc.sum(pc.match_substring_regex(column, _LONG_DIGITS)).as_py() or 0
                present[name] += len(column) - column.null_count
    return [name for name in suspects if 2 * long[name] > present[name]]


def _types_of(schema: pa.Schema) -> dict[str, pa.DataType | None]:
    return dict(zip(schema.names, schema.types, strict=True))


def _read_delimiter(path: Path) -> str:
    """Find out what separates the column names, and that there are some."""
    with _open_bytes(path) as file:
        line = file.readline(_BLOCK)
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    if not text.strip():
        raise InvalidFrame(f"{path} has no line of column names at its top", field="path")
    delimiter = "," if "," in text else max(_DELIMITERS, key=text.count)
    if all(number_of_text(name.strip('" ')) is not None for name in text.split(delimiter)):
        raise InvalidFrame(
            f"{path}: the first line holds numbers ({text[:40]}); add a line of column names above it",
            field="path",
        )
    return delimiter


def _csv_types(
    path: Path, dialect: _Dialect, types: dict[str, pa.DataType | None]
) -> dict[str, pa.DataType | None]:
    """Find a type for each column that holds all of its values, by reading the file once or a few times."""
    while True:
        with _open_csv(path, dialect, types) as reader:
            schema = reader.schema
            try:
                huge = _huge_numbers(reader)
            except pa.ArrowInvalid as error:
                name, kind = _widened(path, dialect, schema, error)
                types = {**_types_of(schema), name: kind}
            else:
                break
    _check_utf8(path, schema)
    return _types_of(schema) | dict.fromkeys(_long_digits(path, dialect, huge), pa.string())


def _widened(path: Path, dialect: _Dialect, schema: pa.Schema, error: pa.ArrowInvalid) -> tuple[str, pa.DataType]:
    """Give the column with a value that did not fit its type, and the narrowest type that holds both."""
    if "invalid UTF8" in str(error):
        raise _not_utf8(path) from error
    match = _BAD_VALUE.search(str(error))
    if match is None:
        raise error
    field = schema.field(int(match[1]))
    cell = match[2].replace('"', '""')
    alone = pacsv.ConvertOptions(decimal_point=dialect.decimal)
    value = pacsv.read_csv(io.BytesIO(f'value\n"{cell}"\n'.encode()), convert_options=alone).schema.field(0).type
    if pa.types.is_null(field.type):
        return field.name, value
    both_numbers = pa.types.is_integer(field.type) and pa.types.is_floating(value)
    both_times = (pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)) and (
        pa.types.is_timestamp(value) and getattr(field.type, "tz", None) == value.tz
    )
    return field.name, value if both_numbers or both_times else pa.string()


def _open_csv(
    path: Path, dialect: _Dialect, types: Mapping[str, pa.DataType | None] = MappingProxyType({})
) -> pacsv.CSVStreamingReader:
    return pacsv.open_csv(_csv_source(path), **_csv_options(dialect, types))


def _csv_source(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="gzip" if _is_zipped(path) else None)


def _csv_options(dialect: _Dialect, types: Mapping[str, pa.DataType | None]) -> dict[str, Any]:
    return {
        "read_options": pacsv.ReadOptions(block_size=_BLOCK),
        "parse_options": pacsv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        "convert_options": pacsv.ConvertOptions(
            column_types={name: kind for name, kind in types.items() if kind is not None},
            include_columns=list(types),
            strings_can_be_null=True,
            decimal_point=dialect.decimal,
        ),
    }


def _open_bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if _is_zipped(path) else path.open("rb")


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _check_utf8(path: Path, schema: pa.Schema) -> None:
    if any(pa.types.is_binary(kind) for kind in schema.types):
        raise _not_utf8(path)


def _not_utf8(path: Path) -> InvalidFrame:
    return InvalidFrame(f"{path} is not UTF-8 text; save it as UTF-8", field="path")

"""The sample lake: raw samples as Parquet, on a local disk or anything else that `pyarrow.fs` reaches.

A file holds what one flush of the profiler took from one partition for one version; it counts only once it is
registered (see `store.samples`), in the transaction of its parts. Columns that are no features have reserved
names: `__prediction_id__`, `__timestamp__`, `__weight__`, `__prediction__`, `__score__`, `__entity_id__`,
`__group_id__`, `__rank__`, `__class_scores__`; the last three only where predictions have them.
"""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from driftline.core.batch import Batch
from driftline.core.columns import Columns, concatenate
from driftline.core.errors import InvalidPayload
from driftline.core.moment import from_micros
from driftline.core.schema import Schema, layout

_ID, _TIME, _WEIGHT, _ENTITY = "__prediction_id__", "__timestamp__", "__weight__", "__entity_id__"
_GROUP, _RANK, _CLASSES = "__group_id__", "__rank__", "__class_scores__"
_MAX_NAME = 128
_HEAD, _REPEATS = 256, 0.1  # numbers of which fewer repeat among the first so many rows are not compressed


@dataclass(frozen=True, slots=True)
class Lake:
    """Where sample files lie: a file system and the folder in it."""

    filesystem: pafs.FileSystem
    root: str


def open_lake(url: str) -> Lake:
    """Open a folder given as a path or as an s3://, gs://, abfs:// or file:// URL; on this machine, it is made."""
    filesystem, root = pafs.FileSystem.from_uri(url)
    lake = Lake(filesystem, root.rstrip("/"))
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(lake.root, recursive=True)
    return lake


def name_file(
    model_id: str, version: str, topic: str, partition: int, first_offset: int, time: int, *, token: str
) -> str:
    """Name a file by what it holds. The `token` is new for every attempt: no worker overwrites another's file.

    >>> name_file("fraud", "3", "prediction_samples", 0, 17, 0, token="5eed")
    'model=fraud/version=3/date=1970-01-01/prediction_samples-0-00000000000000000017-5eed.parquet'
    """
    folder = f"{name_folder(model_id, version)}/date={from_micros(time).date().isoformat()}"
    return f"{folder}/{_quote(topic)}-{partition}-{first_offset:020d}-{token}.parquet"


def name_folder(model_id: str, version: str) -> str:
    """Name the folder that holds the files of a version.

    >>> name_folder("fraud", "3")
    'model=fraud/version=3'
    """
    return f"model={_quote(model_id)}/version={_quote(version)}"


def make_token() -> str:
    """Make a token for `name_file`."""
    return secrets.token_hex(4)


def write_samples(
    lake: Lake, path: str, schema: Schema, batches: Sequence[Batch], columns: Columns | None = None
) -> int:
    """Write batches of one version to a file; gives its size in bytes.

    `columns` are those of all batches, joined, where they are at hand.
    """
    columns = columns or concatenate([batch.columns for batch in batches])
    table = _make_table(schema, batches, columns)
    full = f"{lake.root}/{path}"
    lake.filesystem.create_dir(full.rsplit("/", 1)[0], recursive=True)
    with lake.filesystem.open_output_stream(full) as stream:
        pq.write_table(
            table,
            stream,
            compression=_choose_compression(table, schema, columns),
            use_dictionary=list(layout(schema).codes),  # numbers hardly repeat: trying costs more than it saves
            write_statistics=[_TIME],
            write_page_checksum=True,
        )
        return int(stream.tell())


def _choose_compression(table: pa.Table, schema: Schema, columns: Columns) -> dict[str, str]:
    """Leave numbers alone that hardly repeat: Zstandard takes as long as writing them, and saves 8 %."""
    chosen = dict.fromkeys(table.column_names, "zstd")
    expected = layout(schema)
    for names, block in ((expected.float32, columns.float32), (expected.float64, columns.float64)):
        head = np.sort(block[:_HEAD], axis=0)
        repeats = (head[1:] == head[:-1]) | np.isnan(head[1:])
        plain = repeats.sum(axis=0) < _REPEATS * len(repeats)
        chosen |= {name: "none" for name, is_plain in zip(names, plain, strict=True) if is_plain}
    return chosen


def read_samples(lake: Lake, path: str, model_id: str, version: str, schema: Schema) -> list[Batch]:
    """Read a file back as batches, one for each sampling weight.

    Raises OSError when the lake does not give it (FileNotFoundError when it is not there), and InvalidPayload
    when it holds something else or is damaged.
    """
    with lake.filesystem.open_input_file(f"{lake.root}/{path}") as stream:
        content = stream.read_buffer()
    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
        weights = table[_WEIGHT].to_numpy()
        return [
            _read_batch(table.filter(pa.array(weights == weight)), path, model_id, version, schema, int(weight))
            for weight in np.unique(weights)
        ]
    except Exception as error:  # a damaged file makes pyarrow raise nearly anything
        raise InvalidPayload(f"not a sample file of this version: {error!r}") from error


def delete_file(lake: Lake, path: str) -> None:
    """Delete a file; it may be gone already."""
    try:
        lake.filesystem.delete_file(f"{lake.root}/{path}")
    except FileNotFoundError:
        return


def list_files(lake: Lake, *, written_before: datetime) -> Iterator[str]:
    """List files that have not been written to since a time: unregistered ones among them are orphans."""
    selector = pafs.FileSelector(lake.root, allow_not_found=True, recursive=True)
    for info in lake.filesystem.get_file_info(selector):
        if info.is_file and info.mtime is not None and info.mtime.astimezone(UTC) < written_before:
            yield info.path.removeprefix(f"{lake.root}/")


def _make_table(schema: Schema, batches: Sequence[Batch], columns: Columns) -> pa.Table:
    expected = layout(schema)
    arrays = {
        _ID: pa.array(list(chain.from_iterable(batch.ids for batch in batches)), pa.string()),
        _TIME: pa.array(np.concatenate([b.timestamps for b in batches])).cast(pa.timestamp("us", "UTC")),
        _WEIGHT: pa.array(np.concatenate([np.full(batch.rows, batch.weight, np.int64) for batch in batches])),
        _ENTITY: _join(batches, "entity_ids", pa.string()),
    }
    for name, field, kind in (
        (_GROUP, "group_ids", pa.string()),
        (_RANK, "ranks", pa.int32()),
        (_CLASSES, "class_scores", pa.list_(pa.float64())),
    ):
        if any(getattr(batch, field) is not None for batch in batches):
            arrays[name] = _join(batches, field, kind)
    fields = [pa.field(name, array.type) for name, array in arrays.items()]
    for names, block in ((expected.float32, columns.float32), (expected.float64, columns.float64)):
        by_column = np.asfortranarray(block)
        arrays |= {name: pa.array(by_column[:, i]) for i, name in enumerate(names)}
        # NaN is missing. Saying that there is no null beside it saves a level for each value.
        fields += [pa.field(name, arrays[name].type, nullable=False) for name in names]
    for c, name in enumerate(expected.codes):
        code = columns.codes[:, c].astype(np.int32)
        indices = pa.array(code, mask=code == len(columns.tables[c]))
        arrays[name] = pa.DictionaryArray.from_arrays(indices, pa.array(columns.tables[c], pa.string()))
        fields.append(pa.field(name, arrays[name].type))
    return pa.table(list(arrays.values()), pa.schema(fields))


def _join(batches: Sequence[Batch], field: str, kind: pa.DataType) -> pa.Array:
    """Join what each row of the batches has in a field; nothing where a batch does not have it."""
    rows: list[object] = []
    for batch in batches:
        own = getattr(batch, field)
        rows.extend([None] * batch.rows if own is None else own)
    return pa.array(rows, kind)


def _read_batch(table: pa.Table, path: str, model_id: str, version: str, schema: Schema, weight: int) -> Batch:
    expected = layout(schema)
    rows = table.num_rows
    codes, tables = [], []
    for name in expected.codes:
        column = table[name].combine_chunks()
        values = tuple(column.dictionary.to_pylist())
        codes.append(column.indices.fill_null(len(values)).to_numpy().astype(np.int32))
        tables.append(values)
    columns = Columns(
        _stack([table[name].to_numpy() for name in expected.float32], rows).astype(np.float32, copy=False),
        _stack([table[name].to_numpy() for name in expected.float64], rows).astype(np.float64, copy=False),
        _stack(codes, rows).astype(np.int32, copy=False),
        tuple(tables),
    )
    entities, groups, ranks, classes = (
        table[name] if name in table.column_names and table[name].null_count < rows else None
        for name in (_ENTITY, _GROUP, _RANK, _CLASSES)
    )
    return Batch(
        model_id,
        version,
        schema.schema_id,
        path,
        tuple(table[_ID].to_pylist()),
        table[_TIME].cast(pa.int64()).to_numpy(),
        columns,
        weight,
        None if entities is None else tuple(entities.to_pylist()),
        None if groups is None else tuple(groups.to_pylist()),
        None if ranks is None else ranks.fill_null(-1).to_numpy(),
        None if classes is None else _read_class_scores(classes),
    )


def _read_class_scores(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Read the scores of each class; rows without any, or with fewer, have NaN."""
    rows = [scores or () for scores in column.to_pylist()]
    scores = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in enumerate(rows):
        scores[row, : len(values)] = values
    return scores


def _quote(name: str) -> str:
    """Make a name safe as part of a path; a digest tells long ones apart.

    >>> _quote("a/b"), len(_quote("ü" * 256))
    ('a%2Fb', 137)
    """
    quoted = quote(name, safe="")
    if len(quoted) <= _MAX_NAME:
        return quoted
    return f"{quoted[:_MAX_NAME]}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def _stack(columns: Sequence[NDArray[Any]], rows: int) -> NDArray[Any]:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))

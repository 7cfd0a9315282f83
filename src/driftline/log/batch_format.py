"""The batch format: one MessagePack map per micro-batch, its numbers in packed little-endian blocks.

Writing it takes MessagePack and nothing else; reading it takes no step per value. `docs/wire.md` describes it
byte by byte.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.core.batch import Batch
from driftline.core.category import MAX_TEXT, mend_category
from driftline.core.column import compact
from driftline.core.columns import MAX_TABLE, Columns, check_columns
from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.schema import MAX_FEATURES, MAX_SEGMENTS, PREDICTION, SCORE, Layout, Schema, layout

FORMAT = 1
CONTENT_TYPE = "application/vnd.driftline.batch"

MAX_ROWS = 1_000_000
"""So many rows a batch may have. Lengths are refused before memory is taken: items may weigh a hundred bytes."""

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Ids = Annotated[list[str], msgspec.Meta(max_length=MAX_ROWS)]
_OptionalIds = Annotated[list[str | None], msgspec.Meta(max_length=MAX_ROWS)]
_Table = Annotated[list[str], msgspec.Meta(max_length=MAX_TABLE)]
_Tables = Annotated[list[_Table], msgspec.Meta(max_length=MAX_FEATURES + MAX_SEGMENTS)]
_Weight = Annotated[int, msgspec.Meta(ge=1, le=2**20)]  # squares of weights are summed in 64 bits


class _Wire(msgspec.Struct, kw_only=True):
    """The map as it travels."""

    format: int
    model_id: _Text
    version: _Text
    schema_id: _Text
    batch_id: _Text
    weight: _Weight
    ids: _Ids
    timestamps: memoryview
    prediction: memoryview | None = None
    prediction_table: _Table | None = None
    prediction_codes: memoryview | None = None
    score: memoryview | None = None
    class_scores: memoryview | None = None
    classes: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    entity_ids: _OptionalIds | None = None
    group_ids: _OptionalIds | None = None
    ranks: memoryview | None = None
    float32: memoryview
    float64: memoryview
    tables: _Tables
    codes: memoryview


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What must be known of a batch before its schema is."""

    model_id: str
    version: str
    schema_id: str
    batch_id: str
    rows: int
    weight: int


class _WireHeader(msgspec.Struct):
    format: int
    model_id: _Text
    version: _Text
    schema_id: _Text
    batch_id: _Text
    weight: _Weight
    ids: _Ids


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)
_header_decoder = msgspec.msgpack.Decoder(_WireHeader)


def encode_batch(batch: Batch, schema: Schema) -> bytes:
    """Write a batch of a schema; categories that no row uses are left out.

    Raises InvalidInput for a column with more than 65,535 categories in one batch.
    """
    plan = layout(schema)
    columns = batch.columns
    features, prediction, score = _split(plan)
    codes, tables = _used_codes(columns, plan)
    of_features = [j for j, name in enumerate(plan.codes) if name != PREDICTION]
    content: dict[str, Any] = {
        "format": FORMAT,
        "model_id": batch.model_id,
        "version": batch.version,
        "schema_id": batch.schema_id,
        "batch_id": batch.batch_id,
        "weight": batch.weight,
        "ids": batch.ids,
        "timestamps": _bytes(batch.timestamps, "<i8"),
    }
    if PREDICTION in plan.codes:
        place = plan.codes.index(PREDICTION)
        content["prediction_table"] = tables[place]
        content["prediction_codes"] = _bytes(codes[:, place], "<u2")
    else:
        content["prediction"] = _bytes(columns.float64[:, prediction], "<f8")
    content["score"] = _bytes(columns.float64[:, score], "<f8")
    if batch.class_scores is not None:
        content["class_scores"] = _bytes(batch.class_scores, "<f8")
        content["classes"] = batch.class_scores.shape[1]
    if batch.entity_ids is not None:
        content["entity_ids"] = batch.entity_ids
    if batch.group_ids is not None:
        content["group_ids"] = batch.group_ids
    if batch.ranks is not None:
        content["ranks"] = _bytes(batch.ranks, "<i4")
    content["float32"] = _bytes(columns.float32, "<f4")
    content["float64"] = _bytes(columns.float64[:, :features], "<f8")
    content["tables"] = [tables[j] for j in of_features]
    content["codes"] = _bytes(codes[:, of_features], "<u2")
    return _encoder.encode(content)


def _used_codes(columns: Columns, plan: Layout) -> tuple[NDArray[np.uint16], list[tuple[str, ...]]]:
    codes = np.empty(columns.codes.shape, "<u2")
    tables = []
    for j, name in enumerate(plan.codes):
        used, table = compact(columns.codes[:, j], columns.tables[j])
        if len(table) > MAX_TABLE:
            raise InvalidInput(
                f"column {name!r} has {len(table)} categories in one batch; send {MAX_TABLE} rows at most",
                field=name,
            )
        codes[:, j] = used
        tables.append(table)
    return codes, tables


def read_header(data: bytes | memoryview) -> BatchHeader:
    """Read whose batch it is, without a schema; raises InvalidPayload."""
    wire = _decode(_header_decoder, data)
    return BatchHeader(wire.model_id, wire.version, wire.schema_id, wire.batch_id, len(wire.ids), wire.weight)


def decode_batch(data: bytes | memoryview, schema: Schema) -> Batch:
    """Read a batch of a schema; every size and code is checked, InvalidPayload names the field at fault.

    What lies within a value is not judged here: ids and times of single rows are for `accept_rows`.
    """
    wire = _decode(_decoder, data)
    if wire.schema_id != schema.schema_id:
        raise InvalidPayload(
            f"schema_id is {wire.schema_id!r}, version {wire.version!r} has {schema.schema_id!r}; "
            "a new schema is a new version",
            field="schema_id",
        )
    plan = layout(schema)
    rows = len(wire.ids)
    columns = Columns(
        _block(wire.float32, "float32", "<f4", (rows, len(plan.float32))).copy(),
        _read_float64(wire, plan, rows),
        *_read_codes(wire, plan, rows),
    )
    check_columns(columns, plan)
    columns = _mend_tables(columns)
    return Batch(
        model_id=wire.model_id,
        version=wire.version,
        schema_id=wire.schema_id,
        batch_id=wire.batch_id,
        ids=tuple(wire.ids),
        timestamps=_block(wire.timestamps, "timestamps", "<i8", (rows,)).copy(),
        columns=columns,
        weight=wire.weight,
        entity_ids=_read_texts(wire.entity_ids, "entity_ids", rows),
        group_ids=_read_texts(wire.group_ids, "group_ids", rows),
        ranks=None if wire.ranks is None else _block(wire.ranks, "ranks", "<i4", (rows,)).copy(),
        class_scores=None
        if wire.class_scores is None
        else _block(wire.class_scores, "class_scores", "<f8", (rows, wire.classes)).copy(),
    )


def _split(plan: Layout) -> tuple[int, int, int]:
    """Give where the features end in the float64 block, and the columns of prediction (-1: none) and score."""
    score = plan.float64.index(SCORE)
    prediction = plan.float64.index(PREDICTION) if PREDICTION in plan.float64 else -1
    return (score if prediction < 0 else prediction), prediction, score


def _bytes(values: NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(values, dtype).tobytes()


def _decode(decoder: Any, data: bytes | memoryview) -> Any:
    try:
        wire = decoder.decode(data)
    except msgspec.ValidationError as error:
        field = str(error).partition("`$.")[2].partition("`")[0].partition("[")[0]
        raise InvalidPayload(f"not a batch: {error}", field=field or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        raise InvalidPayload(f"not a batch in MessagePack: {error}", field="body") from None
    if wire.format != FORMAT:
        raise InvalidPayload(
            f"batch format {wire.format} is unknown; this driftline reads {FORMAT}", field="format"
        )
    for field in ("model_id", "version", "batch_id"):
        if "\x00" in getattr(wire, field):
            raise InvalidPayload(f"{field} has a NUL character; leave it out", field=field)
    return wire


def _block(data: memoryview, field: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    kind = np.dtype(dtype)
    expected = kind.itemsize * math.prod(shape)
    if data.nbytes != expected:
        raise InvalidPayload(
            f"{field} has {data.nbytes} bytes; {' x '.join(map(str, shape))} values of {kind.name} are {expected}",
            field=field,
        )
    return np.frombuffer(data, kind).reshape(shape)


def _read_float64(wire: _Wire, plan: Layout, rows: int) -> NDArray[np.float64]:
    features, prediction, score = _split(plan)
    block = np.full((rows, len(plan.float64)), np.nan)
    block[:, :features] = _block(wire.float64, "float64", "<f8", (rows, features))
    if wire.score is not None:
        block[:, score] = _block(wire.score, "score", "<f8", (rows,))
    if wire.prediction is not None:
        if prediction < 0:
            raise InvalidPayload(
                "prediction holds numbers, but this model predicts classes; send prediction_table and "
                "prediction_codes",
                field="prediction",
            )
        block[:, prediction] = _block(wire.prediction, "prediction", "<f8", (rows,))
    return block


def _read_codes(wire: _Wire, plan: Layout, rows: int) -> tuple[NDArray[np.int32], tuple[tuple[str, ...], ...]]:
    of_features = [j for j, name in enumerate(plan.codes) if name != PREDICTION]
    if len(wire.tables) != len(of_features):
        raise InvalidPayload(
            f"{len(wire.tables)} category tables for {len(of_features)} category columns", field="tables"
        )
    block = np.zeros((rows, len(plan.codes)), np.int32)
    codes = _block(wire.codes, "codes", "<u2", (rows, len(of_features)))
    if of_features:
        block[:, of_features] = codes
    tables: list[Sequence[str]] = [()] * len(plan.codes)
    for j, of_feature in zip(of_features, wire.tables, strict=True):
        tables[j] = of_feature
    if wire.prediction_table is not None or wire.prediction_codes is not None:
        if PREDICTION not in plan.codes or wire.prediction_table is None or wire.prediction_codes is None:
            raise InvalidPayload(
                "prediction_table and prediction_codes go together, for models that predict classes; "
                "other models send prediction",
                field="prediction_codes",
            )
        place = plan.codes.index(PREDICTION)
        block[:, place] = _block(wire.prediction_codes, "prediction_codes", "<u2", (rows,))
        tables[place] = wire.prediction_table
    return block, tuple(map(tuple, tables))


def _mend_tables(columns: Columns) -> Columns:
    """Mend the texts that cannot be stored or are without end; those that become equal are one category."""
    odd = [j for j, table in enumerate(columns.tables) if _needs_mending(table)]
    if not odd:
        return columns
    codes, tables = columns.codes.copy(), list(columns.tables)
    for j in odd:
        codes[:, j], tables[j] = compact(codes[:, j], list(map(mend_category, tables[j])))
    return Columns(columns.float32, columns.float64, codes, tuple(tables))


def _needs_mending(table: Sequence[str]) -> bool:
    joined = "".join(table)  # NUL in one text would stop every statement that stores it
    return "\x00" in joined or (len(joined) > MAX_TEXT and max(map(len, table)) > MAX_TEXT)


def _read_texts(texts: list[str | None] | None, field: str, rows: int) -> tuple[str | None, ...] | None:
    if texts is not None and len(texts) != rows:
        raise InvalidPayload(f"{field} has {len(texts)} entries for {rows} rows", field=field)
    return None if texts is None else tuple(None if text is None else mend_category(text) for text in texts)

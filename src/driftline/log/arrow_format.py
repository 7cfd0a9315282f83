"""Whole frames of predictions, as Arrow IPC or Parquet, into one batch.

A frame has a column `prediction_id` (or `request_id`), the columns that the schema names for timestamp,
prediction, score and entity, and one column per feature and segment. `group_id` and `rank` may be there too.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.core.batch import Batch
from driftline.core.category import category_text, value_text
from driftline.core.column import is_text, read_categories, read_numbers
from driftline.core.errors import InvalidInput, InvalidPayload, PayloadTooLarge
from driftline.core.frame import ID_COLUMNS, pack_frame
from driftline.core.schema import Schema, layout
from driftline.core.times import micros_of_times
from driftline.log.arrow_table import read_arrow
from driftline.log.json_rows import json_row
from driftline.log.received import Problem, Received, accept_rows, read_time

ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"


def read_frame(
    body: bytes, schema: Schema, *, model_id: str, version: str, batch_id: str, latest: int, max_bytes: int
) -> Received:
    """Read an Arrow IPC or Parquet body as predictions of one version.

    `latest` is the last acceptable event time (microseconds), `max_bytes` the memory that the body may take.
    Features that are not there are missing values, and counted; columns that the schema does not know are not
    read. Raises InvalidPayload for a body that cannot be read, has no ids or no times with a zone,
    PayloadTooLarge for one that takes more memory.
    """
    plan = layout(schema)
    own = (*ID_COLUMNS, schema.timestamp, schema.entity_id, "group_id", "rank", schema.prediction, schema.score)
    names = dict.fromkeys((*own, *(feature.name for feature in schema.features), *plan.segments))
    table = read_arrow(body, max_bytes=max_bytes, columns=list(names))
    needed = table.num_rows * (4 * len(plan.float32) + 8 * len(plan.float64) + 4 * len(plan.codes))
    if needed > max_bytes:
        raise PayloadTooLarge(
            f"{table.num_rows:,} rows take {needed:,} bytes packed; send fewer rows at a time", field="body"
        )
    ids = _read_ids(table)
    times, problems = _read_times(table, schema, latest)
    try:
        packed = pack_frame(table.drop_columns([schema.timestamp]), schema, missing="null")
    except InvalidInput as error:
        raise InvalidPayload(str(error), field=error.field) from None
    batch = Batch(
        model_id=model_id,
        version=version,
        schema_id=schema.schema_id,
        batch_id=batch_id,
        ids=ids,
        timestamps=times,
        columns=packed.columns,
        entity_ids=_read_names(table, schema.entity_id),
        group_ids=_read_names(table, "group_id"),
        ranks=_read_ranks(table),
        class_scores=packed.class_scores,
    )
    received = accept_rows(batch, latest=latest, raw=lambda i: json_row(batch, schema, i), problems=problems)
    return replace(received, findings=packed.findings)


def _read_ids(table: pa.Table) -> tuple[str, ...]:
    name = next((name for name in ID_COLUMNS if name in table.column_names), None)
    if name is None:
        raise InvalidPayload("the frame has no column 'prediction_id' (or 'request_id')", field="prediction_id")
    column = table[name]
    kind = _value_type(column)
    if not is_text(kind) and not pa.types.is_integer(kind) and not pa.types.is_null(kind):
        raise InvalidPayload(f"column {name!r} holds {kind}; ids are text", field=name)
    return tuple(text or "" for text in _texts(column, value_text))


def _read_times(table: pa.Table, schema: Schema, latest: int) -> tuple[NDArray[np.int64], dict[int, Problem]]:
    name = schema.timestamp
    if name not in table.column_names:
        raise InvalidPayload(f"the frame has no column {name!r}: the time of each prediction", field=name)
    column = table[name]
    if is_text(_value_type(column)):
        times = [read_time(text, latest) for text in _texts(column, value_text)]
        problems = {i: problem for i, (_, problem) in enumerate(times) if problem is not None}
        return np.array([micros for micros, _ in times], np.int64), problems
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise InvalidPayload(
            f"column {name!r} holds {column.type}; send datetimes with a zone, such as timestamp('us', 'UTC')",
            field=name,
        )
    return micros_of_times(column), {}


def _read_names(table: pa.Table, name: str) -> tuple[str | None, ...] | None:
    return tuple(_texts(table[name], category_text)) if name in table.column_names else None


def _read_ranks(table: pa.Table) -> NDArray[np.int32] | None:
    if "rank" not in table.column_names:
        return None
    ranks = np.nan_to_num(read_numbers("rank", table["rank"])[0].astype(np.float64), nan=-1)
    return np.where((ranks >= 0) & (ranks < 2**31), ranks, -1).astype(np.int32)


def _texts(column: pa.ChunkedArray, text_of: Callable[[object], str | None]) -> list[str | None]:
    codes, table = read_categories(column, text_of)  # equal texts are one text, however many rows show it
    texts = (*table, None)
    return [texts[code] for code in codes.tolist()]


def _value_type(column: pa.ChunkedArray) -> pa.DataType:
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type

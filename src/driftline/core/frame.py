"""Frames of any library (pandas, Polars, Arrow) into a schema and into packed columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.core.class_scores import split_scores
from driftline.core.column import Column, is_number, read_categories, read_numbers
from driftline.core.columns import Columns
from driftline.core.errors import InvalidFrame
from driftline.core.finding import Finding, Problem
from driftline.core.grid import hash_values
from driftline.core.inference import Traits, choose_kind, needs_float64, observe
from driftline.core.moment import NO_TIME
from driftline.core.schema import (
    LABEL,
    PREDICTION,
    SCORE,
    Dtype,
    Feature,
    JoinKey,
    Kind,
    Schema,
    Task,
    layout,
    zone,
)
from driftline.core.source import Frame, check_present, open_frame
from driftline.core.times import read_seconds, read_times

ID_COLUMNS = ("prediction_id", "request_id")
"""Columns that name a prediction: never features."""
RANKING_COLUMNS = ("group_id", "rank")
"""Which list a row of a ranking is of, and its place there: no features of a ranking model."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A frame's rows in the layout of a schema.

    `timestamps` [n] int64, microseconds since the epoch (UTC), `NO_TIME` where a row has none; None when the
    frame has no timestamp column. `findings` counts what was not as the schema says; infinities are kept.
    `class_scores` [n, C] where the score column holds a list for each row; `__score__` is then the largest.
    """

    columns: Columns
    timestamps: NDArray[np.int64] | None
    findings: tuple[Finding, ...]
    class_scores: NDArray[np.float64] | None = None


def infer_schema(
    frame: object,
    *,
    traits: Mapping[str, Traits] | None = None,
    task: Task | None = None,
    prediction: str = "prediction",
    score: str = "score",
    timestamp: str = "timestamp",
    entity_id: str = "entity_id",
    label: str = LABEL,
    segments: Sequence[str] = (),
    time_zone: str = "UTC",
    categorical: Sequence[str] = (),
) -> Schema:
    """Infer what a model sees from a frame of its data.

    Numbers are numeric, booleans boolean, strings and categories categorical, datetimes datetime. Text of
    which at least nine tenths (but not all) are numbers is taken as numbers with junk among them, and Python
    objects when most are numbers. Numbers travel as float32 unless that would lose what tells them apart:
    integers beyond 2^24, or a range of fewer than 10,000 float32 steps. `categorical` and `segments` name
    columns that are categories whatever they look like. `task` None is inferred where the predictions say
    it: text, booleans and integers 0/1 are classes. `traits` of columns that are known from more rows than
    the frame's, such as all of a file, count in their place. Raises InvalidFrame for columns that cannot be
    monitored.

    >>> schema = infer_schema(pa.table({"amount": [1.5, 2.0], "country": ["DE", "FR"]}))
    >>> [(feature.name, str(feature.kind)) for feature in schema.features]
    [('amount', 'numeric'), ('country', 'categorical')]
    """
    source = open_frame(frame)
    named = (*segments, *categorical)
    check_present(source, named)
    own = {prediction, score, timestamp, entity_id, label, *ID_COLUMNS} - set(named)
    own |= set(RANKING_COLUMNS if task is Task.RANKING else ()) - set(named)
    known = traits or {}
    features = tuple(
        _infer_feature(name, known.get(name) or observe(name, source.column(name)), forced=name in named)
        for name in source.names
        if name not in own and not name.startswith("__index_level_")  # pandas' index in a Parquet file
    )
    if task is None and prediction in source.names:
        column = source.column(prediction)
        task = _infer_task(column, choose_kind(known.get(prediction) or observe(prediction, column)))
    return Schema(
        features,
        task,
        tuple(segments),
        time_zone=time_zone,
        prediction=prediction,
        score=score,
        timestamp=timestamp,
        entity_id=entity_id,
        label=label,
    )


def pack_frame(frame: object, schema: Schema, *, missing: Literal["error", "null"] = "error") -> Packed:
    """Pack a frame's rows in the layout of a schema.

    Columns that are no numbers, times or categories where the schema expects them never stop it: what cannot
    be read becomes missing and is counted in the findings. A feature or segment column that is not there is
    an InvalidFrame, or with `missing="null"` all missing and counted. The prediction, score and timestamp
    columns may be absent. The float blocks are row-major or column-major, as suits the frame.

    >>> schema = infer_schema(pa.table({"amount": [1.5, 2.0]}))
    >>> packed = pack_frame(pa.table({"amount": ["7", "broken"]}), schema)
    >>> packed.columns.float32.tolist()
    [[7.0], [nan]]
    >>> [str(finding) for finding in packed.findings][0]
    "column 'amount': 1 values are no numbers and became missing"
    """
    plan = layout(schema)
    features = tuple(feature.name for feature in schema.features) + plan.segments
    frame, class_scores = split_scores(frame, schema.score)
    source = open_frame(frame, (*features, schema.prediction, schema.score, schema.timestamp, schema.entity_id))
    if missing == "error":
        check_present(source, features)
    findings: list[Finding] = []
    columns = Columns(
        _pack_numbers(source, schema, plan.float32, np.dtype(np.float32), findings),
        _pack_numbers(source, schema, plan.float64, np.dtype(np.float64), findings),
        *_pack_categories(source, schema, plan.codes, findings),
        _hash_entities(source, schema),
    )
    return Packed(columns, _read_timestamps(source, schema, findings), tuple(findings), class_scores)


def _pack_numbers(
    source: Frame, schema: Schema, names: Sequence[str], dtype: np.dtype[Any], findings: list[Finding]
) -> NDArray[Any]:
    in_frame = [_name_in_frame(name, schema) for name in names]
    runs = source.runs(in_frame)
    by_row = any(run.values.strides[1] < run.values.strides[0] for run in runs if run.stop - run.start > 1)
    block: NDArray[Any] = np.empty((source.rows, len(names)), dtype, order="C" if by_row else "F")
    kinds = {feature.name: feature.kind for feature in schema.features}
    rest = np.ones(len(names), bool)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite, and counted as such
        for run in runs:
            block[:, run.start : run.stop] = run.values
            rest[run.start : run.stop] = False
        for j in np.flatnonzero(rest).tolist():
            block[:, j] = _read_numeric(source, schema, names[j], kinds.get(names[j]), findings)
    return block


def _read_numeric(
    source: Frame, schema: Schema, name: str, kind: Kind | None, findings: list[Finding]
) -> NDArray[Any] | float:
    column = _read(source, schema, name, findings)
    if column is None:
        return np.nan
    if kind is Kind.DATETIME:
        values, found = read_seconds(name, column, zone(schema))
    else:
        values, found = read_numbers(name, column, boolean=kind is Kind.BOOLEAN)
    findings.extend(found)
    return values


def _pack_categories(
    source: Frame, schema: Schema, names: Sequence[str], findings: list[Finding]
) -> tuple[NDArray[np.int32], tuple[tuple[str, ...], ...]]:
    codes = np.zeros((source.rows, len(names)), np.int32, order="F")
    tables: list[tuple[str, ...]] = [()] * len(names)
    for j, name in enumerate(names):
        column = _read(source, schema, name, findings)
        if column is not None:
            codes[:, j], tables[j] = read_categories(column)
    return codes, tuple(tables)


def _read(source: Frame, schema: Schema, name: str, findings: list[Finding]) -> Column | None:
    column_name = _name_in_frame(name, schema)
    if column_name in source.names:
        return source.column(column_name)
    if name not in (PREDICTION, SCORE):  # the model's output may be absent, a feature may not
        findings.append(Finding(name, Problem.MISSING_COLUMN, source.rows))
    return None


def _name_in_frame(name: str, schema: Schema) -> str:
    return {PREDICTION: schema.prediction, SCORE: schema.score}.get(name, name)


def _hash_entities(source: Frame, schema: Schema) -> NDArray[np.uint64] | None:
    """Hash what the rows are about, where labels come by entity; 0 where a row does not say."""
    if schema.join_key is not JoinKey.ENTITY_ID or schema.entity_id not in source.names:
        return None
    codes, table = read_categories(source.column(schema.entity_id))
    return np.append(hash_values(table), np.uint64(0))[codes]


def _read_timestamps(source: Frame, schema: Schema, findings: list[Finding]) -> NDArray[np.int64] | None:
    if schema.timestamp not in source.names:
        return None
    column = source.column(schema.timestamp)
    if isinstance(column, np.ndarray) and column.dtype != object:
        numbers = True
    else:
        numbers = isinstance(column, pa.ChunkedArray) and is_number(column.type)
    if numbers:
        raise InvalidFrame(
            f"column {schema.timestamp!r} holds numbers of unknown unit, not datetimes; convert it, "
            "e.g. with pandas.to_datetime(…, unit='s'), or name another timestamp column",
            field=schema.timestamp,
        )
    times, _ = read_times(schema.timestamp, column, zone(schema))
    if lost := int((times == NO_TIME).sum()):
        findings.append(Finding(schema.timestamp, Problem.NO_TIMESTAMP, lost))
    return times


def _infer_feature(name: str, traits: Traits, *, forced: bool) -> Feature:
    kind = Kind.CATEGORICAL if forced else choose_kind(traits)
    if kind is Kind.NUMERIC and needs_float64(traits):
        return Feature(name, kind, Dtype.FLOAT64)
    return Feature(name, kind)


def _infer_task(column: Column, kind: Kind) -> Task | None:
    if isinstance(column, np.ndarray) and column.dtype.kind == "f":
        return None
    if isinstance(column, pa.ChunkedArray) and pa.types.is_floating(column.type):
        return None
    if kind is Kind.DATETIME:
        return None
    _, table = read_categories(column)
    if kind is Kind.NUMERIC:
        return Task.BINARY if table and set(table) <= {"0", "1"} else None
    return Task.BINARY if len(table) <= 2 else Task.MULTICLASS

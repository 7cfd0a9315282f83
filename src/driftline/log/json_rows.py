"""Rows of JSON into packed columns, column by column, and back.

A row is kept whenever it can be placed. What is odd within it is counted: values of the wrong type become
missing, names that the schema does not know are left out.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from driftline.core.batch import Batch
from driftline.core.category import category_text, mend_category, mend_text
from driftline.core.column import compact
from driftline.core.columns import Columns
from driftline.core.errors import InvalidPayload
from driftline.core.finding import Finding, Problem, found
from driftline.core.moment import NO_TIME, from_micros, micros_of_text
from driftline.core.schema import PREDICTION, SCORE, Kind, Schema, layout, zone
from driftline.log.json_body import write_json
from driftline.log.json_format import FIELDS, Submission
from driftline.log.plain_rows import PlainFeatures, tuples_of
from driftline.log.received import LATEST, Reason, Received, Rejected, id_problem, read_time

_NOT_FINITE = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
_MAX_CLASSES = 10_000
_MAX_FINDINGS = 100

_Features: TypeAlias = Any
"""Features of a row: a mapping, or PlainFeatures, which either all rows have or none."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """The rows that can be placed, with their ids and times, and the others."""

    rows: list[Mapping[str, Any]]
    ids: list[str]
    times: list[int]
    rejected: list[Rejected]


def pack_predictions(submission: Submission, schema: Schema, *, batch_id: str, latest: int) -> Received:
    """Pack a version's rows in the layout of its schema.

    `latest` is the last acceptable event time (microseconds). Numbers are numbers, or the texts NaN, Infinity
    and -Infinity; other text where a number is expected becomes missing and is counted, as do numbers too
    large for a float64. Datetimes are ISO 8601 text or seconds since the epoch.
    """
    placed = _place(submission, schema, latest)
    if not placed.rows:
        return Received(None, tuple(placed.rejected))
    findings: list[Finding] = _unknown_fields(placed.rows, schema)
    columns, class_scores = _pack_columns(placed.rows, schema, findings)
    batch = Batch(
        model_id=submission.model_id,
        version=submission.version,
        schema_id=schema.schema_id,
        batch_id=batch_id,
        ids=tuple(placed.ids),
        timestamps=np.array(placed.times, np.int64),
        columns=columns,
        entity_ids=_read_names("entity_id", placed.rows, findings),
        group_ids=_read_names("group_id", placed.rows, findings),
        ranks=_read_ranks(placed.rows, findings),
        class_scores=class_scores,
    )
    return Received(batch, tuple(placed.rejected), tuple(findings))


def json_row(batch: Batch, schema: Schema, row: int) -> bytes:
    """Write one row of a batch as a JSON prediction, as it could be sent again."""
    plan = layout(schema)
    columns = batch.columns
    values: dict[str, Any] = dict(zip(plan.float32, columns.float32[row].tolist(), strict=True))
    values |= dict(zip(plan.float64, columns.float64[row].tolist(), strict=True))
    for j, name in enumerate(plan.codes):
        values[name] = (*columns.tables[j], None)[columns.codes[row, j]]
    values = {name: _json_value(value) for name, value in values.items()}
    micros = int(batch.timestamps[row])
    content = {
        "model_id": batch.model_id,
        "version": batch.version,
        "prediction_id": batch.ids[row],
        "timestamp": from_micros(micros).isoformat() if 0 <= micros < LATEST else micros,
        "entity_id": None if batch.entity_ids is None else batch.entity_ids[row],
        "group_id": None if batch.group_ids is None else batch.group_ids[row],
        "rank": None if batch.ranks is None or batch.ranks[row] < 0 else int(batch.ranks[row]),
        "features": {feature.name: values[feature.name] for feature in schema.features},
        "segments": {name: values[name] for name in plan.segments},
        "prediction": values[PREDICTION],
        "score": values[SCORE]
        if batch.class_scores is None
        else [_json_value(score) for score in batch.class_scores[row].tolist()],
    }
    return write_json({key: value for key, value in content.items() if value is not None and value != {}})


def _json_value(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _place(submission: Submission, schema: Schema, latest: int) -> _Placed:
    placed = _Placed([], [], [], [])
    for index, row in zip(submission.indexes, submission.rows, strict=True):
        prediction_id = _read_id(row)
        micros, problem = read_time(row.get("timestamp"), latest)
        problem = id_problem(prediction_id) or problem or _features_problem(row.get("features"), schema)
        if problem is None:
            placed.rows.append(row)
            placed.ids.append(prediction_id)
            placed.times.append(micros)
        else:
            placed.rejected.append(Rejected(index, prediction_id or None, *problem, write_json(row)))
    return placed


def _read_id(row: Mapping[str, Any]) -> str:
    given = row.get("prediction_id")
    if given is None:
        given = row.get("request_id")
    if isinstance(given, str):
        return given if given.isascii() else mend_text(given)
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else ""


def _features_problem(features: object, schema: Schema) -> tuple[Reason, str] | None:
    if isinstance(features, dict | PlainFeatures) or (features is None and not schema.features):
        return None
    return Reason.BAD_FEATURES, 'features must be an object of names and values: {"amount": 12.5, …}'


def _unknown_fields(rows: Sequence[Mapping[str, Any]], schema: Schema) -> list[Finding]:
    known = {feature.name for feature in schema.features}
    unknown: Counter[str] = Counter()
    for row in rows:
        if not row.keys() <= FIELDS:
            unknown.update(row.keys() - FIELDS)
        features = row.get("features") or {}
        if not isinstance(features, PlainFeatures) and not features.keys() <= known:
            unknown.update(features.keys() - known)
    return [Finding(name, Problem.UNKNOWN_FEATURE, count) for name, count in unknown.most_common(_MAX_FINDINGS)]


def _pack_columns(
    rows: list[Mapping[str, Any]], schema: Schema, findings: list[Finding]
) -> tuple[Columns, NDArray[np.float64] | None]:
    plan = layout(schema)
    features = [row.get("features") or {} for row in rows]
    segments = [_segments_of(row) for row in rows]
    datetimes = {feature.name for feature in schema.features if feature.kind is Kind.DATETIME}
    named = tuple(name for name in plan.float64 if name not in (PREDICTION, SCORE))
    float64 = np.empty((len(rows), len(plan.float64)))
    for j, (name, column) in enumerate(zip(named, _columns(features, named), strict=True)):
        if name in datetimes:
            float64[:, j] = _read_datetimes(name, column, zone(schema), findings)
        else:
            float64[:, j] = _read_numbers(name, column, findings)
    predictions = [row.get("prediction") for row in rows]
    if PREDICTION in plan.float64:
        float64[:, plan.float64.index(PREDICTION)] = _read_numbers(PREDICTION, predictions, findings)
    float64[:, plan.float64.index(SCORE)], class_scores = _read_scores(rows, findings)
    of_features = tuple(name for name in plan.categories if name != PREDICTION)
    categories = dict(zip(of_features, _columns(features, of_features), strict=True))
    categories |= {name: [its.get(name) for its in segments] for name in plan.segments}
    categories[PREDICTION] = predictions
    coded = [_read_categories(name, categories[name], findings) for name in plan.codes]
    codes = np.stack([codes for codes, _ in coded], axis=1) if coded else np.empty((len(rows), 0), np.int32)
    float32 = _read_block(plan.float32, features, findings)
    return Columns(float32, float64, codes, tuple(table for _, table in coded)), class_scores


def _segments_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    segments = row.get("segments")
    return segments if isinstance(segments, dict) else {}


def _tuples(features: Sequence[_Features], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Give each row's values in the order of the names, None where a row has none."""
    if isinstance(features[0], PlainFeatures):
        return tuples_of(features, names)
    if len(names) > 1:
        try:
            return list(map(itemgetter(*names), features))
        except KeyError:  # a row without one of them
            pass
    return [tuple(map(its.get, names)) for its in features]


def _columns(features: Sequence[_Features], names: Sequence[str]) -> Iterable[Sequence[Any]]:
    return zip(*_tuples(features, names), strict=True) if names else ()


def _read_block(
    names: Sequence[str], features: Sequence[_Features], findings: list[Finding]
) -> NDArray[np.float32]:
    """Read the float32 features, all at once where every value is a number or null."""
    if not names:
        return np.empty((len(features), 0), np.float32)
    values = _tuples(features, names)
    with np.errstate(over="ignore"):
        try:
            return _pack_numbers(values, len(names)).astype(np.float32)
        except (struct.error, OverflowError):  # no number, or an integer beyond float64
            pass
        block = np.empty((len(features), len(names)), np.float32)
        for j, (name, column) in enumerate(zip(names, zip(*values, strict=True), strict=True)):
            block[:, j] = _read_numbers(name, column, findings)
    return block


def _pack_numbers(rows: Iterable[Sequence[Any]], width: int) -> NDArray[np.float64]:
    """Pack rows of numbers and null: `struct` takes half as long as NumPy, and refuses what is neither."""
    pack = struct.Struct(f"{width}d").pack
    packed = []
    for row in rows:
        try:
            packed.append(pack(*row))
        except struct.error:
            packed.append(pack(*(np.nan if value is None else value for value in row)))
    return np.frombuffer(b"".join(packed)).reshape(-1, width)


def _read_numbers(name: str, column: Sequence[Any], findings: list[Finding]) -> NDArray[np.float64]:
    numbers = [_number(value) for value in column]
    findings += found(name, Problem.NOT_A_NUMBER, sum(number is None for number in numbers))
    return np.array(numbers, np.float64)


def _number(value: Any) -> float | None:
    """Read one value, null as NaN; None when it is no number."""
    if value is None:
        return np.nan
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    if not isinstance(value, float | int):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _read_datetimes(
    name: str, column: Sequence[Any], its_zone: ZoneInfo, findings: list[Finding]
) -> NDArray[np.float64]:
    seconds = [_seconds(value, its_zone) for value in column]
    findings += found(name, Problem.NOT_A_DATETIME, sum(moment is None for moment in seconds))
    return np.array(seconds, np.float64)


def _seconds(value: Any, its_zone: ZoneInfo) -> float | None:
    if not isinstance(value, str):
        return None if isinstance(value, bool) else _number(value)
    micros = micros_of_text(value, its_zone)
    return None if micros == NO_TIME else micros / 1e6


def _read_scores(
    rows: Sequence[Mapping[str, Any]], findings: list[Finding]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Read scores: one number a row, or one per class, of which `__score__` is the largest."""
    scores = [row.get("score") for row in rows]
    classes = max((len(score) for score in scores if isinstance(score, list)), default=0)
    if not classes:
        return _read_numbers(SCORE, scores, findings), None
    if classes > _MAX_CLASSES:
        raise InvalidPayload(f"score has {classes} values; send at most {_MAX_CLASSES} classes", field="score")
    missing = [None] * classes
    lists = [score if isinstance(score, list) and len(score) == classes else missing for score in scores]
    of_classes = _read_numbers(SCORE, list(chain.from_iterable(lists)), findings).reshape(len(rows), classes)
    alone = [score if its is missing else None for score, its in zip(scores, lists, strict=True)]
    largest = np.fmax.reduce(of_classes, axis=1)
    return np.fmax(largest, _read_numbers(SCORE, alone, findings)), of_classes


def _read_categories(
    name: str, column: Sequence[Any], findings: list[Finding]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    if not set(map(type, column)) <= {str, type(None)}:
        nested = sum(isinstance(value, dict | list) for value in column)
        findings += found(name, Problem.NOT_A_CATEGORY, nested)
        column = [None if isinstance(value, dict | list) else category_text(value) for value in column]
    table = [text for text in dict.fromkeys(column) if text is not None]
    places: dict[str | None, int] = {text: place for place, text in enumerate(table)}
    places[None] = len(table)
    codes = np.fromiter(map(places.__getitem__, column), np.int32, len(column))
    return compact(codes, [mend_category(text) for text in table])


def _read_names(
    field: str, rows: Sequence[Mapping[str, Any]], findings: list[Finding]
) -> tuple[str | None, ...] | None:
    """Read ids of entities or groups, numbers as text; None when no row has one."""
    values = [row.get(field) for row in rows]
    if all(value is None for value in values):
        return None
    codes, table = _read_categories(field, values, findings)
    return tuple((*table, None)[code] for code in codes.tolist())


def _read_ranks(rows: Sequence[Mapping[str, Any]], findings: list[Finding]) -> NDArray[np.int32] | None:
    """Read ranks; -1 where a row has none, None when no row has one."""
    values = [row.get("rank") for row in rows]
    if all(value is None for value in values):
        return None
    usable = [isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 for value in values]
    wrong = sum(value is not None and not fits for value, fits in zip(values, usable, strict=True))
    findings += found("rank", Problem.NOT_A_NUMBER, wrong)
    return np.array([value if fits else -1 for value, fits in zip(values, usable, strict=True)], np.int32)

"""Labels as JSON and NDJSON: from bytes to columns; each label that cannot be used is refused alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np

from driftline.core.category import category_text, mend_text
from driftline.core.labels import Labels, Value
from driftline.core.moment import NO_TIME
from driftline.core.schema import JoinKey
from driftline.log.json_body import JSON, Shape, name_problem, read_body, write_json
from driftline.log.received import MAX_ID, Problem, Reason, Rejected, read_time

MAX_TEXT = 1024
_SHAPE = Shape("labels", "value", '{"model_id": …, "labels": […]}')
_FIELDS = {JoinKey.PREDICTION_ID: ("prediction_id", "request_id"), JoinKey.ENTITY_ID: ("entity_id",)}
_INTEGERS = range(-(2**63), 2**64)


@dataclass(frozen=True, slots=True)
class LabelSubmission:
    """Labels of one model, as sent; `indexes` are their positions in the body."""

    model_id: str
    rows: Sequence[Mapping[str, Any]]
    indexes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Joining:
    """How labels of a model are read: the join keys of its versions, and whether it predicts numbers."""

    keys: frozenset[JoinKey]
    numeric: bool


@dataclass(frozen=True, slots=True)
class ReceivedLabels:
    """The labels that can be used, apart by kind of key, and the others."""

    labels: tuple[Labels, ...]
    rejected: tuple[Rejected, ...]


_Row: TypeAlias = tuple[str, Value, int, int, float]


class _Unusable(Exception):
    """A label cannot be used."""

    def __init__(self, reason_code: Reason, reason: str) -> None:
        self.problem: Problem = (reason_code, reason)


def read_labels(
    body: bytes, content_type: str = JSON, *, model_id: str | None = None
) -> tuple[list[LabelSubmission], list[Rejected]]:
    """Read a JSON or NDJSON body: labels by model, in the order of first appearance.

    `model_id` holds for labels that do not name their own. Raises InvalidPayload, TooManyRows.

    >>> body = b'{"model_id": "fraud", "labels": [{"prediction_id": "a", "value": 1}, 7]}'
    >>> (submission,), (rejected,) = read_labels(body)
    >>> submission.model_id, len(submission.rows), rejected.index, str(rejected.reason_code)
    ('fraud', 1, 1, 'not_an_object')
    """
    read = read_body(body, content_type, _SHAPE)
    model_id = read.beside.get("model_id", model_id)
    rejected = list(read.rejected)
    of_model: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for index, row in read.rows:
        problem = _problem_of_row(row, model_id)
        if problem is None:
            of_model.setdefault(row.get("model_id", model_id), []).append((index, row))
        else:
            rejected.append(Rejected(index, key_of(row), *problem, write_json(row)))
    submissions = [
        LabelSubmission(name, [row for _, row in its], [index for index, _ in its])
        for name, its in of_model.items()
    ]
    return submissions, sorted(rejected, key=lambda row: row.index)


def pack_labels(
    submission: LabelSubmission, joining: Joining, *, received_at: int | Sequence[int], latest: int
) -> ReceivedLabels:
    """Pack the labels of a model.

    Those that do not say since when they are known are known since `received_at`, of all or of each; `latest` is
    the last acceptable time (all in microseconds).
    """
    packed: dict[JoinKey, list[_Row]] = {}
    rejected = []
    moments = repeat(received_at, len(submission.rows)) if isinstance(received_at, int) else received_at
    for index, row, moment in zip(submission.indexes, submission.rows, moments, strict=True):
        try:
            kind, key = _read_key(row, joining)
            read = (
                key,
                _read_value(row, joining),
                _read_moment(row, "timestamp", NO_TIME, latest),
                _read_moment(row, "known_at", moment, latest),
                _read_weight(row),
            )
        except _Unusable as error:
            named = write_json({"model_id": submission.model_id, **row})
            rejected.append(Rejected(index, key_of(row), *error.problem, named))
        else:
            packed.setdefault(kind, []).append(read)
    labels = tuple(_to_columns(submission.model_id, kind, rows) for kind, rows in packed.items())
    return ReceivedLabels(labels, tuple(rejected))


def key_of(row: object) -> str | None:
    """Give the key that a label names, whatever it is worth, to find it again among refused ones."""
    if not isinstance(row, dict):
        return None
    given = (row.get(field) for fields in _FIELDS.values() for field in fields)
    return next((str(value)[:MAX_ID] for value in given if value is not None), None)


def _problem_of_row(row: Any, model_id: str | None) -> Problem | None:
    if not isinstance(row, dict):
        return Reason.NOT_AN_OBJECT, "a label must be an object"
    named = row.get("model_id", model_id)
    if not isinstance(named, str) or not named:
        return Reason.NO_MODEL, name_problem("model_id", "the name of a model", named)
    return None


def _to_columns(model_id: str, kind: JoinKey, rows: Sequence[_Row]) -> Labels:
    keys, values, timestamps, known_at, weights = zip(*rows, strict=True)
    return Labels(
        model_id,
        kind is JoinKey.ENTITY_ID,
        keys,
        values,
        np.array(timestamps, np.int64),
        np.array(known_at, np.int64),
        np.array(weights, np.float64),
    )


def _read_key(row: Mapping[str, Any], joining: Joining) -> tuple[JoinKey, str]:
    for kind, fields in _FIELDS.items():
        given = next((value for field in fields if (value := row.get(field)) is not None), None)
        if given is not None and kind in joining.keys:
            return kind, _read_id(given, kind)
    wanted = " or ".join(sorted(joining.keys))
    if any(row.get(field) is not None for fields in _FIELDS.values() for field in fields):
        raise _Unusable(Reason.OTHER_KEY, f"labels of this model are joined by {wanted}; send that")
    raise _Unusable(Reason.NO_KEY, f"{wanted} is missing; say which prediction the label is for")


def _read_id(given: object, kind: JoinKey) -> str:
    if isinstance(given, str):
        text = given if given.isascii() else mend_text(given)
    elif isinstance(given, int | float) and (kind is JoinKey.ENTITY_ID or type(given) is int):
        text = category_text(given) or ""
    else:
        text = ""
    if not 1 <= len(text) <= MAX_ID or "\x00" in text:
        raise _Unusable(Reason.BAD_KEY, f"{kind} must be a text of 1 to {MAX_ID} characters without NUL")
    return text


def _read_value(row: Mapping[str, Any], joining: Joining) -> Value:
    if "value" not in row:
        raise _Unusable(Reason.NO_VALUE, "value is missing; send what came true, or null to withdraw the label")
    value = row["value"]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if joining.numeric:
            raise _Unusable(Reason.BAD_VALUE, f"value is text, but the model predicts numbers: {_shown(value)}")
        if len(value) > MAX_TEXT:
            raise _Unusable(Reason.BAD_VALUE, f"value has {len(value)} characters; a class has at most {MAX_TEXT}")
        return mend_text(value)
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise _Unusable(Reason.BAD_VALUE, "value is an integer of more than 64 bits; send it as a float")
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise _Unusable(
        Reason.BAD_VALUE,
        f"value {_shown(value)} is no class and no number; send null to withdraw a label",
    )


def _read_moment(row: Mapping[str, Any], field: str, default: int, latest: int) -> int:
    given = row.get(field)
    if given is None:
        return default
    micros, problem = read_time(given, latest, field=field)
    if problem is not None:
        raise _Unusable(*problem)
    return micros


def _read_weight(row: Mapping[str, Any]) -> float:
    given = row.get("weight")
    if given is None:
        return 1.0
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= 1e12:
        return float(given)
    raise _Unusable(Reason.BAD_WEIGHT, f"weight {_shown(given)} is no positive number; leave it out for 1")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

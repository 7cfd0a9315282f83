"""Predictions as JSON and as NDJSON: from bytes to rows, sorted by model version.

`prediction.schema.json` is the format's JSON Schema. Packing the rows needs the version's schema and is in
`json_rows`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from driftline.log.json_body import JSON, Shape, name_problem, read_body, write_json
from driftline.log.received import Reason, Rejected

FIELDS = frozenset(
    {
        "model_id",
        "version",
        "prediction_id",
        "request_id",
        "timestamp",
        "entity_id",
        "group_id",
        "rank",
        "features",
        "segments",
        "prediction",
        "score",
    }
)
"""The fields of one prediction; others are counted and left out."""

_SHAPE = Shape("predictions", "features", '{"model_id": …, "version": …, "predictions": […]}')


@dataclass(frozen=True, slots=True)
class Submission:
    """Rows for one model version, as sent; `indexes` are their positions in the body."""

    model_id: str
    version: str
    rows: Sequence[Mapping[str, Any]]
    indexes: Sequence[int]


def prediction_schema() -> dict[str, Any]:
    """Load the JSON Schema (draft 2020-12) of what can be sent.

    >>> prediction_schema()["$schema"]
    'https://json-schema.org/draft/2020-12/schema'
    """
    content: dict[str, Any] = json.loads(files("driftline.log").joinpath("prediction.schema.json").read_bytes())
    return content


def read_predictions(
    body: bytes, content_type: str = JSON, *, model_id: str | None = None, version: str | None = None
) -> tuple[list[Submission], list[Rejected]]:
    """Read a JSON or NDJSON body: rows by model version, in the order of first appearance.

    `model_id` and `version` hold for rows that do not name their own. Rows that are no objects or name no
    model are rejected; a body that is no JSON at all is an InvalidPayload (of NDJSON, only its bad lines are
    rejected), one of more than 200,000 rows TooManyRows. NaN and Infinity are read as Python writes them,
    though they are no JSON.

    >>> body = b'{"model_id": "fraud", "version": "3", "predictions": [{"prediction_id": "a"}, 7]}'
    >>> (submission,), (rejected,) = read_predictions(body)
    >>> submission.version, len(submission.rows), rejected.index, str(rejected.reason_code)
    ('3', 1, 1, 'not_an_object')
    """
    read = read_body(body, content_type, _SHAPE)
    model_id, version = read.beside.get("model_id", model_id), read.beside.get("version", version)
    rejected = list(read.rejected)
    of_version: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
    for index, row in read.rows:
        problem = _problem_of_row(row, model_id, version)
        if problem is None:
            key = (row.get("model_id", model_id), str(row.get("version", version)))
            of_version.setdefault(key, []).append((index, row))
        else:
            rejected.append(Rejected(index, _id_of(row), *problem, write_json(row)))
    submissions = [
        Submission(*key, rows=[row for _, row in its], indexes=[index for index, _ in its])
        for key, its in of_version.items()
    ]
    return submissions, sorted(rejected, key=lambda row: row.index)


def _problem_of_row(row: Any, model_id: str | None, version: str | None) -> tuple[Reason, str] | None:
    if not isinstance(row, dict):
        return Reason.NOT_AN_OBJECT, "a prediction must be an object"
    named = row.get("model_id", model_id)
    if not isinstance(named, str) or not named:
        return Reason.NO_MODEL, name_problem("model_id", "the name of a model", named)
    numbered = row.get("version", version)
    if isinstance(numbered, bool) or not isinstance(numbered, str | int) or numbered == "":
        return Reason.NO_MODEL, name_problem("version", "the model's version", numbered)
    return None


def _id_of(row: Any) -> str | None:
    text = row.get("prediction_id", row.get("request_id")) if isinstance(row, dict) else None
    return text if isinstance(text, str) else None

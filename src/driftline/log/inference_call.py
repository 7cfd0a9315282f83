"""What a model server was asked and what it answered, as rows: KServe v1, Open Inference Protocol v2, Seldon.

A row of a request is features by name, a row of a response a prediction and what score it has.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from driftline.core.errors import InvalidPayload
from driftline.core.schema import Kind, Schema
from driftline.log.json_body import read_json

_PREDICTIONS = ("predict", "prediction", "predictions", "label", "class")
_SCORES = ("predict_proba", "probabilities", "probability", "scores", "score")


class CallFailed(InvalidPayload):
    """The server answered with an error."""


def read_inputs(payload: bytes, schema: Schema) -> list[dict[str, Any]]:
    """Read the rows of a request: features by name. Raises InvalidPayload.

    >>> from driftline.core.schema import Feature
    >>> schema = Schema((Feature("x", Kind.NUMERIC), Feature("y", Kind.NUMERIC)))
    >>> read_inputs(b'{"instances": [[1, 2], {"y": 4}]}', schema)
    [{'x': 1, 'y': 2}, {'y': 4}]
    """
    content = _read_object(payload)
    names = [feature.name for feature in schema.features]
    if isinstance(instances := content.get("instances"), list):
        return [_name_values(instance, names) for instance in instances]
    if isinstance(inputs := content.get("inputs"), list):
        return _name_tensors([_read_tensor(tensor) for tensor in inputs], names)
    if isinstance(data := content.get("data"), dict):
        said = _read_names(data) or names
        return [_name_values(row, said) for row in _read_seldon(data)]
    raise InvalidPayload(
        "the request has neither instances (KServe v1) nor inputs (v2) nor data (Seldon)", field="data"
    )


def read_outputs(payload: bytes, schema: Schema) -> list[dict[str, Any]]:
    """Read the rows of a response: `prediction` and `score`. Raises InvalidPayload, CallFailed.

    Several numbers in a row are scores of classes; the prediction is then the class with the largest.

    >>> read_outputs(b'{"predictions": [1, 0]}', Schema((), "binary"))
    [{'prediction': 1}, {'prediction': 0}]
    >>> read_outputs(b'{"data": {"names": ["ham", "spam"], "ndarray": [[0.25, 0.75]]}}', Schema((), "binary"))
    [{'prediction': 'spam', 'score': [0.25, 0.75]}]
    """
    content = _read_object(payload)
    _check_success(content)
    if isinstance(predictions := content.get("predictions"), list):
        return [_read_output(row, schema, ()) for row in predictions]
    if isinstance(outputs := content.get("outputs"), list):
        return _join_outputs(dict(_read_tensor(tensor) for tensor in outputs), schema)
    if isinstance(data := content.get("data"), dict):
        return [_read_output(row, schema, _read_names(data)) for row in _read_seldon(data)]
    raise InvalidPayload(
        "the response has neither predictions (KServe v1) nor outputs (v2) nor data (Seldon)", field="data"
    )


def _read_object(payload: bytes) -> dict[str, Any]:
    content = read_json(payload)
    if not isinstance(content, dict):
        raise InvalidPayload("the payload is no JSON object", field="data")
    return content


def _check_success(content: Mapping[str, Any]) -> None:
    status = content.get("status")
    failed = isinstance(status, dict) and status.get("status") == "FAILURE"
    if failed or "error" in content:
        why = content.get("error", status)
        raise CallFailed(f"the server answered with an error: {str(why)[:200]}", field="error")


def _read_names(data: Mapping[str, Any]) -> list[str]:
    names = data.get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _name_values(row: Any, names: Sequence[str]) -> dict[str, Any]:
    """Name the values of a row that has them in the order of the schema."""
    if isinstance(row, dict):
        return row
    values = row if isinstance(row, list) else [row]
    if len(values) != len(names):
        raise InvalidPayload(
            f"a row has {len(values)} values for {len(names)} features; send them in the order of the schema, or "
            "by name",
            field="data",
        )
    return dict(zip(names, values, strict=True))


def _read_tensor(tensor: Any) -> tuple[str, list[list[Any]]]:
    """Read a tensor of v2: its name, and a list of values for each row."""
    if not isinstance(tensor, dict) or not isinstance(name := tensor.get("name"), str):
        raise InvalidPayload("a tensor has no name", field="data")
    return name, _cut(tensor.get("data"), tensor.get("shape"), name)


def _read_seldon(data: Mapping[str, Any]) -> list[Any]:
    if isinstance(rows := data.get("ndarray"), list):
        return rows
    if isinstance(tensor := data.get("tensor"), dict):
        return _cut(tensor.get("values"), tensor.get("shape"), "tensor")
    raise InvalidPayload("data has neither ndarray nor tensor, which are what is read", field="data")


def _cut(data: Any, shape: Any, name: str) -> list[list[Any]]:
    """Cut the data of a tensor, flat or nested, into rows."""
    sizes = shape if isinstance(shape, list) and shape else []
    if not sizes or not all(type(size) is int and size >= 0 for size in sizes) or not isinstance(data, list):
        raise InvalidPayload(f"tensor {name[:40]!r} needs a shape and its data in JSON", field="data")
    values = _flatten(data)
    rows, width = sizes[0], math.prod(sizes[1:])
    if len(values) != rows * width:
        raise InvalidPayload(f"tensor {name[:40]!r} has {len(values)} values for the shape {sizes}", field="data")
    return [values[start * width : (start + 1) * width] for start in range(rows)]


def _flatten(values: list[Any]) -> list[Any]:
    while values and all(isinstance(value, list) for value in values):
        values = [value for row in values for value in row]
    return values


def _name_tensors(tensors: Sequence[tuple[str, list[list[Any]]]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Make rows of tensors: one tensor a column, or one tensor of all columns in the order of the schema."""
    if len(tensors) == 1 and tensors[0][0] not in names:
        return [_name_values(row, names) for row in tensors[0][1]]
    rows = {len(its) for _, its in tensors}
    if len(rows) != 1 or any(len(row) != 1 for _, its in tensors for row in its):
        raise InvalidPayload(
            "the inputs are no columns of equal length; send one input a feature, by its name, or one of all",
            field="data",
        )
    columns = [[row[0] for row in its] for _, its in tensors]
    said = [name for name, _ in tensors]
    return [dict(zip(said, values, strict=True)) for values in zip(*columns, strict=True)]


def _join_outputs(outputs: Mapping[str, list[list[Any]]], schema: Schema) -> list[dict[str, Any]]:
    """Take prediction and score from the outputs that are named so; of a single one it does not matter."""
    predictions = next((outputs[name] for name in _PREDICTIONS if name in outputs), None)
    scores = next((outputs[name] for name in _SCORES if name in outputs), None)
    if predictions is None and scores is None and len(outputs) == 1:
        (predictions,) = outputs.values()
    if predictions is None:
        if scores is None:
            raise InvalidPayload(
                f"no output is named {_PREDICTIONS[0]} or {_SCORES[0]}; there are {', '.join(outputs)[:200]}",
                field="data",
            )
        return [_read_output(row, schema, ()) for row in scores]
    rows = [_read_output(row, schema, ()) for row in predictions]
    if scores is None:
        return rows
    if len(scores) != len(rows):
        raise InvalidPayload(f"{len(rows)} predictions have {len(scores)} scores", field="data")
    return [row | {"score": its[0] if len(its) == 1 else its} for row, its in zip(rows, scores, strict=True)]


def _read_output(row: Any, schema: Schema, names: Sequence[str]) -> dict[str, Any]:
    """Read one answer: a prediction, scores of classes, or an object that names them."""
    if isinstance(row, dict):
        return {name: row[name] for name in ("prediction", "score") if name in row}
    values = _flatten(row) if isinstance(row, list) else [row]
    if len(values) == 1:
        return {"prediction": values[0]}
    if schema.prediction_kind is not Kind.CATEGORICAL:
        raise InvalidPayload(f"an answer has {len(values)} values where one number is predicted", field="data")
    if not all(isinstance(value, int | float) for value in values) or not values:
        raise InvalidPayload("an answer of several values must be scores of classes, in numbers", field="data")
    largest = max(range(len(values)), key=values.__getitem__)
    named = len(names) == len(values) and not all(name.startswith("t:") for name in names)
    return {"prediction": names[largest] if named else largest, "score": values}

"""A kept prediction: a snapshot, taken in the caller's thread, of what is encoded later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import time_ns
from typing import Any, TypeAlias

from driftline.core.category import mend_text
from driftline.core.moment import NO_TIME, to_micros

Features: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""Values by name, or in the order of the schema."""

_MAX_ID = 1024
_LATEST = 253_402_300_800_000_000  # the year 10000


class InvalidRow(ValueError):
    """A prediction or label cannot be used; `kind` is one word for warning once of each kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class Row:
    """One kept prediction. `micros` is its time; `weight` is N when one in N was kept.

    A row that is not `settled` was kept before the server told N and the join key.
    """

    prediction_id: str
    micros: int
    features: Features
    prediction: Any
    score: Any
    entity_id: Any
    group_id: Any
    rank: Any
    segments: Mapping[str, Any] | None
    weight: int = 1
    settled: bool = True


def snapshot(features: Any) -> Features:
    """Copy the features, so that it does not matter what the caller does to them next.

    Taken are dicts, sequences, one-dimensional arrays (or two-dimensional ones of one row) and pandas Series.
    Raises InvalidRow for anything else.
    """
    kind = type(features)
    if kind is dict:
        return features.copy()  # type: ignore[no-any-return]
    if kind is list or kind is tuple or features is None:
        return tuple(features or ())
    if hasattr(features, "tolist") and not hasattr(features, "keys"):
        return _copy_array(features)
    if hasattr(features, "to_dict") and getattr(features, "ndim", 1) == 1:  # a pandas Series: names and values
        features = features.to_dict()
    if isinstance(features, Mapping):
        return dict(features)
    if isinstance(features, Sequence) and not isinstance(features, str | bytes):
        return tuple(features)
    raise InvalidRow(
        "features",
        f"features is a {kind.__name__}; give a dict of names and values, or a row of values in the order of "
        "the schema (log_batch takes frames)",
    )


def _copy_array(array: Any) -> Features:
    if array.ndim == 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 1:
        shape = tuple(array.shape)
        raise InvalidRow("features", f"features is of shape {shape}; log takes one row, log_batch many")
    # NumPy's scalars know their precision: 0.1 as float32 is the category "0.1"
    return array.copy() if hasattr(array, "astype") else array.tolist()  # type: ignore[no-any-return]


def plain_output(value: Any) -> Any:
    """Give a prediction as one value: models return arrays of one element, too."""
    if hasattr(value, "ndim") and value.ndim and value.size == 1:
        return value.reshape(-1)[0]
    if isinstance(value, list | tuple) and len(value) == 1:
        return value[0]
    return value


def plain_score(value: Any) -> Any:
    """Give a score as a number, or as a list with one per class."""
    if value is None or isinstance(value, float):
        return value
    if hasattr(value, "ndim") and value.ndim:
        return plain_score(value.reshape(-1).tolist())
    if isinstance(value, list | tuple):
        return value[0] if len(value) == 1 else list(value)
    return value


def id_text(value: object) -> str:
    """Give a prediction id as text; texts, integers and UUIDs are ids. Raises InvalidRow."""
    if not isinstance(value, str):
        if isinstance(value, bool | bytes | float) or value is None:
            raise InvalidRow("prediction_id", f"prediction_id is {value!r}; give a text, an integer or a UUID")
        value = str(value)
    return mend_text(value) if not value.isascii() else value


def check_id(text: str) -> str:
    """Give an id unless the server would refuse it. Raises InvalidRow."""
    if not text or len(text) > _MAX_ID or "\x00" in text:
        raise InvalidRow("prediction_id", f"prediction_id must have 1 to {_MAX_ID:,} characters and no NUL")
    return text


def micros_of(timestamp: Any) -> int:
    """Read an event time: a datetime or ISO 8601 text with a zone, or seconds since the epoch; None is now.

    Raises InvalidRow.

    >>> micros_of(1.5), micros_of("1970-01-01T01:00:00+01:00")
    (1500000, 0)
    """
    if timestamp is None:
        return time_ns() // 1000
    try:
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
        if not isinstance(moment, datetime):
            micros = round(float(moment) * 1e6)
        else:
            micros = NO_TIME if moment.tzinfo is None else to_micros(moment)
    except (TypeError, ValueError, OverflowError):
        micros = NO_TIME
    if not 0 <= micros < _LATEST:
        raise InvalidRow(
            "timestamp",
            f"timestamp is {timestamp!r}; give a datetime of 1970 or later with a zone, e.g. datetime.now(UTC), "
            "ISO 8601 text with a zone, or seconds since 1970",
        )
    return micros

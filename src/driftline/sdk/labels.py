"""Ground truth on its way: one line of JSON a label, as `POST /labels` and the topic take it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from driftline.core.category import category_text
from driftline.core.moment import from_micros
from driftline.core.sampling import keep
from driftline.sdk.rows import InvalidRow


@dataclass(frozen=True, slots=True)
class Label:
    """What turned out to be true of a prediction, named by its id or its entity's.

    `by_entity` tells by which it is joined; times are microseconds since the epoch.
    """

    prediction_id: str | None
    entity_id: str | None
    value: float | int | bool | str | None
    micros: int | None
    weight: float | None
    known_at: int | None

    def join_key(self, *, by_entity: bool) -> str | None:
        """Give the key by which the label meets its prediction, and by which it is sampled."""
        return self.entity_id if by_entity else self.prediction_id


def plain_value(value: Any) -> float | int | bool | str | None:
    """Give a label's value as JSON can hold it; None takes a label back. Raises InvalidRow.

    >>> plain_value(1), plain_value("spam"), plain_value(None)
    (1, 'spam', None)
    """
    if hasattr(value, "ndim") and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRow("label", f"a label is {value}; give a finite number, or None to take a label back")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict | list | tuple | set | bytes):
        raise InvalidRow("label", f"a label's value is a {type(value).__name__}; give a class, a number or None")
    return category_text(value)


def check_weight(weight: Any) -> float:
    """Give a label's weight. Raises InvalidRow."""
    try:
        number = float(weight)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise InvalidRow("label-weight", f"a label's weight is {weight!r}; give a number above 0, or leave it out")
    return number


def select_labels(labels: Iterable[Label], label_n: int, *, by_entity: bool) -> list[Label]:
    """Select the labels whose predictions may have been kept."""
    return [
        label for label in labels if (key := label.join_key(by_entity=by_entity)) is None or keep(key, label_n)
    ]


def encode_labels(labels: Sequence[Label], model_id: str, *, by_entity: bool) -> bytes:
    """Write labels as NDJSON, each naming its model and, where it has both ids, the one that it is joined by."""
    return b"".join(msgspec.json.encode(_line(label, model_id, by_entity=by_entity)) + b"\n" for label in labels)


def _line(label: Label, model_id: str, *, by_entity: bool) -> dict[str, Any]:
    has_both = label.prediction_id is not None and label.entity_id is not None
    content = {
        "model_id": model_id,
        "prediction_id": None if has_both and by_entity else label.prediction_id,
        "entity_id": None if has_both and not by_entity else label.entity_id,
        "timestamp": None if label.micros is None else from_micros(label.micros).isoformat(),
        "weight": label.weight,
        "known_at": None if label.known_at is None else from_micros(label.known_at).isoformat(),
    }
    return {key: value for key, value in content.items() if value is not None} | {"value": label.value}

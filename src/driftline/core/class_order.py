"""The order of classes: which one is negative and which positive, and whose each column of scores is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftline.core.joining import name_class
from driftline.core.schema import Task


def order_classes(
    known: Sequence[str], task: Task, positive: str | None = None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Give the classes in their order, and for each code of a known one [k + 1] its position; NaN for none (-1).

    Classes are sorted as scikit-learn does, numbers by value. A binary model's are the negative and the positive
    one: that which is named, else the last; all others are negative.

    >>> order_classes(["10", "9"], Task.MULTICLASS)
    (('9', '10'), array([ 1.,  0., nan]))
    >>> order_classes(["fraud", "good"], Task.BINARY, "fraud")
    (('good', 'fraud'), array([ 1.,  0., nan]))
    """
    ordered = sorted(known, key=_sorting)
    if task is Task.MULTICLASS:
        place = {name: float(position) for position, name in enumerate(ordered)}
        return tuple(ordered), np.array([*(place[name] for name in known), np.nan])
    if set(ordered) <= {"0", "1"}:
        ordered = ["0", "1"]
    chosen = name_class(positive, task) or ordered[-1]
    others = [name for name in ordered if name != chosen]
    negative = others[0] if len(others) == 1 else f"not {chosen}"
    return (negative, chosen), np.array([*(float(name == chosen) for name in known), np.nan])


def _sorting(name: str) -> tuple[bool, float, str]:
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name

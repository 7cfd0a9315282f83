"""The classes of a model: which there may be, which is negative and which positive, whose each score is."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from driftline.core.joining import name_class
from driftline.core.schema import Task

MAX_CLASSES = 1_000
"""A model has at most so many."""
_BITS = {"0", "1"}


def order_classes(
    known: Sequence[str], task: Task, positive: str | None = None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Give the classes in their order, and for each code of a known one [k + 1] its position; NaN for none (-1).

    Classes are sorted as scikit-learn does, numbers by value. A binary model's are the negative and the positive
    one: that which is named, else 1 where 0 and 1 are among them, else the last; all others are negative.

    >>> order_classes(["10", "9"], Task.MULTICLASS)
    (('9', '10'), array([ 1.,  0., nan]))
    >>> order_classes(["fraud", "good"], Task.BINARY, "fraud")
    (('good', 'fraud'), array([ 1.,  0., nan]))
    """
    ordered = sorted(known, key=_sorting)
    if task is Task.MULTICLASS:
        place = {name: float(position) for position, name in enumerate(ordered)}
        return tuple(ordered), np.array([*(place[name] for name in known), np.nan])
    ordered = sorted(complete_classes(ordered), key=_sorting)
    chosen = name_class(positive, task) or ("1" if set(ordered) >= _BITS else ordered[-1])
    others = [name for name in ordered if name != chosen]
    negative = others[0] if len(others) == 1 else f"not {chosen}"
    return (negative, chosen), np.array([*(float(name == chosen) for name in known), np.nan])


def complete_classes(known: Collection[str]) -> set[str]:
    """Give the classes of a binary model of which some are known: who has one of 0 and 1, or none, has both.

    >>> sorted(complete_classes({"1"})), complete_classes({"good"})
    (['0', '1'], {'good'})
    """
    return set(_BITS if _BITS.issuperset(known) else known)


def accept_classes(names: Sequence[str], known: Collection[str]) -> list[str]:
    """Give those of the names that are classes of a binary model, of which some are known: two in all.

    Names come first as they stand, but 0 and 1 before all others; who has one of them has the other.

    >>> accept_classes(["unknown", "0"], {"1"}), accept_classes(["fraud", "unknown"], {"good"})
    (['0'], ['fraud'])
    """
    classes, accepted = complete_classes(known) if known else set(), []
    for name in sorted(names, key=lambda name: name not in _BITS):
        if name in classes or len(classes) < 2:
            classes = complete_classes({*classes, name})
            accepted.append(name)
    return accepted


def _sorting(name: str) -> tuple[bool, float, str]:
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name

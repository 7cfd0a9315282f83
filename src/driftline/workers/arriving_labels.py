"""Labels that arrive at the joiner: from what was sent to codes and numbers by key."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.join_keys import make_keys
from driftline.core.joining import Values, join_values, name_class
from driftline.core.labels import Labels, Value
from driftline.core.moment import NO_TIME
from driftline.core.window import in_calendar
from driftline.store.joined_models import JoinedModel
from driftline.workers.label_classes import code_labels


@dataclass(frozen=True, slots=True)
class ArrivingLabels:
    """n labels in the order of the log, all columns [n]; `imported` is the place of the import in some list.

    `label_at` is NO_TIME for labels by id; an entity's label is of its newest prediction up to then, `dated` when
    the label says so itself.
    """

    model_no: NDArray[np.int32]
    key: NDArray[np.bytes_]
    label: Values
    label_at: NDArray[np.int64]
    dated: NDArray[np.bool_]
    imported: NDArray[np.int32]

    @property
    def rows(self) -> int:
        """Number of labels."""
        return len(self.model_no)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "ArrivingLabels":
        """Select by position or mask."""
        return ArrivingLabels(
            self.model_no[rows],
            self.key[rows],
            self.label.take(rows),
            self.label_at[rows],
            self.dated[rows],
            self.imported[rows],
        )


@dataclass(frozen=True, slots=True)
class Unusable:
    """Labels that cannot be used: their positions [k], and why."""

    rows: NDArray[np.intp]
    reason: str


def arrange_labels(
    conn: Connection, model: JoinedModel, labels: Labels, imported: int
) -> tuple[ArrivingLabels, list[Unusable]]:
    """Make columns of the labels of a model whose lock is held; gives also which of them cannot be used."""
    rows = labels.rows
    dated = labels.timestamps != NO_TIME
    moment = np.where(dated, labels.timestamps, labels.known_at) if labels.by_entity else np.full(rows, NO_TIME)
    sound = np.isfinite(labels.weights) & (labels.weights > 0) & in_calendar(labels.known_at)
    if labels.by_entity:
        sound &= in_calendar(moment)
    if model.predicts_classes:
        values, readable, reason = _code_values(conn, model, labels.values, sound)
    else:
        values, readable = _read_numbers(labels.values)
        reason = "no finite number; correct it, then send it again"
    arranged = ArrivingLabels(
        np.full(rows, model.model_no, np.int32),
        make_keys(labels.keys, by_entity=labels.by_entity),
        Values(values, labels.weights, labels.known_at),
        moment,
        dated & labels.by_entity,
        np.full(rows, imported, np.int32),
    )
    usable = sound & readable
    if usable.all():
        return arranged, []
    faults = (
        (~sound, "a weight or a time that is none; correct it, then send it again"),
        (sound & ~readable, reason),
    )
    return arranged.take(usable), [Unusable(np.flatnonzero(each), why) for each, why in faults if each.any()]


def _code_values(
    conn: Connection, model: JoinedModel, values: Sequence[Value], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], str]:
    """Give the codes of classes of chosen labels, NaN withdraws; which are classes, and why others are none.

    Of a thousand labels only some classes are looked at.
    """
    marked = list(zip(map(type, values), values, strict=True))  # True is not 1
    named = {mark: name_class(mark[1], model.task) for mark in dict.fromkeys(compress(marked, chosen.tolist()))}
    names = list(dict.fromkeys(name for name in named.values() if name is not None))
    codes, reason = code_labels(conn, model, names)
    code_of = {mark: math.nan if name is None else float(codes.get(name, -1)) for mark, name in named.items()}
    coded = np.fromiter((code_of.get(mark, -1.0) for mark in marked), np.float64, len(values))
    return coded, coded != -1, reason


def _read_numbers(values: Sequence[Value]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give numbers; NaN withdraws. Texts cannot be used, nor what is not finite."""
    texts = np.array([isinstance(value, str) for value in values], np.bool_)
    withdrawn = np.array([value is None for value in values], np.bool_)
    numbers = np.array(
        [math.nan if value is None or isinstance(value, str) else float(value) for value in values], np.float64
    )
    return numbers, withdrawn | (~texts & np.isfinite(numbers))


def join_labels(parts: Sequence[ArrivingLabels]) -> ArrivingLabels:
    """Put labels behind one another."""
    return ArrivingLabels(
        np.concatenate([part.model_no for part in parts]),
        np.concatenate([part.key for part in parts]),
        join_values(*(part.label for part in parts)),
        np.concatenate([part.label_at for part in parts]),
        np.concatenate([part.dated for part in parts]),
        np.concatenate([part.imported for part in parts]),
    )

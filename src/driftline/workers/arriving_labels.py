"""Labels that arrive at the joiner: from what was sent to codes and numbers by key."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.join_keys import make_keys
from driftline.core.joining import Values, join_values, name_class
from driftline.core.labels import Labels, Value
from driftline.core.moment import NO_TIME
from driftline.core.window import in_calendar
from driftline.store.joined_models import JoinedModel, code_classes


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


def arrange_labels(
    conn: Connection, model: JoinedModel, labels: Labels, imported: int
) -> tuple[ArrivingLabels, NDArray[np.intp]]:
    """Make columns of the labels of a model whose lock is held; gives also which of them [k] cannot be used."""
    if model.predicts_classes:
        values, usable = _code_values(conn, model, labels.values)
    else:
        values, usable = _read_numbers(labels.values)
    rows = labels.rows
    dated = labels.timestamps != NO_TIME
    moment = np.where(dated, labels.timestamps, labels.known_at) if labels.by_entity else np.full(rows, NO_TIME)
    usable &= np.isfinite(labels.weights) & (labels.weights > 0) & in_calendar(labels.known_at)
    if labels.by_entity:
        usable &= in_calendar(moment)
    arranged = ArrivingLabels(
        np.full(rows, model.model_no, np.int32),
        make_keys(labels.keys, by_entity=labels.by_entity),
        Values(values, labels.weights, labels.known_at),
        moment,
        dated & labels.by_entity,
        np.full(rows, imported, np.int32),
    )
    if usable.all():
        return arranged, np.empty(0, np.intp)
    return arranged.take(usable), np.flatnonzero(~usable)


def _code_values(
    conn: Connection, model: JoinedModel, values: Sequence[Value]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give the codes of classes; NaN withdraws. Of a thousand labels only some classes are looked at."""
    marked = list(zip(map(type, values), values, strict=True))  # True is not 1
    named = {mark: name_class(mark[1], model.task) for mark in dict.fromkeys(marked)}
    codes = code_classes(conn, model.model_no, {name for name in named.values() if name is not None})
    code_of = {mark: math.nan if name is None else float(codes[name]) for mark, name in named.items()}
    return np.fromiter((code_of[mark] for mark in marked), np.float64, len(values)), np.ones(len(values), np.bool_)


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

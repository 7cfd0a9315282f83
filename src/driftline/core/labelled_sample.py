"""A sample of the labelled rows of a reference of any size, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.class_order import MAX_CLASSES
from driftline.core.errors import InvalidFrame
from driftline.core.finding import Problem
from driftline.core.labelled import LabelledRows
from driftline.core.moment import NO_TIME
from driftline.core.outcomes import find_pairs
from driftline.core.reservoir import Reservoir
from driftline.core.schema import Schema, Task
from driftline.core.segment import SegmentColumn, place_values

MAX_SCORES = 20_000_000
"""So many scores are kept at most: of models of many classes, of fewer rows."""


@dataclass(frozen=True, slots=True)
class LabelledSample:
    """n rows that have a label and, but for rankings, a prediction.

    `truth` and `prediction` [n] are numbers, or codes of `classes`; `scores` [n] are NaN, and `timestamps` [n]
    NO_TIME, where there is none. `places` [n, S] are positions in the `keys` of each segment column. `groups` [n]
    are hashes of entities or lists, different for rows that name none. `class_scores` [n, C] are there where the
    model gives a score for each class. `classes` come in the order of their
    appearance; `labels` and `predictions` are those that came as such.
    """

    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    scores: NDArray[np.float64]
    timestamps: NDArray[np.int64]
    places: NDArray[np.int8]
    groups: NDArray[np.int64] | None = None
    class_scores: NDArray[np.float64] | None = None
    classes: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()
    predictions: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.truth)

    def take(self, rows: NDArray[np.bool_]) -> "LabelledSample":
        """Select rows by a mask."""
        chosen: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            chosen[field.name] = value[rows] if isinstance(value, np.ndarray) else value
        return LabelledSample(**chosen)


def sample_labelled(
    parts: Iterable[LabelledRows], schema: Schema, segments: Sequence[SegmentColumn], rng: Generator, most: int
) -> LabelledSample:
    """Choose at most so many rows, each as likely as any other; of rankings whole lists.

    With many scores a row they are fewer. Raises InvalidFrame when there are more than 1,000 classes, when rows
    have scores of different numbers of classes, or when none of the labels is a number where they should be.
    """
    checked = _check_parts(parts, schema)
    first = list(islice(checked, 1))
    classes, before = _Classes(schema), 0
    reservoir = Reservoir(_limit_rows(most, first), rng)
    for part in chain(first, checked):
        columns = _select_pairs(part, schema, segments, before)
        before += len(part.truth)
        if part.classes:
            columns["truth"] = classes.code(part.classes, columns["truth"], classes.labels)
            columns["prediction"] = classes.code(part.classes, columns["prediction"], classes.predictions)
        reservoir.add(columns, columns.get("groups") if schema.task is Task.RANKING else None)
    return LabelledSample(
        **(reservoir.take() or _NOTHING),
        classes=tuple(classes.codes),
        labels=frozenset(classes.labels),
        predictions=frozenset(classes.predictions),
    )


_NOTHING: dict[str, NDArray[Any]] = {
    **dict.fromkeys(("truth", "prediction", "scores"), np.empty(0)),
    "timestamps": np.empty(0, np.int64),
    "places": np.empty((0, 0), np.int8),
}


def _check_parts(parts: Iterable[LabelledRows], schema: Schema) -> Iterator[LabelledRows]:
    labels, unread, widths = 0, 0, set[int]()
    for part in parts:
        labels += int((~np.isnan(part.truth)).sum())
        unread += sum(found.count for found in part.findings if found.problem is Problem.NOT_A_NUMBER)
        widths.add(_width_of(part))
        if len(widths) > 1:
            raise InvalidFrame(
                f"column {schema.score!r}: some rows have scores for {min(widths)} classes, others for "
                f"{max(widths)}; give a score for each class everywhere",
                field=schema.score,
            )
        yield part
    if unread and not labels:
        raise InvalidFrame(
            f"column {schema.label!r} holds no numbers, as a model with the task {schema.task} predicts; name "
            "another label, or say what the task is",
            field=schema.label,
        )


def _width_of(part: LabelledRows) -> int:
    return 1 if part.class_scores is None else part.class_scores.shape[1]


def _limit_rows(most: int, first: Sequence[LabelledRows]) -> int:
    return min(most, MAX_SCORES // max([1, *map(_width_of, first)]))


def _select_pairs(
    part: LabelledRows, schema: Schema, segments: Sequence[SegmentColumn], before: int
) -> dict[str, NDArray[Any]]:
    """Give the columns of rows that can be measured; `before` this part there were so many rows."""
    usable = find_pairs(schema.task, part.truth, part.prediction, None)
    columns: dict[str, NDArray[Any]] = {
        "truth": part.truth,
        "prediction": part.prediction,
        "scores": part.scores,
        "timestamps": np.full(len(usable), NO_TIME) if part.timestamps is None else part.timestamps,
        "places": _find_places(part, segments),
    }
    if part.class_scores is not None:
        columns["class_scores"] = part.class_scores
    if part.groups is not None:
        alone = part.groups == 0
        columns["groups"] = np.where(alone, -1 - before - np.arange(len(alone)), part.groups)
        if schema.task is Task.RANKING:  # a row of no list cannot be ranked
            usable &= ~alone
    return {name: column[usable] for name, column in columns.items()}


def _find_places(part: LabelledRows, segments: Sequence[SegmentColumn]) -> NDArray[np.int8]:
    places = np.empty(part.segments.shape, np.int8)
    for column, (segment, table) in enumerate(zip(segments, part.tables, strict=True)):
        places[:, column] = place_values(segment, table)[part.segments[:, column]]
    return places


class _Classes:
    """Gives the classes of all parts one list of codes, and notes which of them are labels and predictions."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.codes: dict[str, int] = {}
        self.labels: set[str] = set()
        self.predictions: set[str] = set()

    def code(self, names: tuple[str, ...], codes: NDArray[np.float64], seen: set[str]) -> NDArray[np.float64]:
        """Translate codes of a part's classes."""
        places = codes.astype(np.intp)
        own = np.unique(places)
        code_of = np.zeros(len(names))
        for place in own.tolist():
            code_of[place] = self.codes.setdefault(names[place], len(self.codes))
        seen.update(names[place] for place in own.tolist())
        if len(self.codes) > MAX_CLASSES:
            label, prediction = self._schema.label, self._schema.prediction
            raise InvalidFrame(
                f"columns {label!r} and {prediction!r} have more than {MAX_CLASSES:,} classes; if they are "
                "numbers, say that the task is regression, else name another label",
                field=label,
            )
        return code_of[places]

"""The baseline: how well a model did on its reference, and what that tells of windows without labels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.bands import MIN_ROWS, Bands, measure_bands
from driftline.core.class_order import order_classes
from driftline.core.errors import InvalidFrame, InvalidInput
from driftline.core.estimate import Estimator, fit_estimator
from driftline.core.joining import name_class
from driftline.core.labelled import LabelledRows
from driftline.core.labelled_sample import LabelledSample, sample_labelled
from driftline.core.outcomes import Outcomes, find_pairs
from driftline.core.performance import Performance, measure_performance
from driftline.core.schema import Schema, Task, zone
from driftline.core.segment import EVERYTHING, SegmentColumn
from driftline.core.window import assign_windows, in_calendar

MAX_ROWS = 500_000
"""So many labelled rows of a reference are used, chosen uniformly."""
MAX_WINDOWS = 200
"""Of so many windows of the reference its bands are made."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The performance of a model on its reference, by segment (`EVERYTHING` is the whole), and what it teaches.

    `classes` of a binary model are the negative and the positive one; `positive_class` is that which was asked
    for, if any. `estimator` tells performance from predictions and scores alone, `bands` how much it varies
    between windows of the reference.
    """

    classes: tuple[str, ...]
    positive_class: str | None
    performances: Mapping[str, Performance]
    estimator: Estimator
    bands: Bands


def build_baseline(
    rows: Iterable[LabelledRows],
    schema: Schema,
    segments: Sequence[SegmentColumn],
    *,
    window_length: int,
    window_rows: int,
    positive_class: str | None,
    rng: Generator,
    most: int = MAX_ROWS,
) -> Baseline | None:
    """Measure a model on the labelled rows of its reference, which come in parts; at most `most` of them are used.

    None when no row has a label and what is measured by it. `segments` are the reference's; windows are
    `window_length` (µs) long and bring about `window_rows` rows, where the timestamps do not tell otherwise.
    Raises InvalidFrame for labels that are no classes of such a model, InvalidInput for a `positive_class` that
    is none of them.
    """
    task = schema.task
    if positive_class is not None and task is not Task.BINARY:
        raise InvalidInput(
            f"a model with the task {task} has no positive class; leave positive_class out", field="positive_class"
        )
    sample = sample_labelled(rows, schema, segments, rng, most)
    if task is None or not sample.rows:
        return None
    _check_classes(schema, sample, positive_class)
    sample, outcomes = _make_outcomes(sample, task, positive_class)
    estimator = fit_estimator(task, outcomes, rng)
    return Baseline(
        outcomes.classes,
        positive_class,
        {
            key: measure_performance(task, outcomes.take(chosen))
            for key, chosen in _split_segments(sample, segments)
        },
        estimator,
        _measure_bands(estimator, outcomes, sample.timestamps, schema, window_length, window_rows, rng),
    )


def _check_classes(schema: Schema, sample: LabelledSample, positive_class: str | None) -> None:
    """Refuse labels that cannot be compared with the predictions."""
    labels, predictions = sample.labels, sample.predictions
    if not labels & predictions and len(labels | predictions) > 2:
        raise InvalidFrame(
            f"the labels in column {schema.label!r} are {_listed(labels)}, the predictions in column "
            f"{schema.prediction!r} are {_listed(predictions)}; write both alike, or name another label",
            field=schema.label,
        )
    if schema.task is not Task.BINARY:
        return
    known = labels | predictions
    if positive_class is not None and len(known) > 1 and name_class(positive_class, schema.task) not in known:
        raise InvalidInput(
            f"positive_class {positive_class!r} is none of the classes {_listed(known)}; name one of them",
            field="positive_class",
        )
    if positive_class is None and len(known) > 2:
        raise InvalidFrame(
            f"columns {schema.label!r} and {schema.prediction!r} have {len(known)} classes, {_listed(known)}, but "
            "the task is binary; say which one is positive with positive_class, or that the task is multiclass",
            field=schema.label,
        )


def _listed(classes: frozenset[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in sorted(classes)[:5])
    return f"{shown} …" if len(classes) > 5 else shown


def _make_outcomes(
    sample: LabelledSample, task: Task, positive_class: str | None
) -> tuple[LabelledSample, Outcomes]:
    """Give the rows that can be measured, and their outcomes."""
    classes: tuple[str, ...] = ()
    truth, prediction = sample.truth, sample.prediction
    if task in (Task.BINARY, Task.MULTICLASS):
        classes, position = order_classes(sample.classes, task, positive_class)
        truth = position[truth.astype(np.intp)].astype(np.intp)
        prediction = position[prediction.astype(np.intp)].astype(np.intp)
    scores = _choose_scores(sample, len(classes))
    usable = find_pairs(task, sample.truth, sample.prediction, scores)
    outcomes = Outcomes(truth, prediction, scores, np.ones(sample.rows), sample.groups, classes)
    return sample.take(usable), outcomes.take(usable)


def _choose_scores(sample: LabelledSample, classes: int) -> NDArray[np.float64] | None:
    """Take the scores by class where there is one for each, else those of the rows, as for predictions."""
    if sample.class_scores is not None and sample.class_scores.shape[1] == classes:
        return sample.class_scores
    return None if np.isnan(sample.scores).all() else sample.scores


def _split_segments(
    sample: LabelledSample, segments: Sequence[SegmentColumn]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Give the rows of everything, and of every segment that has some."""
    yield EVERYTHING, np.ones(sample.rows, np.bool_)
    for column, segment in enumerate(segments):
        for place, key in enumerate(segment.keys):
            chosen = sample.places[:, column] == place
            if chosen.any():
                yield key, chosen


def _measure_bands(
    estimator: Estimator,
    outcomes: Outcomes,
    times: NDArray[np.int64],
    schema: Schema,
    window_length: int,
    window_rows: int,
    rng: Generator,
) -> Bands:
    """Measure the bands from windows of time; without times, or with too few rows in each, from drawn ones."""
    timed = np.flatnonzero(in_calendar(times))
    _, place = assign_windows(times[timed], window_length, zone(schema))
    full = np.flatnonzero(np.bincount(place) >= MIN_ROWS)
    if len(full) > MAX_WINDOWS:
        full = rng.choice(full, MAX_WINDOWS, replace=False)
    chosen = np.isin(place, full)
    windows = np.full(outcomes.rows, -1)
    windows[timed[chosen]] = place[chosen]
    return measure_bands(estimator, outcomes, rng, window_rows=window_rows, windows=windows)

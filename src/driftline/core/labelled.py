"""Rows of training data with their labels: what the model said of each, and what came true."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftline.core.column import read_categories, read_numbers
from driftline.core.columns import Columns
from driftline.core.finding import Finding, Problem, found
from driftline.core.frame import RANKING_COLUMNS, Packed, pack_frame
from driftline.core.grid import hash_values
from driftline.core.joining import name_class
from driftline.core.schema import PREDICTION, SCORE, JoinKey, Kind, Schema, Task, layout
from driftline.core.source import Frame, open_frame


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """n rows of a frame, of which some have a label.

    `truth` and `prediction` [n] are numbers, or positions in `classes`, `scores` [n] how sure the model is; NaN is
    none. `groups` [n] are hashes of the entity or of the ranked list, 0 where a row does not say;
    None where rows are independent. `timestamps` [n] are microseconds, None where the frame has no times.
    `segments` [n, S] are codes into one of `tables` for each segment column of the schema. `class_scores` [n, C]
    where the model gives a score for each class.
    """

    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    scores: NDArray[np.float64]
    groups: NDArray[np.int64] | None
    timestamps: NDArray[np.int64] | None
    segments: NDArray[np.integer]
    tables: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...] = ()
    class_scores: NDArray[np.float64] | None = None
    findings: tuple[Finding, ...] = ()


def labelled_columns(schema: Schema) -> tuple[str, ...]:
    """Name the columns of a frame that `read_labelled` reads; none when there can be no labels."""
    if schema.task is None or schema.label_column is None:
        return ()
    names = [schema.label_column, schema.prediction, schema.score, schema.timestamp, *schema.segments]
    if schema.join_key is JoinKey.ENTITY_ID:
        names.append(schema.entity_id)
    return (*names, *(RANKING_COLUMNS if schema.task is Task.RANKING else ()))


def read_labelled(frame: object, schema: Schema) -> LabelledRows | None:
    """Read the labels of a frame and what belongs to them; None when it has no column of labels.

    Labels are read like predictions: as classes, or as numbers; `findings` count those that are no numbers.

    >>> import pyarrow as pa
    >>> schema = Schema((), Task.BINARY)
    >>> rows = read_labelled(pa.table({"prediction": [1, 0, 1], "label": [False, True, None]}), schema)
    >>> rows.classes, rows.truth.tolist(), rows.prediction.tolist()
    (('0', '1'), [0.0, 1.0, nan], [1.0, 0.0, 1.0])
    """
    label, names = schema.label_column, labelled_columns(schema)
    source = open_frame(frame, [name for name in names if name != schema.score])
    if label is None or not names or label not in source.names:
        return None
    narrow = replace(schema, features=())
    packed = pack_frame(frame, narrow, missing="null")
    columns, plan = packed.columns, layout(narrow)
    findings: list[Finding] = []
    if schema.prediction_kind is Kind.CATEGORICAL:
        place = plan.codes.index(PREDICTION)
        said = (columns.codes[:, place], columns.tables[place])
        (truth, prediction), classes = _code_classes([read_categories(source.column(label)), said], schema.task)
    else:
        truth, classes = _read_numbers(source, label, findings), ()
        prediction = columns.float64[:, plan.float64.index(PREDICTION)]
    scores, class_scores = _read_scores(source, schema, columns.float64[:, plan.float64.index(SCORE)], packed)
    places = [plan.codes.index(name) for name in schema.segments]
    return LabelledRows(
        truth,
        prediction,
        scores,
        _read_groups(source, schema, columns),
        packed.timestamps,
        columns.codes[:, places],
        tuple(columns.tables[place] for place in places),
        classes,
        class_scores,
        tuple(findings),
    )


def _code_classes(
    columns: Sequence[tuple[NDArray[np.integer], tuple[str, ...]]], task: Task | None
) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
    """Give the classes of several columns one list of codes, NaN for none."""
    names = [[name_class(text, task) or "" for text in table] for _, table in columns]
    code_of = {name: float(code) for code, name in enumerate(dict.fromkeys(name for own in names for name in own))}
    translated = [np.array([*(code_of[name] for name in own), np.nan]) for own in names]
    return [own[codes] for own, (codes, _) in zip(translated, columns, strict=True)], tuple(code_of)


def _read_numbers(source: Frame, name: str, findings: list[Finding]) -> NDArray[np.float64]:
    """Read numbers; what is infinite is none."""
    values, odd = read_numbers(name, source.column(name))
    numbers = np.array(values, np.float64)
    infinite = np.isinf(numbers)
    numbers[infinite] = np.nan
    findings.extend([*odd, *found(name, Problem.NOT_A_NUMBER, int(infinite.sum()))])
    return numbers


def _read_scores(
    source: Frame, schema: Schema, scores: NDArray[np.float64], packed: Packed
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Give the score of each row, and its scores by class, as for predictions.

    Of two classes the second one's is the score; in a ranking without scores the rank stands for it.
    """
    by_class, rank = packed.class_scores, RANKING_COLUMNS[1]
    if schema.task is Task.BINARY and by_class is not None and by_class.shape[1] == 2:
        return np.where(np.isnan(by_class[:, 1]), scores, by_class[:, 1]), None
    if schema.task is Task.RANKING and rank in source.names:
        ranks = np.asarray(read_numbers(rank, source.column(rank))[0], np.float64)
        return np.where(np.isnan(scores), -ranks, scores), by_class
    return scores, by_class


def _read_groups(source: Frame, schema: Schema, columns: Columns) -> NDArray[np.int64] | None:
    if schema.task is not Task.RANKING:
        return None if columns.entities is None else columns.entities.view(np.int64)
    group = RANKING_COLUMNS[0]
    if group not in source.names:
        return None
    codes, table = read_categories(source.column(group))
    return np.append(hash_values(table), np.uint64(0))[codes].view(np.int64)

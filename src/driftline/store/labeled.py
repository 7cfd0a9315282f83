"""The predictions of windows as columns: what was predicted, and what came true where that is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.class_order import order_classes
from driftline.core.outcomes import Outcomes, find_pairs
from driftline.core.schema import Task
from driftline.store.joined_models import find_joined, list_classes
from driftline.store.models import get_model
from driftline.store.performance_windows import PerformanceWindow


@dataclass(frozen=True, slots=True)
class WindowPredictions:
    """n predictions of one window or several of a version, in the order of their times.

    `truth` [n] and `prediction` [n] are positions in `classes`, or numbers; NaN where there is none. `scores` are
    [n] or, by class, [n, C]; NaN where a row has none, None where no row has. `weights` [n] are sampling weight
    times label weight, `sampling_weights` [n] without the latter; `groups` [n] are hashes of the entity or of the
    ranked list (0: the row is of none), None where no row has one. `known_at` [n] says when the first label of a
    row became known (NO_TIME: not yet, or never). `segment_code` [n] says which of `segments` (values of the
    schema's segment columns) a row is of, -1 for none.
    """

    task: Task | None
    classes: tuple[str, ...]
    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    scores: NDArray[np.float64] | None
    weights: NDArray[np.float64]
    sampling_weights: NDArray[np.float64]
    groups: NDArray[np.int64] | None
    predicted_at: NDArray[np.int64]
    known_at: NDArray[np.int64]
    segment_code: NDArray[np.int32]
    segments: Mapping[int, tuple[str | None, ...]]

    @property
    def labeled(self) -> NDArray[np.bool_]:
        """Which rows [n] have a label."""
        return ~np.isnan(self.truth)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "WindowPredictions":
        """Select by position or mask."""
        chosen: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            chosen[field.name] = value[rows] if isinstance(value, np.ndarray) else value
        return WindowPredictions(**chosen)

    def in_segment(self, column: int, values: Sequence[str | None]) -> NDArray[np.bool_]:
        """Tell which rows [n] have one of the values in a segment column (its place in the schema's)."""
        codes = [code for code, its in self.segments.items() if its[column] in values]
        return np.isin(self.segment_code, codes)

    def outcomes(self) -> Outcomes:
        """Give the rows that have a label and a prediction; if some have a score, those without are left out.

        Of a ranking only those in a list, unless none is: then `groups` is None.
        """
        usable, groups = find_pairs(self.task, self.truth, self.prediction, self.scores), self.groups
        if self.task is Task.RANKING and groups is not None:
            if groups[usable].any():
                usable &= groups != 0
            else:
                groups = None
        chosen = self.take(usable)
        kind = np.intp if self.task in (Task.BINARY, Task.MULTICLASS) else np.float64
        return Outcomes(
            truth=chosen.truth.astype(kind),
            prediction=chosen.prediction.astype(kind),
            scores=chosen.scores,
            weights=chosen.weights,
            groups=None if groups is None else groups[usable],
            classes=self.classes,
        )


def read_window_predictions(
    conn: Connection, windows: Sequence[PerformanceWindow], *, one_in: int = 1
) -> WindowPredictions:
    """Read the predictions of windows of one version, with their labels; those that expired have their window's.

    One prediction in `one_in` is read, of entities and ranked lists all or none.

    Raises NotFound when the model is not there any more.
    """
    model_id, ids = windows[0].model_id, [window.window_id for window in windows]
    model = get_model(conn, model_id)
    task = None if model.task is None else Task(model.task)
    model_no = find_joined(conn, model_id)
    known = [] if model_no is None else list_classes(conn, model_no)
    columns = _read_columns(conn, ids, one_in)
    if task in (Task.BINARY, Task.MULTICLASS):
        classes, position = order_classes(known, task, model.settings.get("positive_class"))
        codes = np.nan_to_num(columns.label, nan=-1).astype(np.intp)
        truth, prediction = position[codes], position[columns.class_code]
    else:
        classes, truth, prediction = (), columns.label, columns.value
    return WindowPredictions(
        task,
        classes,
        truth,
        prediction,
        _read_scores(conn, ids, one_in, columns.score, len(classes)),
        columns.weight * columns.label_weight,
        columns.weight.astype(np.float64),
        _read_groups(columns, task),
        columns.predicted_at,
        columns.known_at,
        columns.segment_code,
        _read_segments(conn, windows[0]),
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Rows as stored: codes are -1 and numbers NaN where there is nothing, hashes 0."""

    predicted_at: NDArray[np.int64]
    class_code: NDArray[np.int32]
    value: NDArray[np.float64]
    score: NDArray[np.float64]
    weight: NDArray[np.int32]
    label: NDArray[np.float64]
    label_weight: NDArray[np.float64]
    key: NDArray[np.bytes_]
    id_hash: NDArray[np.int64]
    group_hash: NDArray[np.int64]
    segment_code: NDArray[np.int32]
    known_at: NDArray[np.int64]


def _read_columns(conn: Connection, window_ids: Sequence[int], one_in: int) -> _Columns:
    row: Any = (
        conn.cursor(binary=True)
        .execute(
            """
        SELECT array_agg(predicted_at), array_agg(coalesce(class_code, -1)), array_agg(coalesce(value, 'NaN')),
               array_agg(coalesce(score, 'NaN')), array_agg(weight),
               array_agg(coalesce(label, expiry_label, 'NaN')), array_agg(coalesce(label_weight, 1)),
               array_agg(key),
               array_agg(coalesce(id_hash, 0)), array_agg(coalesce(group_hash, 0)),
               array_agg(coalesce(segment_code, -1)),
               array_agg(CASE WHEN label IS NULL THEN '-infinity' ELSE first_known_at END)
        FROM (SELECT p.*, w.expiry_label FROM predictions p JOIN performance_windows w USING (window_id)
              WHERE window_id = ANY(%s) AND abs(coalesce(hashint8(group_hash), uuid_hash(key))::bigint) %% %s = 0
              ORDER BY predicted_at, key, id_hash) AS p
        """,
            (list(window_ids), one_in),
        )
        .fetchone()
    )
    if row[0] is None:
        long, short, real = np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0)
        row = (long, short, real, real, short, real, real, np.empty(0, "S16"), long, long, short, long)
    return _Columns(*row)


def _read_scores(
    conn: Connection, window_ids: Sequence[int], one_in: int, score: NDArray[np.float64], classes: int
) -> NDArray[np.float64] | None:
    """Give the scores by class where all rows have one for each, else the scores of the rows."""
    rows = conn.execute(
        "SELECT scores FROM predictions WHERE window_id = ANY(%s) AND scores IS NOT NULL"
        " AND abs(coalesce(hashint8(group_hash), uuid_hash(key))::bigint) %% %s = 0"
        " ORDER BY predicted_at, key, id_hash",
        (list(window_ids), one_in),
    ).fetchall()
    if len(rows) == len(score) and rows and {len(its) for (its,) in rows} == {classes}:
        return np.array([its for (its,) in rows], np.float64)
    return None if np.isnan(score).all() else score


def _read_groups(columns: _Columns, task: Task | None) -> NDArray[np.int64] | None:
    if task is Task.RANKING:
        return columns.group_hash if columns.group_hash.any() else None
    if not columns.id_hash.any():
        return None
    halves = np.ascontiguousarray(columns.key).view("<i8").reshape(-1, 2)
    return halves[:, 1].astype(np.int64)  # the first half begins with a mark


def _read_segments(conn: Connection, window: PerformanceWindow) -> dict[int, tuple[str | None, ...]]:
    rows = conn.execute(
        "SELECT s.code, s.segments FROM segment_codes s JOIN performance_windows w USING (version_no)"
        " WHERE w.window_id = %s",
        (window.window_id,),
    )
    return {code: tuple(values) for code, values in rows}

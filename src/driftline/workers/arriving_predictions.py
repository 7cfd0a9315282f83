"""Predictions that arrive at the joiner: from batches to rows that wait for their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.batch import Batch, hash_ids, join_batches
from driftline.core.join_keys import make_keys, times_of_keys
from driftline.core.joining import name_class
from driftline.core.schema import PREDICTION, SCORE, JoinKey, Layout, Task, layout
from driftline.core.window import MICROSECONDS, Window, assign_windows
from driftline.store.joined_models import JoinedModel, code_classes, code_segments, number_versions
from driftline.store.performance_windows import WindowRows, add_rows
from driftline.store.predictions import PredictionColumns, add_predictions
from driftline.workers.catalog import KnownVersion

SLACK = 3600 * MICROSECONDS
"""So far from the time in its id (UUIDv7) a prediction is still looked for around that time alone."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments [n] of entities of models, around which predictions or labels have come."""

    model_no: NDArray[np.int32]
    key: NDArray[np.bytes_]
    at: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Arriving:
    """n predictions of some versions of models whose locks are held; all columns [n]."""

    model_no: NDArray[np.int32]
    version_no: NDArray[np.int32]
    columns: PredictionColumns
    window_start: NDArray[np.int64]
    windows: Mapping[tuple[int, int], Window]

    @property
    def rows(self) -> int:
        """Number of predictions."""
        return len(self.model_no)

    def take(self, rows: NDArray[np.intp]) -> "Arriving":
        """Select by position."""
        return Arriving(
            self.model_no[rows],
            self.version_no[rows],
            self.columns.take(rows),
            self.window_start[rows],
            self.windows,
        )

    def find_moments(self) -> Moments:
        """Give when predictions of entities were made."""
        rows = np.flatnonzero(self.columns.id_hash)
        return Moments(self.model_no[rows], self.columns.key[rows], self.columns.predicted_at[rows])

    def find_scattered(self) -> set[int]:
        """Find the models of which a prediction was made at another time than its id says."""
        times, timed = times_of_keys(self.columns.key)
        far = timed & (np.abs(times - self.columns.predicted_at) > SLACK)
        return set(self.model_no[far].tolist())


def arrange_batches(
    conn: Connection, model: JoinedModel, version: KnownVersion, batches: Sequence[Batch]
) -> list[Arriving]:
    """Make rows of the batches of a version, apart by how many scores a row has."""
    of_width: dict[int, list[Batch]] = {}
    for batch in batches:
        width = 0 if batch.class_scores is None else batch.class_scores.shape[1]
        of_width.setdefault(width, []).append(batch)
    version_no = number_versions(conn, [(model.model_no, version.model_version)])[
        model.model_no, version.model_version
    ]
    return [_arrange(conn, model, version, version_no, its) for its in of_width.values()]


def _arrange(
    conn: Connection, model: JoinedModel, version: KnownVersion, version_no: int, batches: Sequence[Batch]
) -> Arriving:
    batch = join_batches([replace(each, weight=1) for each in batches])
    plan = layout(version.schema)
    windows, positions = assign_windows(batch.timestamps, version.window_length, version.zone)
    starts = np.array([window.start for window in windows], np.int64)
    score, scores = _read_scores(batch, plan, version.schema.task)
    by_entity = version.schema.join_key is JoinKey.ENTITY_ID
    numeric = PREDICTION in plan.float64
    nothing = np.zeros(batch.rows, np.int64)
    ranked = version.schema.task is Task.RANKING
    columns = PredictionColumns(
        key=_make_keys(batch, by_entity=by_entity),
        predicted_at=batch.timestamps,
        window_id=np.zeros(batch.rows, np.int32),
        weight=np.concatenate([np.full(each.rows, each.weight, np.int32) for each in batches]),
        score=score,
        value=batch.columns.float64[:, plan.float64.index(PREDICTION)].copy()
        if numeric
        else np.full(batch.rows, np.nan),
        class_code=np.full(batch.rows, -1, np.int32) if numeric else _code_predictions(conn, model, batch, plan),
        segment_code=_code_segments(conn, version_no, version, batch, plan),
        id_hash=hash_ids(batch.ids).view(np.int64) if by_entity else nothing,
        group_hash=_hash_texts(batch.group_ids, batch.rows) if ranked else nothing,
        scores=scores,
    )
    return Arriving(
        np.full(batch.rows, model.model_no, np.int32),
        np.full(batch.rows, version_no, np.int32),
        columns,
        starts[positions],
        {(version_no, window.start): window for window in windows},
    )


def _make_keys(batch: Batch, *, by_entity: bool) -> NDArray[np.bytes_]:
    """Make the keys: of the ids, or of the entities where rows have one."""
    if not by_entity or batch.entity_ids is None:
        return make_keys(batch.ids)
    named = np.array([entity is not None for entity in batch.entity_ids], np.bool_)
    keys = np.empty(batch.rows, "S16")
    keys[named] = make_keys([entity for entity in batch.entity_ids if entity is not None], by_entity=True)
    keys[~named] = make_keys([batch.ids[row] for row in np.flatnonzero(~named)])
    return keys


def _read_scores(
    batch: Batch, plan: Layout, task: Task | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Give the score of each row, and its scores by class; of two classes the second one's is the score."""
    score = batch.columns.float64[:, plan.float64.index(SCORE)].copy()
    scores = batch.class_scores
    if scores is not None and task is Task.BINARY and scores.shape[1] == 2:
        return np.where(np.isnan(scores[:, 1]), score, scores[:, 1]), None
    if task is Task.RANKING and batch.ranks is not None:
        score = np.where(np.isnan(score) & (batch.ranks >= 0), -batch.ranks.astype(np.float64), score)
    return score, scores


def _code_predictions(conn: Connection, model: JoinedModel, batch: Batch, plan: Layout) -> NDArray[np.int32]:
    place = plan.codes.index(PREDICTION)
    classes = [name_class(text, model.task) or "" for text in batch.columns.tables[place]]
    codes = code_classes(conn, model.model_no, classes)
    code_of = np.array([*(codes.get(name, -1) for name in classes), -1], np.int32)
    coded: NDArray[np.int32] = code_of[batch.columns.codes[:, place]]
    return coded


def _code_segments(
    conn: Connection, version_no: int, version: KnownVersion, batch: Batch, plan: Layout
) -> NDArray[np.int32]:
    places = [plan.codes.index(name) for name in version.schema.segments]
    if not places:
        return np.full(batch.rows, -1, np.int32)
    found, position = np.unique(batch.columns.codes[:, places], axis=0, return_inverse=True)
    tables = [(*batch.columns.tables[place], None) for place in places]
    combinations = [tuple(table[code] for table, code in zip(tables, row, strict=True)) for row in found.tolist()]
    codes = code_segments(conn, version_no, combinations)
    code_of = np.array([codes.get(values, -1) for values in combinations], np.int32)
    coded: NDArray[np.int32] = code_of[position.reshape(-1)]
    return coded


def _hash_texts(texts: Sequence[str | None] | None, rows: int) -> NDArray[np.int64]:
    hashes = np.zeros(rows, np.int64)
    if texts is not None:
        named = [row for row, text in enumerate(texts) if text is not None]
        hashes[named] = hash_ids(tuple(text for text in texts if text is not None)).view(np.int64)
    return hashes


def merge_arriving(parts: Sequence[Arriving]) -> list[Arriving]:
    """Put predictions of all versions behind one another, apart by how many scores a row has."""
    of_width: dict[int, list[Arriving]] = {}
    for part in parts:
        scores = part.columns.scores
        of_width.setdefault(0 if scores is None else scores.shape[1], []).append(part)
    return [_merge(its) for its in of_width.values()]


def _merge(parts: Sequence[Arriving]) -> Arriving:
    if len(parts) == 1:
        return parts[0]
    columns = {
        name: np.concatenate([getattr(part.columns, name) for part in parts])
        for name in PredictionColumns.__dataclass_fields__
        if getattr(parts[0].columns, name) is not None
    }
    return Arriving(
        np.concatenate([part.model_no for part in parts]),
        np.concatenate([part.version_no for part in parts]),
        replace(parts[0].columns, **columns),
        np.concatenate([part.window_start for part in parts]),
        {key: window for part in parts for key, window in part.windows.items()},
    )


def store_arriving(conn: Connection, arriving: Arriving) -> None:
    """Count predictions that are new into their windows, and let them wait for their labels."""
    versions, starts = arriving.version_no.astype(np.int64), arriving.window_start
    keys, place = np.unique(np.stack([versions, starts]), axis=1, return_inverse=True)
    place = place.reshape(-1)
    counts = np.bincount(place).tolist()
    weights = np.bincount(place, arriving.columns.weight).tolist()
    ids = add_rows(
        conn,
        [
            WindowRows(version_no, arriving.windows[version_no, start], count, int(weight))
            for (version_no, start), count, weight in zip(keys.T.tolist(), counts, weights, strict=True)
        ],
    )
    window_id = np.array([ids[version_no, start] for version_no, start in keys.T.tolist()], np.int32)
    add_predictions(conn, replace(arriving.columns, window_id=window_id[place]))

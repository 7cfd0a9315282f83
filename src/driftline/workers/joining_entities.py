"""Joining by entity: each label belongs to the nearest earlier prediction of its entity.

A label never stops looking: a nearer prediction that comes later takes it over. So whenever predictions or labels
of an entity come, all of its predictions and labels around them are assigned anew, and what differs is written.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.core.grouping import pack_columns, pair_rows
from driftline.core.joining import Outcome, find_nearest, no_labels, same_values
from driftline.store.predictions import FoundPredictions, find_entity_predictions, set_labels
from driftline.store.waiting_labels import StoredLabels, add_history, find_entity_labels, mark_joined
from driftline.workers.arriving_labels import ArrivingLabels
from driftline.workers.arriving_predictions import Moments
from driftline.workers.joining import Join, Waiting


@dataclass(frozen=True, slots=True)
class Assigned:
    """Which of labels [L] each of predictions [P] has: `label` [P], -1 for none; `held` [L] by which one, or -1.

    `wins` [L]: the prediction that holds it has its value.
    """

    label: NDArray[np.int64]
    held: NDArray[np.int64]
    wins: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Spans:
    """Entities [E] of models: the first and last moment of what has come of each, and how far that reaches.

    What has come concerns predictions in [first - reach, last]; they have labels up to last + reach, and those
    may be of predictions since first - 2 reach.
    """

    model_no: NDArray[np.int32]
    key: NDArray[np.bytes_]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    reach: NDArray[np.int64]


def join_entities(join: Join, labels: ArrivingLabels, fresh: Moments) -> None:
    """Join labels [n] of entities, and predictions of entities that have just been stored."""
    touched = _merge(fresh, labels)
    if not len(touched.at):
        return
    waiting = join.let_wait(labels)
    spans = _find_spans(join, touched)
    found = _in_order(
        find_entity_predictions(
            join.conn, spans.model_no, spans.key, spans.first - 2 * spans.reach, spans.last + spans.reach
        )
    )
    stored = find_entity_labels(
        join.conn, spans.model_no, spans.key, spans.first - spans.reach, spans.last + spans.reach
    )
    assigned = assign(join, found, stored)
    _write(join, found, stored, assigned, spans)
    _count(join, labels, waiting, found, stored, assigned)


def _merge(fresh: Moments, labels: ArrivingLabels) -> Moments:
    return Moments(
        np.concatenate([fresh.model_no, labels.model_no]),
        np.concatenate([fresh.key, labels.key]),
        np.concatenate([fresh.at, labels.label_at]),
    )


def _find_spans(join: Join, touched: Moments) -> Spans:
    """Find what the moments of each entity concern; those of other entities are nothing to it."""
    _, row, entity = np.unique(pack_columns(touched.model_no, touched.key), return_index=True, return_inverse=True)
    entity = entity.reshape(-1)
    first, last = touched.at[row], touched.at[row]
    np.minimum.at(first, entity, touched.at)
    np.maximum.at(last, entity, touched.at)
    model_no = touched.model_no[row]
    numbers, place = np.unique(model_no, return_inverse=True)
    models = [join.models[number] for number in numbers.tolist()]
    reach = np.array([model.reach for model in models], np.int64)
    return Spans(model_no, touched.key[row], first, last, reach[place.reshape(-1)])


def _in_order(found: FoundPredictions) -> FoundPredictions:
    """Leave out predictions without an entity, and give the others in one order always."""
    order = np.lexsort((found.id_hash, found.predicted_at))
    return found.take(order[found.id_hash[order] != 0])


def assign(join: Join, found: FoundPredictions, stored: StoredLabels) -> Assigned:
    """Assign labels [L] to predictions [P] of the same entities, of each version apart; withdrawn ones to none."""
    names, group = np.unique(pack_columns(found.asked, found.version_no), return_inverse=True)
    group = group.reshape(-1).astype(np.int64)
    asked = np.zeros(len(names), np.int64)
    asked[group] = found.asked
    of_group, label = pair_rows(asked, stored.asked)
    real = ~np.isnan(stored.label.value[label])
    of_group, label = of_group[real], label[real]
    nearest = find_nearest(
        group, found.predicted_at, of_group, stored.label_at[label], _reach(join, stored)[label]
    )
    label, nearest = label[nearest >= 0], nearest[nearest >= 0]
    ranked = np.lexsort((stored.label_at[label], stored.label.known_at[label], nearest))
    winner = np.full(len(found.asked), -1, np.int64)
    winner[nearest[ranked]] = label[ranked]  # of several the last one stays
    held = np.full(len(stored.asked), -1, np.int64)
    held[label] = nearest
    wins = np.zeros(len(stored.asked), np.bool_)
    wins[winner[winner >= 0]] = True
    return Assigned(winner, held, wins)


def _reach(join: Join, stored: StoredLabels) -> NDArray[np.int64]:
    """Give how far before each label its prediction may be: labels without a timestamp have the whole delay."""
    numbers, place = np.unique(stored.model_no, return_inverse=True)
    models = [join.models[number] for number in numbers.tolist()]
    tolerance = np.array([model.tolerance for model in models], np.int64)[place.reshape(-1)]
    delay = np.array([model.max_delay for model in models], np.int64)[place.reshape(-1)]
    return np.where(stored.dated, tolerance, delay)


def _write(
    join: Join,
    found: FoundPredictions,
    stored: StoredLabels,
    assigned: Assigned,
    spans: Spans,
) -> None:
    """Write the labels of predictions that have another one now, and mark their windows."""
    concerned = _find_concerned(found, stored, assigned, spans)
    state = no_labels(len(found.asked))
    has = np.flatnonzero(assigned.label >= 0)
    for mine, its in (
        (state.value, stored.label.value),
        (state.weight, stored.label.weight),
        (state.known_at, stored.label.known_at),
    ):
        mine[has] = its[assigned.label[has]]
    before = found.label
    same = same_values(before, state)
    rows = np.flatnonzero(concerned & (~same | (state.known_at != before.known_at)))
    if len(rows):
        set_labels(join.conn, found.take(rows), state.take(rows), state.known_at[rows])
    lost = np.flatnonzero(concerned & ~same & ~np.isnan(before.value))
    if len(lost):
        asked = found.asked[lost]
        add_history(join.conn, spans.model_no[asked], spans.key[asked], before.take(lost))
    join.mark(found, state, concerned & ~same)
    newly = np.flatnonzero(~stored.joined & (assigned.held >= 0))
    if len(newly):
        mark_joined(join.conn, stored.model_no[newly], stored.key[newly], stored.label_at[newly])


def _find_concerned(
    found: FoundPredictions, stored: StoredLabels, assigned: Assigned, spans: Spans
) -> NDArray[np.bool_]:
    """Tell which predictions [P] may have another label now, by what has come.

    One without a label keeps what it had unless some label of its entity, perhaps withdrawn, is in reach: a label
    that is not kept any more was not taken away from it.
    """
    asked, at = found.asked, found.predicted_at
    concerned: NDArray[np.bool_] = (at >= (spans.first - spans.reach)[asked]) & (at <= spans.last[asked])
    next_label = find_nearest(stored.asked, -stored.label_at, asked, -at, spans.reach[asked])
    concerned &= (assigned.label >= 0) | (next_label >= 0)
    return concerned


def _count(
    join: Join,
    labels: ArrivingLabels,
    waiting: Waiting,
    found: FoundPredictions,
    stored: StoredLabels,
    assigned: Assigned,
) -> None:
    """Count what became of the labels that came, and of those that waited and have a prediction now."""
    names = pack_columns(stored.model_no, stored.key, stored.label_at)
    order = np.argsort(names)
    mine = pack_columns(labels.model_no, labels.key, labels.label_at)
    place = order[np.searchsorted(names, mine, sorter=order)] if labels.rows else np.empty(0, np.intp)
    outcome = waiting.outcome.copy()
    counts = (outcome != Outcome.DUPLICATE) & (outcome != Outcome.SUPERSEDED)
    held = assigned.held[place]
    beaten = counts & (held >= 0) & ~assigned.wins[place]
    had_label = ~np.isnan(found.label.value[held]) if len(found.asked) else np.zeros(labels.rows, np.bool_)
    replaces = counts & assigned.wins[place] & had_label & (outcome == Outcome.JOINED)
    outcome[beaten] = Outcome.SUPERSEDED
    outcome[replaces] = Outcome.CORRECTED
    waits = counts & waiting.is_new & (held < 0)
    join.tally.count_waiting(labels, outcome, waits)
    late = np.flatnonzero(counts & (held >= 0))
    delay = labels.label.known_at[late] - found.predicted_at[held[late]]
    late = late[delay > join.delays_of(labels.model_no[late])]
    join.tally.add_rows(labels.model_no[late], labels.imported[late], "late")
    came = np.zeros(len(stored.asked), np.bool_)  # the others were counted before
    came[place[waiting.is_new]] = True
    again = np.flatnonzero(~came & ~stored.joined & (assigned.held >= 0))
    no_import = np.zeros(len(again), np.int32)
    join.tally.add_rows(stored.model_no[again], no_import, "waiting", -1)
    join.tally.add_rows(stored.model_no[again], no_import, "joined")

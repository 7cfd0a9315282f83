"""What one flush of the joiner does: predictions first, then the labels that are for them, in one transaction.

Labels that waited for a prediction are taken up again when it comes, before those that arrive with it. All of it
is some statements for all rows together; the rules are those of `core.joining`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.grouping import pack_columns, pair_rows
from driftline.core.join_keys import times_of_keys
from driftline.core.joining import Outcome, Settled, Values, no_labels, settle
from driftline.core.moment import NO_TIME
from driftline.core.window import DAY
from driftline.store.joined_models import JoinedModel, mark_scattered
from driftline.store.performance_windows import mark_windows
from driftline.store.predictions import (
    FoundPredictions,
    find_predictions,
    join_found,
    prefer_indexes,
    set_labels,
)
from driftline.store.waiting_labels import add_history, find_waiting, keep_labels, take_waiting
from driftline.workers.arriving_labels import ArrivingLabels, join_labels
from driftline.workers.arriving_predictions import SLACK, Arriving, Moments, merge_arriving, store_arriving
from driftline.workers.label_tally import COPIED, WAITED, LabelTally


@dataclass(frozen=True, slots=True)
class Waiting:
    """What became of labels [n] that are kept; `is_new` [n]: nothing was kept in their place before."""

    outcome: NDArray[np.int8]
    is_new: NDArray[np.bool_]


@dataclass(slots=True)
class Join:
    """A transaction that joins: models whose locks it holds, by number, and what it counts."""

    conn: Connection
    models: Mapping[int, JoinedModel]
    now: int
    tally: LabelTally = field(default_factory=LabelTally)
    scattered: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Note which models' predictions are made at other times than their ids say."""
        prefer_indexes(self.conn)
        self.scattered |= {model.model_no for model in self.models.values() if model.scattered}

    def take_predictions(self, arriving: Sequence[Arriving]) -> tuple[ArrivingLabels, Moments]:
        """Store predictions that are new, each id of a version once.

        Gives the labels by id that there are for them, and when those of entities were made.
        """
        labels, moments = [_NONE], [_NO_MOMENTS]
        for each in merge_arriving(arriving):
            fresh, of_others = self._drop_known(each)
            if not fresh.rows:
                continue
            far = fresh.find_scattered() - self.scattered
            mark_scattered(self.conn, far)
            self.scattered |= far
            store_arriving(self.conn, fresh)
            waited = take_waiting(self.conn, fresh.model_no, fresh.columns.key)
            self.tally.add_rows(waited.model_no, np.full(len(waited.model_no), WAITED), "waiting", -1)
            labels += [_label_again(waited.model_no, waited.key, waited.label, WAITED), of_others]
            moments.append(fresh.find_moments())
        return join_labels(labels), Moments(
            np.concatenate([each.model_no for each in moments]),
            np.concatenate([each.key for each in moments]),
            np.concatenate([each.at for each in moments]),
        )

    def _drop_known(self, arriving: Arriving) -> tuple[Arriving, ArrivingLabels]:
        """Drop ids that are there; gives also the labels of other versions' predictions with the same id."""
        names = pack_columns(arriving.version_no, arriving.columns.key, arriving.columns.id_hash)
        each = arriving.take(np.sort(np.unique(names, return_index=True)[1]))
        _, first, place = np.unique(
            pack_columns(each.model_no, each.columns.key), return_index=True, return_inverse=True
        )
        place = place.reshape(-1).astype(np.int64)
        found = self._find(each.model_no[first], each.columns.key[first], np.unique(each.columns.id_hash))
        fresh = ~np.isin(
            pack_columns(place, each.version_no, each.columns.id_hash),
            pack_columns(found.asked, found.version_no, found.id_hash),
        )
        labeled = np.flatnonzero((found.label.known_at != NO_TIME) & (found.id_hash == 0))
        row, other = pair_rows(place, found.asked[labeled])
        row, other = row[fresh[row]], labeled[other[fresh[row]]]
        of_others = _label_again(each.model_no[row], each.columns.key[row], found.label.take(other), COPIED)
        return each.take(np.flatnonzero(fresh)), of_others

    def _find(
        self, model_no: NDArray[np.int32], key: NDArray[np.bytes_], id_hashes: NDArray[np.int64]
    ) -> FoundPredictions:
        """Find the predictions that there are with keys [n]; those of entities only with one of the hashes."""
        parts = []
        for rows, since, until in self._split_days(model_no, key):
            found = find_predictions(
                self.conn, model_no[rows], key[rows], since=since, until=until, id_hashes=id_hashes
            )
            parts.append(replace(found, asked=rows[found.asked].astype(np.int64)))
        return join_found(parts)

    def take_labels(self, labels: ArrivingLabels) -> None:
        """Join labels by id with their predictions; the others wait.

        Where ids tell when predictions were made, it is done day by day: what was just found is still in memory
        when it is written.
        """
        for rows, since, until in self._split_days(labels.model_no, labels.key):
            self._take_some(labels.take(rows), since, until)

    def _split_days(
        self, model_no: NDArray[np.int32], key: NDArray[np.bytes_]
    ) -> Iterator[tuple[NDArray[np.intp], int | None, int | None]]:
        """Split keys [n] by the days on which their predictions can only be, as far as that is known."""
        times, timed = times_of_keys(key)
        timed &= ~np.isin(model_no, list(self.scattered))
        for day in np.unique(times[timed] // DAY).tolist():
            yield np.flatnonzero(timed & (times // DAY == day)), day * DAY - SLACK, (day + 1) * DAY + SLACK
        if not timed.all():
            yield np.flatnonzero(~timed), None, None

    def _take_some(self, labels: ArrivingLabels, since: int | None, until: int | None) -> None:
        """Join labels of predictions that were made in [since, until)."""
        names, first, group = np.unique(
            pack_columns(labels.model_no, labels.key), return_index=True, return_inverse=True
        )
        group = group.reshape(-1)
        found = find_predictions(self.conn, labels.model_no[first], labels.key[first], since=since, until=until)
        self._join_found(labels, group, found)
        has_prediction = np.zeros(len(names), np.bool_)
        has_prediction[found.asked] = True
        rest = np.flatnonzero(~has_prediction[group])
        if len(rest):
            others = labels.take(rest)
            waiting = self.let_wait(others)
            waits = waiting.is_new & (waiting.outcome < Outcome.SUPERSEDED)
            self.tally.count_waiting(others, waiting.outcome, waits)

    def _join_found(self, labels: ArrivingLabels, group: NDArray[np.int64], found: FoundPredictions) -> None:
        row, label = pair_rows(found.asked, group)
        in_order = np.lexsort((row, label))  # labels come in the order of the log
        row, label = row[in_order], label[in_order]
        settled = settle(found.label, labels.label.take(label), row)
        self._write(labels, found, settled, row, label)
        self._count(labels, found, settled, row, label)

    def _write(
        self,
        labels: ArrivingLabels,
        found: FoundPredictions,
        settled: Settled,
        row: NDArray[np.int64],
        label: NDArray[np.int64],
    ) -> None:
        """Write what has changed of found predictions: labels, history, and marks of their windows."""
        written = settled.changed | settled.touched
        if written.any():
            first_known = settled.first_known[written]
            set_labels(self.conn, found.take(written), settled.state.take(written), first_known)
        if len(settled.history_group):
            some_label = np.zeros(len(found.asked), np.int64)
            some_label[row] = label
            whose = some_label[settled.history_group]
            add_history(self.conn, labels.model_no[whose], labels.key[whose], settled.history)
        self.mark(found, settled.state, settled.changed)

    def mark(self, found: FoundPredictions, state: Values, changed: NDArray[np.bool_]) -> None:
        """Mark the windows of predictions whose label has changed."""
        rows = np.flatnonzero(changed)
        if not len(rows):
            return
        more = (~np.isnan(state.value[rows])).astype(np.int64) - ~np.isnan(found.label.value[rows])
        windows, place = np.unique(found.window_id[rows], return_inverse=True)
        count, weight = np.zeros(len(windows), np.int64), np.zeros(len(windows), np.int64)
        np.add.at(count, place.reshape(-1), more)
        np.add.at(weight, place.reshape(-1), more * found.weight[rows])
        mark_windows(self.conn, windows, count, weight)

    def _count(
        self,
        labels: ArrivingLabels,
        found: FoundPredictions,
        settled: Settled,
        row: NDArray[np.int64],
        label: NDArray[np.int64],
    ) -> None:
        """Count each label once, by the best that it became, also if several versions have its id."""
        model_no = np.zeros(len(found.asked), np.int32)
        model_no[row] = labels.model_no[label]
        delay = self.delays_of(model_no)
        best = np.lexsort((settled.outcome, label))
        best = best[np.unique(label[best], return_index=True)[1]]
        late = labels.label.known_at[label[best]] - found.predicted_at[row[best]] > delay[row[best]]
        chosen = labels.take(label[best])
        self.tally.count(chosen, settled.outcome[best], late)

    def delays_of(self, model_no: NDArray[np.int32]) -> NDArray[np.int64]:
        """Give the longest delay of each row's model."""
        numbers, place = np.unique(model_no, return_inverse=True)
        longest = [self.models[number].max_delay if number in self.models else 0 for number in numbers.tolist()]
        return np.array(longest, np.int64)[place.reshape(-1)]

    def let_wait(self, labels: ArrivingLabels) -> Waiting:
        """Keep labels for predictions that have not come, or for nearer ones that may; none is counted."""
        _, first, group = np.unique(
            pack_columns(labels.model_no, labels.key, labels.label_at), return_index=True, return_inverse=True
        )
        group = group.reshape(-1)
        its = labels.take(first)
        before = find_waiting(self.conn, its.model_no, its.key, its.label_at)
        current = no_labels(len(first))
        for mine, stored in (
            (current.value, before.label.value),
            (current.weight, before.label.weight),
            (current.known_at, before.label.known_at),
        ):
            mine[before.asked] = stored
        settled = settle(current, labels.label, group)
        rows = np.flatnonzero(settled.changed | settled.touched)
        keep_labels(
            self.conn,
            its.model_no[rows],
            its.key[rows],
            its.label_at[rows],
            its.dated[rows],
            settled.state.take(rows),
            self.now,
        )
        if len(settled.history_group):
            add_history(
                self.conn, its.model_no[settled.history_group], its.key[settled.history_group], settled.history
            )
        return Waiting(settled.outcome, (current.known_at == NO_TIME)[group])


def _label_again(
    model_no: NDArray[np.int32], key: NDArray[np.bytes_], label: Values, imported: int
) -> ArrivingLabels:
    """Make arriving labels of those that were counted before."""
    rows = len(model_no)
    return ArrivingLabels(
        model_no,
        key,
        label,
        np.full(rows, NO_TIME),
        np.zeros(rows, np.bool_),
        np.full(rows, imported, np.int32),
    )


_NONE = _label_again(
    np.empty(0, np.int32), np.empty(0, "S16"), Values(np.empty(0), np.empty(0), np.empty(0, np.int64)), COPIED
)
_NO_MOMENTS = Moments(np.empty(0, np.int32), np.empty(0, "S16"), np.empty(0, np.int64))

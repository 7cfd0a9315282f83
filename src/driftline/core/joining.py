"""Which prediction a label belongs to, and which of several labels wins: the rules, without a database.

A label by id belongs to the prediction with that id, of each version one. A label by entity belongs to the nearest
earlier prediction of that entity. Of several labels the one known last wins; of those known at the same moment the
one that came last.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from driftline.core.category import category_text
from driftline.core.moment import NO_TIME
from driftline.core.schema import Task

_CLASS_OF = {"true": "1", "false": "0"}


def name_class(value: object, task: Task | None) -> str | None:
    """Give the one name of a class, as label or prediction; None for none.

    Of two classes true is the same as 1, and false as 0.

    >>> name_class(True, Task.BINARY), name_class(1.0, Task.BINARY), name_class(True, Task.MULTICLASS)
    ('1', '1', 'true')
    """
    text = category_text(value)
    return text if text is None or task is not Task.BINARY else _CLASS_OF.get(text, text)


class Outcome(IntEnum):
    """What became of a label."""

    JOINED = 0
    CORRECTED = 1
    WITHDRAWN = 2
    SUPERSEDED = 3
    DUPLICATE = 4


@dataclass(frozen=True, slots=True)
class Values:
    """n labels, or states of labels: a value (class code or number, NaN: withdrawn), its weight, since when known.

    A state without any label has `known_at` NO_TIME, value NaN and weight 1.
    """

    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    known_at: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "Values":
        """Select by position, mask or slice."""
        return Values(self.value[rows], self.weight[rows], self.known_at[rows])


@dataclass(frozen=True, slots=True)
class Settled:
    """What holds after labels have come.

    `state` [G] is the one in force, `changed` [G] where its value or weight is another than before, `touched` [G]
    where the moment of its being known is; `first_known` [G] is that of the first label that was not withdrawn.
    `outcome` [n] is an `Outcome` a label. `history` are labels that were in force, or came too late for that, with
    the group of each.
    """

    state: Values
    changed: NDArray[np.bool_]
    touched: NDArray[np.bool_]
    first_known: NDArray[np.int64]
    outcome: NDArray[np.int8]
    history: Values
    history_group: NDArray[np.int64]


def no_labels(count: int) -> Values:
    """Give states without any label."""
    return Values(np.full(count, np.nan), np.ones(count), np.full(count, NO_TIME))


def join_values(*parts: Values) -> Values:
    """Put values behind one another."""
    return Values(
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.known_at for part in parts]),
    )


def settle(current: Values, labels: Values, groups: NDArray[np.int64]) -> Settled:
    """Apply labels [n], in the order in which they came, to states [G]; `groups` [n] says to which.

    Labels in the order of their being known are runs of equal ones: the one of a run that came first counts, the
    others are duplicates; the last run is in force, the others are history.

    >>> labels = Values(np.array([1.0, 1, 0]), np.ones(3), known_at=np.array([5, 9, 7]))
    >>> now = settle(no_labels(1), labels, groups=np.zeros(3, np.int64))
    >>> now.state.value.tolist(), [Outcome(code).name for code in now.outcome]
    ([1.0], ['SUPERSEDED', 'JOINED', 'SUPERSEDED'])
    """
    known = np.flatnonzero(current.known_at != NO_TIME)
    every = join_values(current.take(known), labels)
    group = np.concatenate([known, groups])
    order = np.arange(len(group))  # the current ones came before the labels
    chain = np.lexsort((order, every.known_at, group))
    every, group, order = every.take(chain), group[chain], order[chain]
    new_group = _starts(group)
    starts = np.flatnonzero(new_group | ~_equals_previous(every))
    run = np.cumsum(new_group | ~_equals_previous(every)) - 1
    first = np.minimum.reduceat(order, starts) if len(starts) else order
    is_original = order == first[run]
    last = np.flatnonzero(np.append(new_group[1:], True)) if len(group) else np.empty(0, np.intp)
    in_force = np.isin(run, run[last])
    state = Values(current.value.copy(), current.weight.copy(), current.known_at.copy())
    for mine, its in (
        (state.value, every.value), (state.weight, every.weight), (state.known_at, every.known_at)
    ):  # fmt: skip
        mine[group[last]] = its[last]
    superseded = np.flatnonzero(is_original & ~in_force)
    return Settled(
        state,
        ~same_values(current, state),
        state.known_at != current.known_at,
        _find_first(every, group, len(current.value)),
        _tell_outcomes(current, every, group, order - len(known), is_original, in_force, len(groups)),
        every.take(superseded),
        group[superseded],
    )


def _starts(group: NDArray[np.int64]) -> NDArray[np.bool_]:
    starts = np.ones(len(group), np.bool_)
    starts[1:] = group[1:] != group[:-1]
    return starts


def _equals_previous(values: Values) -> NDArray[np.bool_]:
    equal = np.zeros(len(values.value), np.bool_)
    equal[1:] = same_values(values.take(slice(1, None)), values.take(slice(None, -1)))
    return equal


def same_values(one: Values, other: Values) -> NDArray[np.bool_]:
    """Tell which values [n] are the same, whenever known; withdrawn ones are, whatever they weigh."""
    withdrawn: NDArray[np.bool_] = np.isnan(one.value) & np.isnan(other.value)
    withdrawn |= (one.value == other.value) & (one.weight == other.weight)
    return withdrawn


def _find_first(every: Values, group: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    first = np.full(groups, NO_TIME)
    real = np.flatnonzero(~np.isnan(every.value))[::-1]  # backwards: the earliest is written last
    first[group[real]] = every.known_at[real]
    return first


def _tell_outcomes(
    current: Values,
    every: Values,
    group: NDArray[np.int64],
    position: NDArray[np.int64],
    is_original: NDArray[np.bool_],
    in_force: NDArray[np.bool_],
    count: int,
) -> NDArray[np.int8]:
    had_one = ~np.isnan(current.value[group])
    told = np.select(
        [~is_original, ~in_force, np.isnan(every.value), had_one],
        [Outcome.DUPLICATE, Outcome.SUPERSEDED, Outcome.WITHDRAWN, Outcome.CORRECTED],
        Outcome.JOINED,
    )
    outcome = np.empty(count, np.int8)
    mine = position >= 0
    outcome[position[mine]] = told[mine]
    return outcome


def find_nearest(
    groups: NDArray[np.int64],
    predicted_at: NDArray[np.int64],
    label_groups: NDArray[np.int64],
    label_at: NDArray[np.int64],
    reach: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Find for each label [L] the last prediction [P] of its group at or before `label_at`; -1 for none in reach.

    Groups are entities (of one version); times and `reach` are microseconds. Of predictions at the same moment the
    last one given is taken.

    >>> predicted_at, label_at, one = np.array([10, 20]), np.array([15, 20, 99]), np.zeros(3, np.int64)
    >>> find_nearest(one[:2], predicted_at, one, label_at, reach=np.full(3, 30)).tolist()
    [0, 1, -1]
    """
    if not len(predicted_at) or not len(label_at):
        return np.full(len(label_at), -1, np.int64)
    count = len(predicted_at)
    group = np.concatenate([groups, label_groups])
    at = np.concatenate([predicted_at, label_at])
    chain = np.lexsort((np.arange(len(at)), at, group))  # a prediction comes before a label of the same moment
    seen = np.maximum.accumulate(np.where(chain < count, np.arange(len(at)), -1))
    is_label = chain >= count
    nearest = np.where(seen[is_label] >= 0, chain[seen[is_label]], 0)
    label = chain[is_label] - count
    within = (
        (seen[is_label] >= 0)
        & (groups[nearest] == label_groups[label])
        & (label_at[label] - predicted_at[nearest] <= reach[label])
    )
    found = np.empty(len(label_at), np.int64)
    found[label] = np.where(within, nearest, -1)
    return found

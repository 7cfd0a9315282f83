"""Where every subject of a rule stands: arrays over features, kept between windows as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.core.errors import InvalidPayload
from driftline.core.moment import NO_TIME
from driftline.core.payload import Block, read_block, read_payload, write_block, write_payload
from driftline.core.rules import Comparison, Rule

_MAX_BYTES = 256 * 1024 * 1024


class Standing(IntEnum):
    """Where a subject stands."""

    OK = 0
    PENDING = 1  # breached, not yet for long enough
    FIRING = 2
    RECOVERING = 3  # fired, and is fine again, not yet for long enough
    RESOLVED = 4  # fine, after having fired


LOUD = (Standing.FIRING, Standing.RECOVERING)


@dataclass(frozen=True, slots=True)
class States:
    """The states of a rule in a segment of a version, for the S features it matches: one named '' at model level.

    `standing` [S] holds `Standing` values, `streak` [S] the breaches in a row while pending and the recoveries
    while recovering. `trail` [S, K, 2] are start and end of the windows of the streak. `since` [S] is the end of
    the window that led to the standing, `opened` [S] of the one that fired, `judged_until` [S] of the newest one
    judged, in microseconds, NO_TIME for none. `history` [S, N] holds the last numbers for a band, oldest first,
    NaN for none.
    """

    features: tuple[str, ...]
    standing: NDArray[np.int8]
    streak: NDArray[np.int32]
    since: NDArray[np.int64]
    opened: NDArray[np.int64]
    judged_until: NDArray[np.int64]
    trail: NDArray[np.int64]
    history: NDArray[np.float64]

    @property
    def loud(self) -> NDArray[np.bool_]:
        """Which subjects have an open alert [S]."""
        return np.isin(self.standing, LOUD)

    @property
    def moving(self) -> bool:
        """Whether a subject is on the way to fire or to resolve."""
        return bool(np.isin(self.standing, (Standing.PENDING, Standing.RECOVERING)).any())


def start_states(rule: Rule, features: tuple[str, ...]) -> States:
    """Give the states of subjects that have not been judged.

    >>> rule = Rule("silent", "volume", Comparison.BELOW, 1)
    >>> start_states(rule, ("",)).trail.shape
    (1, 3, 2)
    """
    count = len(features)
    return States(
        features=features,
        standing=np.zeros(count, np.int8),
        streak=np.zeros(count, np.int32),
        since=np.full(count, NO_TIME, np.int64),
        opened=np.full(count, NO_TIME, np.int64),
        judged_until=np.full(count, NO_TIME, np.int64),
        trail=np.zeros((count, _trail_length(rule), 2), np.int64),
        history=np.full((count, _history_length(rule)), np.nan),
    )


def fit_states(states: States | None, rule: Rule, features: tuple[str, ...]) -> States:
    """Carry states over to the features that the rule matches now, and to its windows when it was edited."""
    if states is None:
        return start_states(rule, features)
    if states.features != features:
        states = _rearrange(states, rule, features)
    if states.trail.shape[1] != _trail_length(rule):
        states = _cut_trail(states, _trail_length(rule))
    if states.history.shape[1] != _history_length(rule):
        states = replace(states, history=_resize(states.history, _history_length(rule)))
    return states


def encode_states(states: States) -> bytes:
    """Write states.

    >>> states = start_states(Rule("silent", "volume", Comparison.BELOW, 1), ("",))
    >>> decode_states(encode_states(states)).features
    ('',)
    """
    blocks = {name: write_block(getattr(states, name)) for name in _DTYPES}
    return write_payload(_Stored(states.features, **blocks), level=1)


def decode_states(payload: bytes) -> States:
    """Read what `encode_states` wrote; InvalidPayload for anything else."""
    stored = read_payload(payload, _Stored, _MAX_BYTES)
    arrays = {name: read_block(getattr(stored, name), dtype) for name, dtype in _DTYPES.items()}
    states = States(stored.features, **arrays)
    shapes = [
        len(array) == len(stored.features) and array.ndim == _DIMENSIONS.get(n, 1) for n, array in arrays.items()
    ]
    if not all(shapes) or states.trail.shape[1] < 1 or states.trail.shape[2] != 2:
        raise InvalidPayload("not states of a rule: the parts do not fit together")
    if not np.isin(states.standing, tuple(Standing)).all() or (states.streak < 0).any():
        raise InvalidPayload("not states of a rule: there is no such standing")
    return states


def _rearrange(states: States, rule: Rule, features: tuple[str, ...]) -> States:
    place = {name: i for i, name in enumerate(states.features)}
    old = np.array([place.get(name, -1) for name in features], np.intp)
    fresh = start_states(rule, features)
    fresh = replace(
        fresh,
        trail=np.zeros((len(features), *states.trail.shape[1:]), np.int64),
        history=np.full((len(features), states.history.shape[1]), np.nan),
    )
    for name in _DTYPES:
        getattr(fresh, name)[old >= 0] = getattr(states, name)[old[old >= 0]]
    return fresh


def _cut_trail(states: States, length: int) -> States:
    """Keep the newest windows of each streak, one place short of full: the next window finishes it."""
    streak = np.minimum(states.streak, length - 1)
    places = np.arange(length) + (states.streak - streak)[:, None]
    places = np.minimum(places, states.trail.shape[1] - 1)
    return replace(states, streak=streak, trail=np.take_along_axis(states.trail, places[:, :, None], axis=1))


def _resize(history: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    resized = np.full((len(history), length), np.nan)
    kept = min(length, history.shape[1])
    if kept:
        resized[:, -kept:] = history[:, -kept:]
    return resized


def _trail_length(rule: Rule) -> int:
    return max(rule.consecutive_windows, rule.recover_windows)


def _history_length(rule: Rule) -> int:
    return rule.band_windows if rule.comparison is Comparison.OUTSIDE_BAND else 0


_DTYPES: Mapping[str, type[np.generic]] = {
    "standing": np.int8,
    "streak": np.int32,
    "since": np.int64,
    "opened": np.int64,
    "judged_until": np.int64,
    "trail": np.int64,
    "history": np.float64,
}
_DIMENSIONS = {"trail": 3, "history": 2}


class _Stored(msgspec.Struct, array_like=True):
    features: tuple[str, ...]
    standing: Block
    streak: Block
    since: Block
    opened: Block
    judged_until: Block
    trail: Block
    history: Block

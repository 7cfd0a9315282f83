"""How many windows alerts take when a feature begins to drift, suddenly, slowly, or in one segment only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from driftline.core.alert_states import States
from driftline.core.alerting import Happening, judge_window
from driftline.core.distance import SMOOTHING
from driftline.core.profile import Profile, merge_profiles
from driftline.core.rules import Rule
from seasonal_traffic import (
    FEATURES,
    HOUR,
    LAYOUT,
    MONDAY,
    REACH,
    SEGMENTS,
    STEPS,
)
from watched_traffic import SEGMENT, WatchedModel, coarsen, count_hour, cut_reference, judge_hours

CALM = 0.1
"""The features that drift are those whose natural psi is at most this."""
_ROWS, _SEGMENT_ROWS = 800, 130
"""Rows of the windows and pools in which psi is smoothed."""
AT_ONCE = 20
"""So many features of a model drift at a time, 4 % of them."""
BEFORE = 48
"""Hours without drift that lead in, so that pools and streaks are under way."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A change of features to a psi, everywhere or in a segment; the hours in which it comes, and is watched."""

    name: str
    psi: float
    ramp: int
    watched: int
    segment: bool = False


DRIFTS = (
    Drift("sudden", 0.3, 0, 72),
    Drift("gradual, over a week", 0.3, 168, 240),
    Drift("in one segment of 20 %", 1.0, 0, 72, segment=True),
)


@dataclass(frozen=True, slots=True)
class Delays:
    """Windows from the beginning of a drift to the alert [n], NaN where none came."""

    drift: str
    rule_id: str
    segment: str
    windows: NDArray[np.float64]


def measure_delays(model: WatchedModel, rules: Sequence[Rule], repetitions: int, rng: Generator) -> list[Delays]:
    """Let calm features drift from a random hour on, again and again, and see when each rule fires."""
    calm = np.flatnonzero(
        (model.natural.psi[0] <= CALM) & np.isin(LAYOUT.names, ("__score__", "__prediction__"), invert=True)
    )
    found: list[Delays] = []
    for drift in DRIFTS:
        for _ in range(repetitions):
            chosen = rng.choice(calm, min(AT_ONCE, len(calm)), replace=False)
            shift = np.zeros(FEATURES, np.float32)
            for f in chosen:
                shift[f] = find_shift(model, int(f), drift, rng.choice((-1.0, 1.0)))
            last = len(model.traffic.rows) - drift.watched
            onset = int(rng.integers(model.traffic.reference_hours + BEFORE, last))
            found += _watch(model, rules, drift, shift, onset)
    return found


def find_shift(model: WatchedModel, f: int, drift: Drift, sign: float) -> float:
    """Find the shift of z that brings a feature's PSI, of the reference's hours in the version's bins.

    It has the other sign where `sign` cannot bring so much: a flag of 3 % cannot become much rarer.
    """
    of_position = model.reference.bins.of_cell[f][model.cells[f]]
    change = np.flatnonzero(np.diff(of_position)) + 1
    edges = change / STEPS - REACH
    hours = slice(0, model.traffic.reference_hours, 7)  # every hour of the week comes up
    mean, scale = model.traffic.mean[hours, f, None], model.traffic.scale[hours, f, None]
    weight = model.traffic.rows[hours] / model.traffic.rows[hours].sum()
    _, bins = np.unique(of_position[np.concatenate([[0], change])], return_inverse=True)
    rows = _SEGMENT_ROWS if drift.segment else _ROWS

    def measure(shift: float) -> NDArray[np.float64]:
        below = weight @ ndtr((edges - mean - shift) / scale)
        shares = np.bincount(bins, np.diff(below, prepend=0, append=1))
        return np.asarray((shares * rows + SMOOTHING) / (rows + SMOOTHING * len(shares)))

    usual = measure(0)

    def excess(shift: float) -> float:
        now = measure(shift)
        return float(((now - usual) * np.log(now / usual)).sum()) - drift.psi

    if excess(4 * sign) < 0:
        sign = -sign
    return float(brentq(excess, 0, 4 * sign, xtol=1e-3))


def _watch(
    model: WatchedModel, rules: Sequence[Rule], drift: Drift, shift: NDArray[np.float32], onset: int
) -> Iterator[Delays]:
    """Judge the hours around the onset; features that were alerted on before it do not count."""
    hours = range(onset - BEFORE, onset + drift.watched)
    parts = [_count(model, drift, shift, onset, hour) for hour in hours]
    places = np.flatnonzero(shift)
    wholes = [(hour, merge_profiles(part)) for hour, part in zip(hours, parts, strict=True)]
    yield from _judge(model, rules, drift, "", wholes, onset, places)
    if drift.segment:
        own = [(hour, coarsen(model, part[0])) for hour, part in zip(hours, parts, strict=True)]
        yield from _judge(model, rules, drift, SEGMENT, own, onset, places)


def _count(model: WatchedModel, drift: Drift, shift: NDArray[np.float32], onset: int, hour: int) -> list[Profile]:
    """Count an hour; where only a segment drifts, it and the rest apart."""
    arrived = 0.0 if hour < onset else 1.0 if not drift.ramp else min((hour - onset) / drift.ramp, 1.0)
    if not drift.segment:
        return [count_hour(model, hour, shift * arrived)]
    share = 1 / SEGMENTS
    return [
        count_hour(model, hour, shift * arrived, share=share, stream=1),
        count_hour(model, hour, share=1 - share, stream=2),
    ]


def _judge(
    model: WatchedModel,
    rules: Sequence[Rule],
    drift: Drift,
    segment: str,
    profiles: Sequence[tuple[int, Profile]],
    onset: int,
    places: NDArray[np.intp],
) -> Iterator[Delays]:
    first = {rule.rule_id: np.full(FEATURES, np.nan) for rule in rules}
    loud = {rule.rule_id: np.zeros(FEATURES, np.bool_) for rule in rules}
    states: dict[str, States] = {}
    for window in judge_hours(model, cut_reference(model.reference, segment), iter(profiles)):
        judgement = judge_window(rules, states, window, now=0)
        states = dict(judgement.states)
        number = (window.window.end - MONDAY) // HOUR - onset
        for event in judgement.events:
            f = LAYOUT.index[event.feature]
            if number <= 0:
                loud[event.rule_id][f] = event.happening is Happening.FIRED
            elif event.happening is Happening.FIRED and np.isnan(first[event.rule_id][f]):
                first[event.rule_id][f] = number
    for rule in rules:
        counted = places[~loud[rule.rule_id][places]]
        yield Delays(drift.name, rule.rule_id, segment, first[rule.rule_id][counted])

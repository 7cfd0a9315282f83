"""The alerting engine: one closed window, the rules of its model, where they stood, and what fires or resolves.

A subject, that is a feature (or the model) under a rule, goes ok → pending → firing → recovering → resolved. A
window counts once, when it is first judged: later verdicts of it, or of rows that were judged already, change
nothing. Without a verdict nothing changes either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from driftline.core.alert_states import LOUD, Standing, States, fit_states
from driftline.core.alert_window import JudgedWindow
from driftline.core.breaches import Breaches, find_usable, measure_breaches
from driftline.core.rule_metric import Kind
from driftline.core.rules import MODEL_LEVEL, Comparison, Rule, Severity, match_features
from driftline.core.window import Window


class Happening(StrEnum):
    """What happened to an alert."""

    FIRED = "fired"
    RESOLVED = "resolved"
    ENDED = "ended"  # the rule was deleted, or does not watch the subject any more


@dataclass(frozen=True, slots=True)
class Event:
    """An alert that fired or ended. Rule, model, version, segment, feature and `opened` name the alert.

    `opened` is the end of the window that fired it, `at` when it was judged, microseconds. `value` was compared
    with `threshold` in the last of `windows`, those that led here: NaN and none when the alert ended
    without a verdict. `worst` is the feature that the value is of, when the rule watches a model's worst one.
    """

    happening: Happening
    rule_id: str
    model_id: str
    model_version: str
    segment: str
    feature: str
    opened: int
    metric: str
    severity: Severity
    value: float
    threshold: float
    windows: tuple[Window, ...]
    worst: str
    at: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """The new states by `rule_id`, and what fired or resolved, in order of rules and features."""

    states: Mapping[str, States]
    events: tuple[Event, ...]


# From each standing: without a verdict, with one that does not lead on, one that does, and the last one needed.
_NEXT = np.array(
    [
        [Standing.OK, Standing.OK, Standing.PENDING, Standing.FIRING],
        [Standing.PENDING, Standing.OK, Standing.PENDING, Standing.FIRING],
        [Standing.FIRING, Standing.FIRING, Standing.RECOVERING, Standing.RESOLVED],
        [Standing.RECOVERING, Standing.FIRING, Standing.RECOVERING, Standing.RESOLVED],
        [Standing.RESOLVED, Standing.RESOLVED, Standing.PENDING, Standing.FIRING],
    ],
    np.int8,
)
_WHOLE: tuple[str, ...] = (MODEL_LEVEL,)


def judge_window(rules: Sequence[Rule], states: Mapping[str, States], window: JudgedWindow, now: int) -> Judgement:
    """Judge a window by the rules that apply to it (`select_rules`), from the states that they were in.

    Rules without states begin now. The same call gives the same answer, so a transaction can be tried again.

    >>> from driftline.core.rules import Comparison, Rule
    >>> rule = Rule("silent", "volume", Comparison.BELOW, 1, consecutive_windows=1)
    >>> window = JudgedWindow("fraud", "3", Window(0, 10), 0, totals={"volume": 0})
    >>> first = judge_window([rule], {}, window, now=12)
    >>> [(event.happening.value, event.value) for event in first.events]
    [('fired', 0.0)]
    >>> judge_window([rule], first.states, window, now=15).events  # the window has been judged
    ()
    """
    usable = {kind: find_usable(kind, window.status) for kind in (Kind.DRIFT, Kind.QUALITY)}
    after: dict[str, States] = {}
    events: list[Event] = []
    for rule in rules:
        after[rule.rule_id], happened = _judge_rule(rule, states.get(rule.rule_id), window, usable, now)
        events += happened
    return Judgement(after, tuple(events))


def end_alerts(
    rule: Rule, states: States, model_id: str, version: str, segment: str, now: int
) -> tuple[Event, ...]:
    """End the open alerts of a rule that is deleted, or no longer applies to a segment of a version."""
    places = np.flatnonzero(states.loud)
    return tuple(_end(rule, states, int(i), (model_id, version, segment), now) for i in places)


def _judge_rule(
    rule: Rule, states: States | None, window: JudgedWindow, usable: Mapping[Kind, NDArray[np.bool_]], now: int
) -> tuple[States, list[Event]]:
    if rule.feature == MODEL_LEVEL:
        places, names = np.empty(0, np.intp), _WHOLE
    elif window.features:
        places = match_features(rule.feature, window.features)
        names = window.features if len(places) == len(window.features) else _name(window.features, places)
    else:  # labels only: this says nothing of features
        return fit_states(states, rule, () if states is None else states.features), []
    events = _end_unwatched(rule, states, names, window, now)
    before = fit_states(states, rule, names)
    kind = rule.watched.kind
    breaches = measure_breaches(rule, window, places, usable.get(kind, usable[Kind.DRIFT]), before.history)
    if breaches is None:
        return before, events
    start = window.window.start if kind is Kind.TRAFFIC else window.pool_start
    judged = breaches.judged & (start >= before.judged_until)
    if not judged.any():
        return before, events
    after, finished = _advance(rule, before, breaches, judged, Window(start, window.window.end))
    return after, events + [_say(rule, after, breaches, int(i), window, now) for i in np.flatnonzero(finished)]


def _advance(
    rule: Rule, states: States, breaches: Breaches, judged: NDArray[np.bool_], window: Window
) -> tuple[States, NDArray[np.bool_]]:
    """Take every judged subject on; the finished ones [S] have fired or resolved."""
    loud = (states.standing == Standing.FIRING) | (states.standing == Standing.RECOVERING)
    onward = judged & np.where(loud, breaches.clear, breaches.breached)
    streak = np.where(onward, states.streak + 1, np.where(judged, 0, states.streak)).astype(np.int32)
    needed = np.where(loud, rule.recover_windows, rule.consecutive_windows)
    finished = onward & (streak >= needed)
    standing = _NEXT[states.standing, judged.astype(np.int8) + onward + finished]
    trail = states.trail
    if len(moved := np.flatnonzero(onward)):
        trail = trail.copy()
        trail[moved, streak[moved] - 1] = window.start, window.end
    history = states.history
    if rule.comparison is Comparison.OUTSIDE_BAND:
        history = _remember(history, breaches.value, judged & ~breaches.breached)
    after = States(
        features=states.features,
        standing=standing,
        streak=np.where(finished, 0, streak).astype(np.int32),
        since=np.where(standing != states.standing, window.end, states.since),
        opened=np.where(finished & ~loud, window.end, states.opened),
        judged_until=np.where(judged, window.end, states.judged_until),
        trail=trail,
        history=history,
    )
    return after, finished


def _remember(
    history: NDArray[np.float64], value: NDArray[np.float64], which: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Append numbers; what is outside the band stays out of it, so that the band does not follow an incident."""
    history = history.copy()
    history[which, :-1] = history[which, 1:]
    history[which, -1] = value[which]
    return history


def _say(rule: Rule, states: States, breaches: Breaches, i: int, window: JudgedWindow, now: int) -> Event:
    fired = states.standing[i] == Standing.FIRING
    count = rule.consecutive_windows if fired else rule.recover_windows
    return Event(
        happening=Happening.FIRED if fired else Happening.RESOLVED,
        rule_id=rule.rule_id,
        model_id=window.model_id,
        model_version=window.model_version,
        segment=window.segment,
        feature=states.features[i],
        opened=int(states.opened[i]),
        metric=rule.metric,
        severity=rule.severity,
        value=float(breaches.value[i]),
        threshold=float(breaches.threshold[i]),
        windows=tuple(Window(int(start), int(end)) for start, end in states.trail[i, :count]),
        worst=breaches.worst,
        at=now,
    )


def _end_unwatched(
    rule: Rule, states: States | None, names: tuple[str, ...], window: JudgedWindow, now: int
) -> list[Event]:
    if states is None or states.features == names:
        return []
    gone = np.isin(states.standing, LOUD) & ~np.isin(states.features, names)
    whose = (window.model_id, window.model_version, window.segment)
    return [_end(rule, states, int(i), whose, now) for i in np.flatnonzero(gone)]


def _end(rule: Rule, states: States, i: int, whose: tuple[str, str, str], now: int) -> Event:
    model_id, version, segment = whose
    return Event(
        happening=Happening.ENDED,
        rule_id=rule.rule_id,
        model_id=model_id,
        model_version=version,
        segment=segment,
        feature=states.features[i],
        opened=int(states.opened[i]),
        metric=rule.metric,
        severity=rule.severity,
        value=np.nan,
        threshold=np.nan,
        windows=(),
        worst="",
        at=now,
    )


def _name(features: tuple[str, ...], places: NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(features[i] for i in places)

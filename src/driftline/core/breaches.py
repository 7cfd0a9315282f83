"""Which subjects of a rule are breached in a window, all at once, and which are fine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.core.alert_window import Floats, JudgedWindow
from driftline.core.drift import FALSE_DISCOVERY_RATE, Status
from driftline.core.rule_metric import Kind, Metric
from driftline.core.rules import MODEL_LEVEL, Comparison, Measure, Rule

MIN_BAND = 8
"""Windows that a band needs."""
LEAST_HALF_BAND = 0.01
"""The least half width of a band, as a share of its mean: a constant number has a band, too."""
NATURAL_MARGIN = 2.0
"""How many times its natural variation a number must be to breach.

One window in a thousand exceeds that variation by itself. As variation lasts for hours, so do the next ones: with
a reference of 28 days three in a row came 50 times as often as they do now (benchmarks/false_alarms.py).
"""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Breaches:
    """What a window says of the S subjects of a rule; each array is [S].

    `judged` tells where there is a verdict; of those, `breached` ones are beyond the threshold, `clear` ones
    within the recover threshold, and others between the two. `threshold` is what the number was compared with.
    `worst` is the feature that a metric of features is taken from at model level, else ''.
    """

    judged: Bools
    breached: Bools
    clear: Bools
    value: Floats
    threshold: Floats
    worst: str = ""


@dataclass(frozen=True, slots=True)
class _Numbers:
    value: Floats
    baseline: Floats
    judged: Bools
    places: NDArray[np.intp]


def measure_breaches(
    rule: Rule, window: JudgedWindow, places: NDArray[np.intp], usable: Bools, history: Floats
) -> Breaches | None:
    """Judge the features at `places` [S] (none at model level); None when the window says nothing of the metric.

    `usable` [F] tells of which features the window has enough to say. `history` [S, N] are the last numbers.
    """
    metric = rule.watched
    if not _is_told(rule, metric, window):
        return None
    numbers = _read_model(rule, metric, window, usable) if rule.feature == MODEL_LEVEL else None
    if numbers is None:
        numbers = _read_features(metric, window, places, usable)
    excess, limit, recover, threshold = _compare(rule, metric, window, numbers, history)
    judged = numbers.judged & ~np.isnan(numbers.value)
    if rule.comparison is not Comparison.OUTSIDE_BAND:  # without a band yet, the number still becomes part of it
        judged &= ~np.isnan(excess) & ~np.isnan(limit)
    breached, clear = excess > limit, excess <= recover
    if rule.needs_significance:
        known, significant = _test(metric, window, numbers)
        judged, breached, clear = judged & known, breached & significant, clear | ~significant
    worst = window.features[numbers.places[0]] if rule.feature == MODEL_LEVEL and len(numbers.places) else ""
    return Breaches(judged, breached & judged, clear & judged, numbers.value, threshold, worst)


def find_usable(kind: Kind, status: NDArray[np.object_]) -> Bools:
    """Tell which features have enough rows for a metric of the kind [F]."""
    usable = status == Status.OK
    return np.asarray(usable | (status == Status.NO_REFERENCE) if kind is Kind.QUALITY else usable, np.bool_)


def _is_told(rule: Rule, metric: Metric, window: JudgedWindow) -> bool:
    """Tell whether the window can have a verdict of the metric at all."""
    if metric.column not in (window.columns if metric.by_feature else window.totals):
        return False
    if metric.kind is Kind.TRAFFIC:
        return window.window_status not in (Status.PARTIAL, Status.FAILED)
    if metric.kind is Kind.LABELS and rule.min_maturity > 0 and not window.maturity >= rule.min_maturity:
        return False
    if metric.kind is Kind.SHARE and window.window_status != Status.OK:
        return False
    return rule.min_samples == 0 or window.n_eff >= rule.min_samples


def _read_features(metric: Metric, window: JudgedWindow, places: NDArray[np.intp], usable: Bools) -> _Numbers:
    value = np.asarray(window.columns[metric.column][places], np.float64)
    baseline = np.broadcast_to(window.baselines.get(metric.column, np.nan), len(window.features))[places]
    return _Numbers(value, baseline, usable[places], places)


def _read_model(rule: Rule, metric: Metric, window: JudgedWindow, usable: Bools) -> _Numbers:
    if metric.by_feature:
        every = _read_features(metric, window, np.arange(len(window.features)), usable)
        return _pick_worst(rule, every)
    value = np.array([window.totals[metric.column]], np.float64)
    baseline = np.array([window.baselines.get(metric.column, np.nan)], np.float64)
    return _Numbers(value, baseline, np.ones(1, np.bool_), np.empty(0, np.intp))


def _pick_worst(rule: Rule, every: _Numbers) -> _Numbers:
    """Take the feature whose rate is the worst one, or has risen most."""
    badness = every.value - every.baseline if rule.comparison is Comparison.DROP_FROM_BASELINE else every.value
    badness = -badness if rule.comparison is Comparison.BELOW else badness
    badness = np.where(every.judged & ~np.isnan(badness), badness, -np.inf)
    if not len(badness) or badness.max() == -np.inf:
        nothing = np.full(1, np.nan)
        return _Numbers(nothing, nothing, np.zeros(1, np.bool_), np.empty(0, np.intp))
    worst = np.array([badness.argmax()])
    return _Numbers(every.value[worst], every.baseline[worst], every.judged[worst], every.places[worst])


def _compare(
    rule: Rule, metric: Metric, window: JudgedWindow, numbers: _Numbers, history: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Give [S] how bad the number is, the limits of that for a breach and to recover, and that of the number."""
    value = numbers.value
    limit, recover = np.full(len(value), rule.threshold), np.full(len(value), rule.recover_threshold)
    if rule.comparison is Comparison.BELOW:
        return -value, -limit, -recover, limit
    if rule.comparison is Comparison.DROP_FROM_BASELINE:
        return _compare_baseline(rule, metric, numbers, limit, recover)
    if rule.comparison is Comparison.OUTSIDE_BAND:
        mean, half = _measure_band(history)
        limit, recover = limit * half, recover * half
        return np.abs(value - mean), limit, recover, mean + np.where(value < mean, -limit, limit)
    if rule.comparison is Comparison.ABOVE_NATURAL and rule.metric in window.natural:
        natural = NATURAL_MARGIN * window.natural[rule.metric][numbers.places]
        limit, recover = np.fmax(limit, natural), np.fmax(recover, natural)
    return value, limit, recover, limit


def _compare_baseline(
    rule: Rule, metric: Metric, numbers: _Numbers, limit: Floats, recover: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    value, baseline = numbers.value, numbers.baseline
    if _is_signed(metric):
        value, baseline = np.abs(value), np.abs(baseline)
    if rule.measure is Measure.SHARE:
        limit, recover = limit * np.abs(baseline), recover * np.abs(baseline)
    sign = 1.0 if metric.higher_is_worse else -1.0
    return sign * (value - baseline), limit, recover, baseline + sign * limit


def _measure_band(history: Floats) -> tuple[Floats, Floats]:
    """Give [S] the mean and the standard error of prediction of the next number, NaN with too few.

    That is s·√(1 + 1/n), with the sample's standard deviation s.
    """
    known = ~np.isnan(history)
    count = known.sum(axis=1)
    enough = np.maximum(count, 2)
    filled = np.where(known, history, 0.0)
    mean = filled.sum(axis=1) / enough
    squares = (np.where(known, filled - mean[:, None], 0.0) ** 2).sum(axis=1)
    half = np.sqrt(squares / (enough - 1) * (1 + 1 / enough))
    half = np.maximum(half, LEAST_HALF_BAND * np.abs(mean))
    return np.where(count >= MIN_BAND, mean, np.nan), half


def _test(metric: Metric, window: JudgedWindow, numbers: _Numbers) -> tuple[Bools, Bools]:
    """Tell [S] where significance is known, and where a breach is significant."""
    if metric.kind is Kind.DRIFT:
        if "qvalue" not in window.columns:
            return np.zeros(len(numbers.value), np.bool_), np.zeros(len(numbers.value), np.bool_)
        qvalue = window.columns["qvalue"][numbers.places]
        return ~np.isnan(qvalue), qvalue < FALSE_DISCOVERY_RATE
    lower, upper = window.intervals.get(metric.column, (np.nan, np.nan))
    baseline = numbers.baseline
    if _is_signed(metric):
        beyond = (lower > np.abs(baseline)) | (upper < -np.abs(baseline))
    else:
        beyond = lower > baseline if metric.higher_is_worse else upper < baseline
    return np.full(len(baseline), not (np.isnan(lower) or np.isnan(upper))), np.asarray(beyond)


def _is_signed(metric: Metric) -> bool:
    """Tell whether the size counts, whatever the sign: of the bias."""
    return metric.name.endswith("_bias")

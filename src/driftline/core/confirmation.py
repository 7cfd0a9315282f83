"""Early warnings and what became of them: was there an alarm, and did the labels bear it out?

Besides the estimates there are two proxies, monitored like features: the prediction confidence (`__score__`) and
the class ratio (`__prediction__`). A verdict of any of them is a claim about the performance of the window,
which the labels confirm or refute later, or leave undecided.
"""

from collections.abc import Sequence
from enum import StrEnum

from driftline.core.bands import Bands, Verdict
from driftline.core.drift import Status
from driftline.core.performance import Performance, better_is_lower
from driftline.core.schema import PREDICTION, SCORE

PROXIES = {"prediction_confidence": SCORE, "class_ratio": PREDICTION}
"""What each proxy is called, and what it is as a feature."""

_ALARMS = (Verdict.WORSE, Verdict.CHANGED)


class Confirmation(StrEnum):
    """What the labels say of a verdict."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


def judge_proxy(status: str, *, drifted: bool) -> Verdict:
    """Give the verdict of a proxy from what is said of it as a feature: `changed` where it has drifted.

    >>> judge_proxy("ok", drifted=True), judge_proxy("pooling", drifted=False)
    (<Verdict.CHANGED: 'changed'>, <Verdict.UNKNOWN: 'unknown'>)
    """
    if status not in (Status.OK, Status.PARTIAL):
        return Verdict.UNKNOWN
    return Verdict.CHANGED if drifted else Verdict.WITHIN


def confirm_verdicts(
    verdicts: Sequence[Verdict], performance: Performance, bands: Bands
) -> tuple[Confirmation, ...]:
    """Hold verdicts [k] on the metrics of `bands` against what was measured when the labels had come.

    `worse` and `changed` claim that the metric is outside of its band on the bad side, other verdicts that it is
    not. The labels show that it is outside where the measured value is and its interval does not hold the band's
    middle; that it is not where the whole interval is on the good side of that end of the band. Everything else is
    undecided, as is a claim that was never made (`unknown`). A proxy's one verdict is given k times.

    >>> import numpy as np
    >>> performance = Performance(
    ...     ("roc_auc",), np.array([0.71]), np.array([0.67]), np.array([0.75]), 900, 900.0, ("ok",)
    ... )
    >>> band = np.array([0.80]), np.array([0.02])
    >>> bands = Bands(("roc_auc",), *band, *band, rows=900, windows=30, drawn=False)
    >>> confirm_verdicts([Verdict.WORSE], performance, bands)
    (<Confirmation.CONFIRMED: 'confirmed'>,)
    """
    low, high = bands.limits(performance.n_eff)
    confirmed = []
    for k, (verdict, name) in enumerate(zip(verdicts, bands.names, strict=True)):
        at = performance.names.index(name)
        value, lower, upper = performance.values[at], performance.lower[at], performance.upper[at]
        if better_is_lower(name):
            bad, good = value > high[k] and lower > bands.means[k], upper <= high[k]
        else:
            bad, good = value < low[k] and upper < bands.means[k], lower >= low[k]
        confirmed.append(_confirm(verdict, bad=bool(bad), good=bool(good)))
    return tuple(confirmed)


def _confirm(verdict: Verdict, *, bad: bool, good: bool) -> Confirmation:
    if verdict is Verdict.UNKNOWN or not (bad or good):
        return Confirmation.UNDECIDED
    return Confirmation.CONFIRMED if (verdict in _ALARMS) == bad else Confirmation.REFUTED

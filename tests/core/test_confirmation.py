"""Confirmation: labels bear an early warning out, or do not, or cannot tell."""

from dataclasses import replace

import numpy as np
import pytest

from driftline.core.bands import Bands, Verdict
from driftline.core.confirmation import Confirmation, confirm_verdicts, judge_proxy
from driftline.core.drift import Status
from driftline.core.performance import Performance

BAND = np.array([0.80, 2.0]), np.array([0.02, 0.1])
BANDS = Bands(("roc_auc", "rmse"), *BAND, *BAND, rows=1_000, windows=30, drawn=False)


def measured(lower: float, value: float, upper: float, rmse: tuple[float, float, float]) -> Performance:
    numbers = np.array([[lower, value, upper], rmse]).T
    return Performance(("roc_auc", "rmse"), numbers[1], numbers[0], numbers[2], 1_000, 1_000.0, ("ok", "ok"))


WELL = measured(0.76, 0.79, 0.82, (1.9, 2.0, 2.1))
FALLEN = measured(0.66, 0.70, 0.74, (2.4, 2.5, 2.6))
ROSE = measured(0.88, 0.90, 0.92, (1.2, 1.3, 1.4))
UNSURE = measured(0.70, 0.76, 0.82, (1.8, 2.1, 2.5))
WIDE = measured(0.60, 0.72, 0.84, (1.5, 2.4, 3.9))
MISSING = measured(np.nan, np.nan, np.nan, (np.nan,) * 3)


@pytest.mark.parametrize(
    ("verdict", "performance", "confirmation"),
    [
        (Verdict.WORSE, FALLEN, "confirmed"),
        (Verdict.WORSE, WELL, "refuted"),
        (Verdict.WORSE, ROSE, "refuted"),
        (Verdict.CHANGED, FALLEN, "confirmed"),
        (Verdict.CHANGED, WELL, "refuted"),
        (Verdict.WITHIN, WELL, "confirmed"),
        (Verdict.WITHIN, FALLEN, "refuted"),
        (Verdict.BETTER, ROSE, "confirmed"),
        (Verdict.BETTER, FALLEN, "refuted"),
        (Verdict.UNKNOWN, FALLEN, "undecided"),
        (Verdict.WORSE, UNSURE, "undecided"),
        (Verdict.WITHIN, UNSURE, "undecided"),
        (Verdict.WORSE, WIDE, "undecided"),
        (Verdict.WITHIN, WIDE, "undecided"),
        (Verdict.WORSE, MISSING, "undecided"),
        (Verdict.WITHIN, MISSING, "undecided"),
    ],
)
def test_labels_confirm_and_refute(verdict: Verdict, performance: Performance, confirmation: str) -> None:
    assert confirm_verdicts([verdict] * 2, performance, BANDS) == (Confirmation(confirmation),) * 2


def test_without_a_band_nothing_is_decided() -> None:
    bands = replace(BANDS, means=np.full(2, np.nan), deviations=np.full(2, np.nan))
    assert set(confirm_verdicts([Verdict.WORSE] * 2, FALLEN, bands)) == {Confirmation.UNDECIDED}


def test_in_a_small_window_the_band_is_wider() -> None:
    assert confirm_verdicts([Verdict.WORSE] * 2, replace(FALLEN, n_eff=50.0), BANDS) == (Confirmation.REFUTED,) * 2


@pytest.mark.parametrize(
    ("status", "drifted", "verdict"),
    [
        (Status.OK, True, Verdict.CHANGED),
        (Status.OK, False, Verdict.WITHIN),
        (Status.PARTIAL, True, Verdict.CHANGED),
        (Status.TOO_FEW, False, Verdict.UNKNOWN),
        (Status.NO_REFERENCE, False, Verdict.UNKNOWN),
    ],
)
def test_a_proxy_has_the_verdict_of_its_feature(status: Status, drifted: bool, verdict: Verdict) -> None:
    assert judge_proxy(status, drifted=drifted) is verdict

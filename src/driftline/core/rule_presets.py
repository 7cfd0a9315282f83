"""Presets: the rules that a new model starts with, quiet, as recommended, or sensitive.

They watch the model as a whole. Of single features they watch the prediction, the score, and those that are named.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from driftline.core.performance import MAIN_METRIC
from driftline.core.rule_metric import PERFORMANCE
from driftline.core.rules import Comparison, Measure, Rule, Severity
from driftline.core.schema import PREDICTION, SCORE, Task


class Preset(StrEnum):
    """How easily a model's rules fire."""

    QUIET = "quiet"
    DEFAULT = "default"
    SENSITIVE = "sensitive"


# What differs: thresholds by rule for quiet, default and sensitive, and the windows in a row. The usual threshold,
# 0.2, is for a PSI that has its noise in it: in 50 bins and a window of 1,000 rows that is 0.15 without.
_THRESHOLDS = {
    "drifted_share": (0.5, 0.3, 0.15),
    "output_drift": (0.3, 0.15, 0.1),
    "feature_drift": (0.3, 0.15, 0.1),
    "missing": (0.5, 0.3, 0.1),
    "performance": (0.2, 0.1, 0.05),
    "no_data": (1, 1, 1),
}
_WINDOWS = {"no_data": (3, 3, 2)}
_USUAL_WINDOWS = (6, 3, 2)
_RULES: dict[str, dict[str, Any]] = {
    "drifted_share": {"metric": "drifted_share", "comparison": Comparison.ABOVE, "severity": Severity.HIGH},
    "output_drift": {"metric": "psi", "comparison": Comparison.ABOVE_NATURAL, "severity": Severity.HIGH},
    "feature_drift": {"metric": "psi", "comparison": Comparison.ABOVE_NATURAL, "severity": Severity.MEDIUM},
    "missing": {"metric": "missing_rate", "comparison": Comparison.DROP_FROM_BASELINE, "severity": Severity.HIGH},
    "performance": {
        "comparison": Comparison.DROP_FROM_BASELINE,
        "measure": Measure.SHARE,
        "severity": Severity.CRITICAL,
    },
    "no_data": {"metric": "volume", "comparison": Comparison.BELOW, "severity": Severity.CRITICAL},
}


def make_preset(
    preset: Preset, model: str, *, outputs: Sequence[str], features: Sequence[str] = (), task: Task | None = None
) -> tuple[Rule, ...]:
    """Make the rules of a preset for a model.

    `outputs` are those of `__prediction__` and `__score__` that the model has, `features` the inputs to watch by
    themselves; the performance is watched where the `task` is known.

    >>> [rule.rule_id for rule in make_preset(Preset.DEFAULT, "fraud", outputs=("__score__",), task=Task.BINARY)]
    ['fraud.drifted_share', 'fraud.missing', 'fraud.no_data', 'fraud.score_drift', 'fraud.performance']
    """
    names = {PREDICTION: "prediction_drift", SCORE: "score_drift"}
    rules = [_make(preset, each, model, each) for each in ("drifted_share", "missing", "no_data")]
    rules += [_make(preset, "output_drift", model, names[output], feature=output) for output in outputs]
    for feature in features:
        rules.append(_make(preset, "feature_drift", model, f"drift.{feature}", feature=feature))
        rules.append(_make(preset, "missing", model, f"missing.{feature}", feature=feature))
    if task is not None:
        metric = f"{PERFORMANCE}{MAIN_METRIC[task]}"
        rules.append(_make(preset, "performance", model, "performance", metric=metric))
    return tuple(rules)


def _make(preset: Preset, kind: str, model: str, name: str, **more: Any) -> Rule:
    place = tuple(Preset).index(preset)
    windows = _WINDOWS.get(kind, _USUAL_WINDOWS)[place]
    return Rule(
        rule_id=f"{model}.{name}",
        model=model,
        threshold=_THRESHOLDS[kind][place],
        consecutive_windows=windows,
        recover_windows=windows,
        **_RULES[kind],
        **more,
    )

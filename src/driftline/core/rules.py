"""Rules: which number of which model, feature and segment is wrong, for how long, and whom it concerns.

Names match whole: of models, features and segments also by glob (`*`, `?`, `[abc]`). A glob of features means the
model's inputs; `__prediction__` and `__score__` are watched where they are named.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase, translate
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from driftline.core.rule_metric import Kind, Metric, find_metric
from driftline.core.schema import PREDICTION, SCORE

MODEL_LEVEL = ""
"""The feature of a rule that watches the model as a whole."""


class Comparison(StrEnum):
    """What is wrong about a number."""

    ABOVE = "above"  # it is above the threshold
    BELOW = "below"  # it is below the threshold
    DROP_FROM_BASELINE = "drop_from_baseline"  # it is worse than the reference's by more than the threshold
    OUTSIDE_BAND = "outside_band"  # so many standard deviations from the mean of the last windows
    ABOVE_NATURAL = "above_natural"  # above the threshold, and far above the feature's natural variation


class Measure(StrEnum):
    """What the threshold of `drop_from_baseline` counts."""

    AMOUNT = "amount"
    SHARE = "share"  # of the baseline


class Severity(StrEnum):
    """How bad it is, worst first."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; docs/alerts.md explains each field. `read_rules` checks what it makes, this class does not.

    >>> rule = Rule("score", metric="psi", comparison=Comparison.ABOVE, threshold=0.2, feature="__score__")
    >>> rule.consecutive_windows, rule.recover_windows, round(rule.recover_threshold, 3)
    (3, 3, 0.18)
    """

    rule_id: str
    metric: str
    comparison: Comparison
    threshold: float
    model: str = "*"
    version: str = "*"
    feature: str = MODEL_LEVEL
    segment: str = ""
    reference_kind: str = "training"
    measure: Measure = Measure.AMOUNT
    band_windows: int = 24
    consecutive_windows: int = 3
    recover_windows: int = 3
    min_samples: float = 0
    min_maturity: float = 0.8
    require_significance: bool = True
    severity: Severity = Severity.MEDIUM
    actions: tuple[str, ...] = ()
    owner: str = ""
    runbook: str = ""

    @property
    def watched(self) -> Metric:
        """The metric."""
        return find_metric(self.metric)

    @property
    def recover_threshold(self) -> float:
        """Where the number must be to recover: a tenth of the threshold on the safe side of it."""
        step = abs(self.threshold) / 10
        return self.threshold + step if self.comparison is Comparison.BELOW else self.threshold - step

    @property
    def needs_significance(self) -> bool:
        """Whether a breach must be significant, too: drift, and a drop of performance."""
        kind = self.watched.kind
        measured = self.watched.column != "label_coverage" and kind in (Kind.LABELS, Kind.ESTIMATE)
        dropped = measured and self.comparison is Comparison.DROP_FROM_BASELINE
        return self.require_significance and (kind is Kind.DRIFT or dropped)

    def watches_model(self, model_id: str) -> bool:
        """Tell whether the rule watches anything of a model."""
        return _matches(self.model, model_id)

    def watches(self, model_id: str, version: str) -> bool:
        """Tell whether the rule watches anything of a model version."""
        return self.watches_model(model_id) and _matches(self.version, version)

    def applies(self, model_id: str, version: str, segment: str, reference_kind: str) -> bool:
        """Tell whether the rule watches a segment of a model version; `segment` `*` means all but the whole.

        >>> rule = Rule("r", "volume", Comparison.BELOW, 1, model="fraud-*", segment="country=*")
        >>> rule.applies("fraud-eu", "3", "country=DE", "training"), rule.applies("fraud-eu", "3", "", "training")
        (True, False)
        """
        return (
            self.watches(model_id, version)
            and (self.segment == segment or (segment != "" and _matches(self.segment, segment)))
            and self.reference_kind == reference_kind
        )


def match_features(pattern: str, features: tuple[str, ...]) -> NDArray[np.intp]:
    """Give the positions of the features that a name or glob means, in order.

    >>> match_features("amount*", ("amount", "country", "amount_eur", "__score__")).tolist()
    [0, 2]
    >>> match_features("*", ("amount", "__score__")).tolist(), match_features("__score__", ("__score__",)).tolist()
    ([0], [0])
    """
    return _match(pattern, features)


def select_rules(
    rules: Iterable[Rule], model_id: str, version: str, segment: str, reference_kind: str
) -> tuple[Rule, ...]:
    """Select the rules that watch a segment of a model version."""
    return tuple(rule for rule in rules if rule.applies(model_id, version, segment, reference_kind))


@lru_cache(maxsize=8192)
def _match(pattern: str, features: tuple[str, ...]) -> NDArray[np.intp]:
    if pattern in features:
        places = [features.index(pattern)]
    else:
        fits = re.compile(translate(pattern)).match
        places = [i for i, name in enumerate(features) if name not in (PREDICTION, SCORE) and fits(name)]
    found = np.array(places, np.intp)
    found.flags.writeable = False  # it is kept
    return found


def _matches(pattern: str, name: str) -> bool:
    return pattern in ("*", name) or fnmatchcase(name, pattern)

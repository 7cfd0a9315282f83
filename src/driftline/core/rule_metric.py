"""What rules may watch: each metric, where its numbers lie, and which direction is worse."""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from driftline.core.errors import InvalidInput
from driftline.core.performance import better_is_lower

PERFORMANCE, ESTIMATED = "performance_", "estimated_"


class Kind(StrEnum):
    """What a metric says, and so when a window has a verdict of it."""

    DRIFT = "drift"  # of a feature: needs enough rows on both sides, and significance
    QUALITY = "quality"  # of a feature, or of the worst one of a model: needs enough rows
    SHARE = "share"  # of a model: needs the verdicts of its features
    TRAFFIC = "traffic"  # of a model: every closed window says it, the small ones most of all
    LABELS = "labels"  # of a model: needs mature labels
    ESTIMATE = "estimate"  # of a model: needs no labels
    SYSTEM = "system"  # of a part of driftline itself, which stands for the feature
    VERSION = "version"  # of a model version: what it needs to be watched, and lacks


OF_PERFORMANCE = (Kind.LABELS, Kind.ESTIMATE)
"""The kinds that are measured when labels come, and not when a window closes."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that rules may watch; `column` is its name among the numbers of a window.

    `higher_is_worse` tells what a drop from the baseline is: of those metrics it is a rise.
    """

    name: str
    column: str
    kind: Kind
    higher_is_worse: bool

    @property
    def by_feature(self) -> bool:
        """Whether features have it."""
        return self.kind in (Kind.DRIFT, Kind.QUALITY, Kind.SYSTEM)

    @property
    def by_model(self) -> bool:
        """Whether a model has it."""
        return self.kind not in (Kind.DRIFT, Kind.SYSTEM)

    @property
    def is_pvalue(self) -> bool:
        """Whether a small number means drift."""
        return self.name.endswith("_pvalue")


METRICS = {
    metric.name: metric
    for metric in (
        Metric("psi", "psi_score", Kind.DRIFT, True),
        Metric("psi_raw", "psi_raw", Kind.DRIFT, True),
        Metric("ks", "ks_statistic", Kind.DRIFT, True),
        Metric("ks_pvalue", "ks_pvalue", Kind.DRIFT, False),
        Metric("js", "js", Kind.DRIFT, True),
        Metric("kl", "kl", Kind.DRIFT, True),
        Metric("wasserstein", "wasserstein", Kind.DRIFT, True),
        Metric("chi2_pvalue", "chi2_pvalue", Kind.DRIFT, False),
        Metric("missing_rate", "missing_rate", Kind.QUALITY, True),
        Metric("new_category_rate", "never_seen_rate", Kind.QUALITY, True),
        Metric("out_of_range_rate", "out_of_range_rate", Kind.QUALITY, True),
        Metric("drifted_share", "drifted_share", Kind.SHARE, True),
        Metric("volume", "volume", Kind.TRAFFIC, False),
        Metric("data_age", "data_age", Kind.TRAFFIC, True),
        Metric("label_coverage", "label_coverage", Kind.LABELS, False),
        Metric("consumer_lag", "consumer_lag", Kind.SYSTEM, True),
        Metric("cycle_delay", "cycle_delay", Kind.SYSTEM, True),
        Metric("delivery_failures", "delivery_failures", Kind.SYSTEM, True),
        Metric("reference_missing", "reference_missing", Kind.VERSION, True),
        Metric("reference_outdated", "reference_outdated", Kind.VERSION, True),
        Metric("failed_windows", "failed_windows", Kind.VERSION, True),
    )
}
"""The metrics by name; beside them every model has `performance_<metric>` and `estimated_<metric>`."""


def find_metric(name: str) -> Metric:
    """Find a metric by name; InvalidInput suggests those of similar names.

    >>> find_metric("psi").column
    'psi_score'
    >>> find_metric("performance_rmse").higher_is_worse
    True
    >>> find_metric("psy")
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: there is no metric 'psy'; did you mean psi?
    """
    if metric := METRICS.get(name):
        return metric
    for prefix, kind in ((PERFORMANCE, Kind.LABELS), (ESTIMATED, Kind.ESTIMATE)):
        if name.startswith(prefix) and len(name) > len(prefix):
            return Metric(name, name, kind, better_is_lower(name.removeprefix(prefix)))
    known = [*METRICS, f"{PERFORMANCE}<metric>", f"{ESTIMATED}<metric>"]
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    fix = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(known)}"
    raise InvalidInput(f"there is no metric {name!r}; {fix}", field="metric")

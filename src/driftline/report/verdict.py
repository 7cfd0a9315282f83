"""The verdict of a comparison, in one sentence."""

from collections.abc import Sequence

from driftline.core.drift import Status
from driftline.report.feature import FeatureReport
from driftline.report.words import join_names, plural


def word_verdict(features: Sequence[FeatureReport], rows: tuple[int, int], min_samples: int) -> str:
    """Say what came out; `features` are ranked, `rows` those of the reference and of the current data."""
    judged = [feature for feature in features if feature.judged]
    if not judged:
        return f"No verdict: {_why_none(features, rows, min_samples)}."
    drifted = [feature.feature_name for feature in judged if feature.level == 2]
    moderate = [feature.feature_name for feature in judged if feature.level == 1]
    total = plural(len(features), "feature")
    if drifted:
        verdict = f"{len(drifted):,} of {total} drifted: {join_names(drifted)}."
    elif moderate:
        verdict = f"No drift, but {len(moderate):,} of {total} changed moderately: {join_names(moderate)}."
    else:
        verdict = f"No drift in {'the one feature' if len(judged) == 1 else plural(len(judged), 'feature')}."
    left = [feature.feature_name for feature in features if not feature.judged]
    return f"{verdict} No verdict on {join_names(left)}." if left else verdict


def word_status(feature: FeatureReport) -> str:
    """Name what came out for one feature, in a word or two."""
    return _STATUS.get(feature.status, str(feature.status)) if not feature.judged else _LEVEL[feature.level]


def _why_none(features: Sequence[FeatureReport], rows: tuple[int, int], min_samples: int) -> str:
    if not rows[1]:
        return "the current data have no rows"
    if any(feature.status is Status.TOO_FEW for feature in features):
        side, fewest = ("the reference", rows[0]) if rows[0] < min_samples else ("current data", rows[1])
        return f"only {plural(fewest, 'row')} of {side}, at least {min_samples:,} are needed"
    return "no feature has values on both sides"


_LEVEL = ("stable", "moderate", "drifted")
_STATUS = {
    Status.TOO_FEW: "too few rows",
    Status.MISSING: "no values",
    Status.NO_REFERENCE: "no reference",
}

"""From arrays over all features to one record a feature."""

import numpy as np
from numpy.typing import NDArray

from driftline.core.drift import DRIFT_METRICS, KS_LARGE, PSI_LARGE, Drift, NaturalVariation, Status
from driftline.core.profile import Profile
from driftline.core.schema import PREDICTION, SCORE
from driftline.core.summary import RATES
from driftline.report.distribution import describe_distribution
from driftline.report.feature import FeatureReport, Statistics
from driftline.report.inspection import Comparison
from driftline.report.quality import Side


def measure_features(both: Comparison, drift: Drift, natural: NaturalVariation | None) -> list[FeatureReport]:
    """Describe every feature; a model output that the reference does not have is none."""
    reference = both.reference
    psi = np.full(reference.grid.features, PSI_LARGE) if natural is None else np.maximum(PSI_LARGE, natural.psi[0])
    ks = np.full(reference.grid.features, KS_LARGE) if natural is None else np.maximum(KS_LARGE, natural.ks[0])
    numbers = {name: getattr(drift, name).tolist() for name in DRIFT_METRICS}
    numbers |= {name: getattr(both.after, name).tolist() for name in RATES}
    numbers |= {"psi_threshold": psi.tolist(), "ks_threshold": ks.tolist()}
    sides = [measure_side(both, side) for side in Side]
    units = {feature.name: feature.unit for feature in reference.schema.features}
    values = both.values(Side.REFERENCE)
    return [
        FeatureReport(
            feature_name=name,
            kind=both.kind[f],
            unit=units.get(name),
            status=Status(drift.status[f]),
            level=int(drift.level[f]),
            sample_count=round(sides[1][f].count),
            new_values=both.actual.new_values.get(f, {}),
            reference=sides[0][f],
            current=sides[1][f],
            distribution=describe_distribution(
                reference.grid, reference.profile, both.actual, f, both.kind[f], int(reference.distinct[f])
            ),
            **{name: of_feature[f] for name, of_feature in numbers.items()},
        )
        for f, name in enumerate(both.names)
        if values[f] or name not in (PREDICTION, SCORE)
    ]


def measure_side(both: Comparison, side: Side) -> list[Statistics]:
    """Describe one side of every feature by itself."""
    summary = both.before if side is Side.REFERENCE else both.after
    extremes = _pad_extremes(both, both.profile(side))
    distinct = both.reference.distinct.tolist() if side is Side.REFERENCE else [None] * len(both.names)
    return [
        Statistics(*numbers)
        for numbers in zip(
            summary.value_count.tolist(),
            summary.mean.tolist(),
            summary.std.tolist(),
            *extremes.tolist(),
            map(tuple, _without_dust(summary.percentiles, extremes).tolist()),
            summary.missing_rate.tolist(),
            summary.infinite_rate.tolist(),
            distinct,
            strict=True,
        )
    ]


def _pad_extremes(both: Comparison, profile: Profile) -> NDArray[np.float64]:
    extremes = np.full((2, both.reference.grid.features), np.nan)
    extremes[:, : both.reference.grid.numeric] = np.where(np.isfinite(profile.extremes), profile.extremes, np.nan)
    return extremes


def _without_dust(percentiles: NDArray[np.float64], extremes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make 0 what is next to 0: interpolated within [0, nextafter(0)) it is 1e-46."""
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(percentiles) < 1e-30 * np.abs(extremes).max(axis=0)[:, None], 0.0, percentiles)

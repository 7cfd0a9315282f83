"""What a report says about one feature."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from driftline.core.drift import Status
from driftline.core.schema import PREDICTION, SCORE, Kind
from driftline.core.summary import PERCENTILES


@dataclass(frozen=True, slots=True)
class Statistics:
    """One side of a feature by itself; NaN where a number does not apply.

    `count` is the number of rows with a value; `distinct` is known of the reference alone. `percentiles` are
    the 1st, 5th, 25th, 50th, 75th, 95th and 99th. Datetimes are seconds since the epoch.
    """

    count: float
    mean: float
    std: float
    min: float
    max: float
    percentiles: tuple[float, ...]
    missing_rate: float
    infinite_rate: float
    distinct: int | None = None

    @property
    def median(self) -> float:
        """The 50th percentile."""
        return self.percentiles[PERCENTILES.index(50)]

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form: NaN is None."""
        return {
            "count": int(self.count),
            "distinct": self.distinct,
            "mean": _clean(self.mean),
            "std": _clean(self.std),
            "min": _clean(self.min),
            "max": _clean(self.max),
            **{f"p{p}": _clean(value) for p, value in zip(PERCENTILES, self.percentiles, strict=True)},
            "missing_rate": _clean(self.missing_rate),
            "infinite_rate": _clean(self.infinite_rate),
        }


@dataclass(frozen=True, slots=True)
class Distribution:
    """Shares of both sides, bar by bar: between `edges` (of numbers), or one bar for each of `labels`.

    The outer bars between edges also hold what lies beyond them; their shares are of the rows with a value.
    Shares of labels are of all rows. The last `rest` of the labels name no values but what remains: other
    values, never seen ones, missing ones.
    """

    edges: tuple[float, ...]
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    rest: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form; shares with six decimals."""
        return {
            "edges": list(self.edges) or None,
            "labels": list(self.labels) or None,
            "reference": [round(share, 6) for share in self.reference],
            "current": [round(share, 6) for share in self.current],
        }


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """Drift of one feature; NaN where a number does not apply.

    `level` is 0, 1 or 2 for none, moderate and large; `drifted` is `level == 2`. `psi_threshold` and
    `ks_threshold` are what counts as large here: the general thresholds, raised to the feature's natural
    variation. `new_values` are categories that the reference never had, with their rows (at most 32).
    """

    feature_name: str
    kind: Kind
    unit: str | None
    status: Status
    level: int
    psi_score: float
    psi_raw: float
    psi_pvalue: float
    psi_threshold: float
    ks_statistic: float
    ks_pvalue: float
    ks_threshold: float
    chi2_statistic: float
    chi2_pvalue: float
    js: float
    kl: float
    linf: float
    wasserstein: float
    pvalue: float
    qvalue: float
    missing_rate: float
    infinite_rate: float
    out_of_range_rate: float
    never_seen_rate: float
    sample_count: int
    new_values: Mapping[str, int]
    reference: Statistics
    current: Statistics
    distribution: Distribution

    @property
    def drifted(self) -> bool:
        """Whether the feature has drifted: the effect is large, and no chance."""
        return self.level == 2

    @property
    def judged(self) -> bool:
        """Whether there is a verdict."""
        return self.status is Status.OK

    @property
    def lost(self) -> bool:
        """Whether the reference has values and the current data none any more."""
        return self.reference.count > 0 and self.current.count == 0

    @property
    def output(self) -> bool:
        """Whether this is what the model says, not what it sees."""
        return self.feature_name in (PREDICTION, SCORE)

    @property
    def effect(self) -> float:
        """How far beyond its thresholds: 1 is on the brink of large; 0 when there are no numbers."""
        effects = (self.psi_score / self.psi_threshold, self.ks_statistic / self.ks_threshold)
        return max((effect for effect in effects if not math.isnan(effect)), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form: NaN is None."""
        content = {name: getattr(self, name) for name in _SCALARS}
        return {
            "feature_name": self.feature_name,
            "kind": str(self.kind),
            "unit": self.unit,
            "drifted": self.drifted,
            "status": str(self.status),
            "level": self.level,
            **{name: _clean(value) for name, value in content.items()},
            "sample_count": self.sample_count,
            "new_values": dict(self.new_values),
            "reference": self.reference.to_dict(),
            "current": self.current.to_dict(),
            "distribution": self.distribution.to_dict(),
        }

    def to_row(self) -> dict[str, Any]:
        """Give a flat row of scalars, those of the two sides with their side's name before them."""
        row = self.to_dict()
        sides = {side: row.pop(side) for side in ("reference", "current")}
        del row["distribution"]
        row["new_values"] = ", ".join(self.new_values) or None
        return row | {f"{side}_{name}": value for side, values in sides.items() for name, value in values.items()}


def rank(features: list[FeatureReport]) -> tuple[FeatureReport, ...]:
    """Order features: most drifted first, above all those without any value; those without a verdict last."""
    return tuple(
        sorted(features, key=lambda f: (not f.judged, -f.level, not f.lost, -round(f.effect, 6), f.feature_name))
    )


_SCALARS = tuple(field.name for field in fields(FeatureReport) if field.type is float)


def _clean(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

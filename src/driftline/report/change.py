"""What changed in a feature, in a few plain words."""

import math

from driftline.core.schema import Kind
from driftline.report.feature import FeatureReport
from driftline.report.words import format_number, format_share, shorten

_MOST = 3
_NORMAL_QUARTILES = 1.349  # distance of a normal distribution's quartiles, in standard deviations


def describe_change(feature: FeatureReport) -> tuple[str, ...]:
    """Say what changed, most telling first: at most three phrases, none when nothing stands out."""
    if not feature.judged:
        return ()
    if feature.lost:
        return ("no values any more", *_describe_missing(feature))
    shape = _describe_shares(feature) if feature.distribution.labels else _describe_numbers(feature)
    new = _describe_new(feature)
    if 0.01 <= feature.out_of_range_rate < 0.2:  # the moved mean explains it
        shape, new = [*shape, *new], []
    return tuple([*_describe_missing(feature), *new, *shape][:_MOST])


def _describe_missing(feature: FeatureReport) -> list[str]:
    phrases = []
    for name in ("missing", "infinite"):
        before, after = (getattr(side, f"{name}_rate") for side in (feature.reference, feature.current))
        if abs(after - before) >= 0.02:
            phrases.append(f"{name} {format_share(before)} → {format_share(after)}")
    return phrases


def _describe_new(feature: FeatureReport) -> list[str]:
    if feature.never_seen_rate >= 0.01:
        names = sorted(feature.new_values, key=lambda name: (-feature.new_values[name], name))
        shown = ", ".join(f"‘{shorten(name, 20)}’" for name in names[:2])
        return [f"{format_share(feature.never_seen_rate)} never seen before: {shown}{' …' if names[2:] else ''}"]
    if feature.out_of_range_rate >= 0.01:
        return [f"{format_share(feature.out_of_range_rate)} beyond the reference’s range"]
    return []


def _describe_shares(feature: FeatureReport) -> list[str]:
    shown = feature.distribution
    bars = list(zip(shown.labels, shown.reference, shown.current, strict=True))
    bars = bars[: len(bars) - shown.rest]
    bars.sort(key=lambda bar: -abs(bar[2] - bar[1]))
    return [
        f"‘{shorten(label, 20)}’ {format_share(before)} → {format_share(after)}"
        for label, before, after in bars[:2]
        if abs(after - before) >= 0.02
    ]


def _describe_numbers(feature: FeatureReport) -> list[str]:
    before, after = feature.reference, feature.current
    phrases = []
    by_mean, by_median = _shift(after.mean - before.mean, before.std), _shift_of_median(feature)
    name, shift = ("mean", by_mean) if 2 * abs(by_mean) >= abs(by_median) else ("median", by_median)
    if abs(shift) >= 0.1:
        first, second = getattr(before, name), getattr(after, name)
        phrases.append(f"{name} {_write(feature, first)} → {_write(feature, second)}{_relate(feature, shift)}")
    if before.std > 0 and after.std > 0 and not 0.8 <= (ratio := after.std / before.std) <= 1.25:
        phrases.append(f"spread ×{ratio:.2g}")
    return phrases


def _shift_of_median(feature: FeatureReport) -> float:
    low, high = feature.reference.percentiles[2], feature.reference.percentiles[4]
    return _shift(feature.current.median - feature.reference.median, (high - low) / _NORMAL_QUARTILES)


def _shift(difference: float, spread: float) -> float:
    return difference / spread if math.isfinite(difference) and spread > 0 else 0.0


def _relate(feature: FeatureReport, shift: float) -> str:
    return "" if feature.kind is Kind.DATETIME else f" ({shift:+.1f} σ)".replace("-", "−")


def _write(feature: FeatureReport, value: float) -> str:
    unit = f" {shorten(feature.unit, 12)}" if feature.unit else ""
    return format_number(value, feature.kind, feature.reference.std) + unit

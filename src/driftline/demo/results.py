"""What the demo ends with: which features drifted, when and how far, and how good the model was."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class FeatureHistory:
    """A feature over all windows: how many drifted, the first of them, the highest PSI, drifted days by month."""

    feature_name: str
    windows_drifted: int
    first_drifted: str | None
    peak_psi: float | None
    by_month: tuple[tuple[str, int, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form."""
        return {
            "feature_name": self.feature_name,
            "first_drifted": self.first_drifted,
            "windows_drifted": self.windows_drifted,
            "peak_psi": self.peak_psi,
        }


def rank_features(drift: dict[str, Any]) -> list[FeatureHistory]:
    """Summarise each feature of a drift series, the most often drifted first."""
    histories = [_summarise(drift["windows"], feature) for feature in drift["features"]]
    return sorted(histories, key=lambda each: (-each.windows_drifted, -(each.peak_psi or 0)))


def draw_table(histories: Sequence[FeatureHistory], windows: int) -> Table:
    """Draw the ranked features, with one bar a month for the share of its days that drifted."""
    table = Table(
        title=f"{windows} days from April to December, against January to March",
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("feature", style="bold")
    table.add_column("days drifted", justify="right")
    table.add_column("first drifted")
    table.add_column("peak PSI", justify="right")
    table.add_column("Apr … Dec")
    for each in histories:
        style = None if each.windows_drifted else "dim"
        peak = "" if each.peak_psi is None else f"{each.peak_psi:.2f}"
        bars = "".join(_bar(drifted / days) for _, drifted, days in each.by_month)
        table.add_row(
            each.feature_name,
            str(each.windows_drifted or "–"),
            (each.first_drifted or "–")[:10],
            peak,
            bars,
            style=style,
        )
    return table


@dataclass(frozen=True, slots=True)
class Month:
    """Area under the ROC curve of a month: by its labels, and as estimated without them; with 95 % intervals.

    `coverage` is the share of its flights that have a label. `agree` tells whether the realised value lies in the
    interval of the estimate, None where one of them is missing.
    """

    month: str
    flights: int
    labeled: int
    coverage: float
    realised: float | None
    lower: float | None
    upper: float | None
    estimated: float | None
    estimated_lower: float | None
    estimated_upper: float | None

    @property
    def agree(self) -> bool | None:
        """Whether what came true was within what had been expected."""
        if self.realised is None or self.estimated_lower is None or self.estimated_upper is None:
            return None
        return self.estimated_lower <= self.realised <= self.estimated_upper

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form."""
        return asdict(self) | {"agree": self.agree}


def list_months(performance: dict[str, Any]) -> list[Month]:
    """Read the months of a performance series."""
    metric = performance["metrics"][0]
    columns = (
        [window[:7] for window in performance["windows"]],
        performance["rows"],
        performance["labeled"],
        performance["coverage"],
        *(metric[name] for name in ("value", "lower", "upper", "estimate", "estimate_lower", "estimate_upper")),
    )
    return [Month(*values) for values in zip(*columns, strict=True)]


def draw_months(months: Sequence[Month]) -> Table:
    """Draw realised and estimated values side by side."""
    table = Table(title="Area under the ROC curve, by month of departure", title_justify="left", pad_edge=False)
    table.add_column("month", style="bold", no_wrap=True)
    for name in ("flights", "arrived", "estimated", "came true"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("than estimated", no_wrap=True)
    for each in months:
        table.add_row(
            each.month,
            f"{each.flights:,}",
            f"{each.coverage:.1%}",
            _format_interval(each.estimated, each.estimated_lower, each.estimated_upper),
            _format_interval(each.realised, each.lower, each.upper),
            _compare(each),
        )
    return table


def _format_interval(value: float | None, lower: float | None, upper: float | None) -> str:
    if value is None or lower is None or upper is None:
        return "–"
    return f"{value:.3f} [dim]± {(upper - lower) / 2:.3f}[/]"


def _compare(month: Month) -> str:
    if month.agree is None or month.realised is None or month.estimated is None:
        return ""
    if month.agree:
        return "[dim]no different[/]"
    return "[green]better[/]" if month.realised > month.estimated else "[red]worse[/]"


def draw_versions(before: Sequence[Month], after: Sequence[Month]) -> Table:
    """Draw what two versions of the model were worth, month by month, on the same flights."""
    table = Table(title="Area under the ROC curve of both versions", title_justify="left", pad_edge=False)
    table.add_column("month", style="bold", no_wrap=True)
    for name in ("version 1", "version 2", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    known = {month.month: month for month in before}
    for new in after:
        old = known.get(new.month)
        if old is None or old.realised is None or new.realised is None:
            continue
        gain = new.realised - old.realised
        table.add_row(
            new.month,
            _format_interval(old.realised, old.lower, old.upper),
            _format_interval(new.realised, new.lower, new.upper),
            f"[{'green' if gain > 0 else 'red'}]{gain:+.3f}[/]",
        )
    return table


def draw_alerts(alerts: Sequence[dict[str, Any]]) -> Table:
    """Draw the alerts that fired, by when their window ended."""
    table = Table(title=f"{len(alerts)} alerts in nine months", title_justify="left", pad_edge=False)
    for name in ("day", "rule", "of", "severity", "number", "how it ended"):
        table.add_column(name, no_wrap=True)
    for alert in alerts:
        table.add_row(
            alert["opened_at"][5:10],
            alert["rule_id"].partition(".")[2],
            f"version {alert['version']}",
            alert["severity"],
            f"{alert['metric_value']:.3g}",
            alert["ended"] or "open",
        )
    return table


def count_events(drift: dict[str, Any]) -> int:
    """Count the events behind a series: its score is never missing."""
    score = next(feature for feature in drift["features"] if feature["feature_name"] == "__score__")
    return int(sum(score["sample_count"]))


def _summarise(windows: Sequence[str], feature: dict[str, Any]) -> FeatureHistory:
    drifted = [window for window, flag in zip(windows, feature["drifted"], strict=True) if flag]
    scores = [score for score in feature["psi_score"] if score is not None]
    months = sorted({window[:7] for window in windows})
    return FeatureHistory(
        feature["feature_name"],
        len(drifted),
        drifted[0] if drifted else None,
        round(max(scores), 4) if scores else None,
        tuple(
            (month, sum(w.startswith(month) for w in drifted), sum(w.startswith(month) for w in windows))
            for month in months
        ),
    )


def _bar(share: float) -> str:
    return "·" if share == 0 else _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]

"""A reference by itself: what a terminal shows of it, and its JSON form."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from driftline import __version__
from driftline.core.reference import Reference
from driftline.core.schema import PREDICTION, SCORE, Kind
from driftline.core.window import format_length
from driftline.report.baseline import describe_baseline, say_baseline
from driftline.report.distribution import describe_distribution
from driftline.report.feature import Distribution, Statistics
from driftline.report.inspection import Comparison
from driftline.report.measure import measure_side
from driftline.report.quality import Side
from driftline.report.table import draw_bars, squeeze
from driftline.report.words import format_number, format_share, plural, shorten

_BARS = 9
_COLUMNS = {"missing": 0, "distinct": 90, "mean": 0, "std": 80, "median": 0, "range": 130}
"""What is shown, from which width on."""


def describe_reference(reference: Reference) -> dict[str, Any]:
    """Give the JSON form: the schema, and each feature's statistics and distribution."""
    kinds = dict(zip(reference.names, Comparison.of(reference).kind, strict=True))
    return {
        "version": __version__,
        "grid_id": reference.grid.grid_id,
        "rows": reference.profile.rows,
        "window": format_length(reference.window_length),
        "bins": reference.bins.count,
        "min_samples": reference.bins.min_samples,
        "natural_variation": reference.natural is not None,
        "baseline": describe_baseline(reference),
        "schema": reference.schema.to_dict(),
        "features": [
            {"feature_name": name, "kind": str(kinds[name]), **statistics.to_dict()}
            | {"distribution": {key: value for key, value in shown.to_dict().items() if key != "current"}}
            for name, statistics, shown in _features(reference)
        ],
    }


def describe_variation(reference: Reference) -> str:
    """Say whether the natural variation is known."""
    length = format_length(reference.window_length)
    return f"natural variation of {length} windows {'known' if reference.natural else 'not known'}"


def draw_reference(reference: Reference, width: int, *, ascii_only: bool) -> Group:
    """Draw a table of the features' statistics, as many of them as there is room for."""
    kinds = dict(zip(reference.names, Comparison.of(reference).kind, strict=True))
    shown = [name for name, least in _COLUMNS.items() if width >= least]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("feature", overflow="fold", min_width=14, max_width=40)
    table.add_column("kind", style="dim", no_wrap=True)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("shape", no_wrap=True, style="cyan")
    for name, side, distribution in _features(reference):
        cells = _write_cells(side, kinds[name])
        bars, _ = squeeze(distribution, _BARS)
        shape = draw_bars(bars, max(bars, default=0.0), ascii_only=ascii_only)
        table.add_row(Text(shorten(name)), kinds[name], *(cells[column] for column in shown), shape)
    bins = f"judged over {reference.bins.count} bins, from {plural(reference.bins.min_samples, 'row')} on"
    return Group(
        Text(f"Reference of {plural(reference.profile.rows, 'row')}: {bins}; {describe_variation(reference)}."),
        Text(say_baseline(reference)),
        Text(),
        table,
    )


def _features(reference: Reference) -> list[tuple[str, Statistics, Distribution]]:
    """Every feature's name, statistics and distribution; a model output that the data did not have is none."""
    both = Comparison.of(reference)
    values = both.values(Side.REFERENCE)
    return [
        (
            name,
            statistics,
            describe_distribution(
                reference.grid, reference.profile, reference.profile, f, both.kind[f], int(reference.distinct[f])
            ),
        )
        for f, (name, statistics) in enumerate(zip(both.names, measure_side(both, Side.REFERENCE), strict=True))
        if values[f] or name not in (PREDICTION, SCORE)
    ]


def _write_cells(side: Statistics, kind: Kind) -> dict[str, str]:
    def write(value: float) -> str:
        text = format_number(value, kind, side.std)
        return text[:10] if kind is Kind.DATETIME else text  # the day is enough here

    return {
        "missing": format_share(side.missing_rate),
        "distinct": f"{side.distinct:,}",
        "mean": write(side.mean),
        "std": "–" if kind is Kind.DATETIME else write(side.std),
        "median": write(side.median),
        "range": "–" if kind is Kind.CATEGORICAL else f"{write(side.min)} … {write(side.max)}",
    }

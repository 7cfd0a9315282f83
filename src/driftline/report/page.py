"""A report as one self-contained HTML page, and as a short piece of HTML for notebooks."""

from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader

from driftline import __version__
from driftline.report.change import describe_change
from driftline.report.chart import Chart, draw_chart
from driftline.report.feature import FeatureReport
from driftline.report.quality import group_findings
from driftline.report.report import THRESHOLDS, Report
from driftline.report.verdict import word_status
from driftline.report.words import (
    format_distance,
    format_number,
    format_pvalue,
    format_share,
    join_names,
    plural,
    shorten,
)

MOST_CHARTS = 1000
"""Features that have a chart; those ranked after them have their numbers only, and the page says so."""
IN_NOTEBOOK = 10
_OPEN = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What the page shows of one feature. `word` is the verdict on it, also the name of its CSS class."""

    feature: FeatureReport
    word: str
    css: str
    change: tuple[str, ...]
    chart: Chart | None
    open: bool


def render_page(report: Report) -> str:
    """Write the page."""
    rows = [
        _row(feature, chart=rank < MOST_CHARTS, opened=rank < _OPEN and feature.drifted)
        for rank, feature in enumerate(report.features)
    ]
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            rows=rows,
            groups=group_findings(report.findings),
            thresholds=THRESHOLDS,
            most_charts=MOST_CHARTS,
            version=__version__,
        )
    )


def render_summary(report: Report) -> str:
    """Write what a notebook shows: the verdict and the features that drifted most."""
    rows = [_row(feature, chart=True, opened=False) for feature in report.features[:IN_NOTEBOOK]]
    return (
        _environment()
        .get_template("notebook.html")
        .render(report=report, rows=rows, groups=group_findings(report.findings))
    )


def _row(feature: FeatureReport, *, chart: bool, opened: bool) -> Row:
    word = word_status(feature)
    return Row(
        feature,
        word,
        word if feature.judged else "none",
        describe_change(feature) if feature.level else (),
        draw_chart(feature) if chart else None,
        opened,
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("driftline", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "distance": format_distance,
        "join": join_names,
        "number": format_number,
        "pvalue": format_pvalue,
        "share": format_share,
        "shorten": shorten,
        "plural": plural,
    }
    return environment

"""A report in a terminal: the verdict, a ranked table with tiny distributions, what is odd about the data."""

import io
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from driftline.report.change import describe_change
from driftline.report.feature import Distribution, FeatureReport
from driftline.report.quality import FindingGroup, Severity, group_findings
from driftline.report.report import Report
from driftline.report.verdict import word_status
from driftline.report.words import format_distance, format_share, join_names, plural, shorten

WIDTH = 110
_WIDE = 110
_BARS, _FEW_BARS = 13, 9
_MOST_CHANGES = 10
_BLOCKS, _ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_STYLE = {"drifted": "bold red", "moderate": "yellow", "stable": "green"}
_MARK = {"drifted": "▲", "moderate": "△", "stable": "·"}
_SIGN = {Severity.ERROR: ("✗", "bold red"), Severity.WARNING: ("!", "yellow"), Severity.NOTE: ("·", "dim")}


def draw_report(
    report: Report, *, width: int = WIDTH, ascii_only: bool = False, top: int | None = 20, findings: int = 12
) -> Group:
    """Draw a report `width` characters wide: its first `top` features (None: all) and some findings."""
    shown = report.features if top is None else report.features[:top]
    parts: list[RenderableType] = [_draw_verdict(report), Text(), _draw_datasets(report)]
    if shown:
        parts += [Text(), _draw_features(shown, width, ascii_only)]
    if hidden := len(report.features) - len(shown):
        parts.append(Text(f"   … and {plural(hidden, 'more feature')}, less drifted", style="dim"))
    if width < _WIDE and any(feature.level for feature in shown):
        parts += [Text(), Text("What changed", style="bold"), _draw_changes(shown[:_MOST_CHANGES])]
    groups = group_findings(report.findings)
    if groups:
        parts += [Text(), Text("Data quality", style="bold"), _draw_findings(groups[:findings])]
    if len(groups) > findings:
        parts.append(Text(f"   … and {plural(len(groups) - findings, 'more finding')}", style="dim"))
    return Group(*parts)


def print_report(report: Report) -> str:
    """Write a report as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(draw_report(report, width=WIDTH))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def draw_bars(shares: Sequence[float], largest: float, *, ascii_only: bool = False) -> str:
    """Draw shares as characters of rising height; what is not 0 is never empty.

    >>> draw_bars([0.0, 0.001, 0.25, 0.5], largest=0.5)
    ' ▁▄█'
    """
    blocks = _ASCII if ascii_only else _BLOCKS
    top = len(blocks) - 1
    return "".join(blocks[max(round(share / largest * top), 1)] if share > 0 else blocks[0] for share in shares)


def squeeze(distribution: Distribution, bars: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give both sides' shares as at most so many bars: neighbours joined; of categories the first and the rest."""
    before, after = distribution.reference, distribution.current
    if distribution.labels:
        kept = [*range(len(before))]
        del kept[max(bars - distribution.rest, 0) : len(before) - distribution.rest]
        return tuple(before[i] for i in kept), tuple(after[i] for i in kept)
    bounds = [i * len(before) // bars for i in range(bars + 1)] if len(before) > bars else range(len(before) + 1)
    pairs = [(start, end) for start, end in pairwise(bounds) if start < end]
    return tuple(fmean(before[i:j]) for i, j in pairs), tuple(fmean(after[i:j]) for i, j in pairs)


def _draw_verdict(report: Report) -> Text:
    if report.drifted:
        return Text(report.verdict, style="bold red")
    return Text(report.verdict, style="bold green" if report.judged and not report.moderate else "bold yellow")


def _draw_datasets(report: Report) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("reference", f"{shorten(report.reference)} · {plural(report.reference_rows, 'row')}")
    grid.add_row("current", f"{shorten(report.current)} · {plural(report.current_rows, 'row')}")
    if report.left_out:
        grid.add_row("left out", join_names([name or "(unnamed)" for name in report.left_out]))
    return grid


def _draw_features(features: Sequence[FeatureReport], width: int, ascii_only: bool) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("")
    table.add_column("feature", overflow="fold", max_width=40 if wide else 26)
    for name in ("PSI", "KS", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("reference", "current"):
        table.add_column(name, no_wrap=True)
    if wide:
        table.add_column("what changed", overflow="fold")
    for feature in features:
        word = word_status(feature)
        style = _STYLE.get(word, "")
        before, after = _draw_sides(feature.distribution, _BARS if wide else _FEW_BARS, ascii_only)
        change = describe_change(feature) if feature.level else ()
        cells = [
            Text(_ascii(_MARK.get(word, "?"), ascii_only), style=style),
            Text(shorten(feature.feature_name), style=style if feature.level or not feature.judged else ""),
            Text(format_distance(feature.psi_score), style=style if feature.level else ""),
            Text(format_distance(feature.ks_statistic)),
            Text(format_share(feature.missing_rate)),
            before,
            after,
            Text("; ".join(change) if feature.judged else word, style="dim"),
        ]
        table.add_row(*cells[: len(table.columns)])
    return table


def _draw_sides(distribution: Distribution, bars: int, ascii_only: bool) -> tuple[Text, Text]:
    before, after = squeeze(distribution, bars)
    largest = max((*before, *after), default=0.0)
    if not largest:
        return Text(), Text()
    first, second = (draw_bars(side, largest, ascii_only=ascii_only) for side in (before, after))
    return Text(first, style="dim"), Text(second, style="cyan")


def _draw_changes(features: Sequence[FeatureReport]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(max_width=28, overflow="fold")
    grid.add_column(style="dim", overflow="fold")
    for feature in features:
        if feature.level:
            grid.add_row(f"   {shorten(feature.feature_name)}", "; ".join(describe_change(feature)))
    return grid


def _draw_findings(groups: Sequence[FindingGroup]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2, justify="right")
    grid.add_column(overflow="fold")
    for group in groups:
        sign, style = _SIGN[group.severity]
        grid.add_row(Text(sign, style=style), Text(group.message))
    return grid


def _ascii(mark: str, ascii_only: bool) -> str:
    return {"▲": "!", "△": "~", "·": "."}.get(mark, mark) if ascii_only else mark

"""Distributions as SVG paths: the reference a filled area, the current data a line over it.

A chart is one unit wide per bar and 100 units high; the page stretches it to its place.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from driftline.core.schema import Kind
from driftline.report.feature import FeatureReport
from driftline.report.words import format_number

HEIGHT = 100
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Chart:
    """One feature's chart: its width in units, the two paths, and what is written below them.

    `peak` is the share that the height stands for. `ticks` are (place, label), the place in percent of the
    width.
    """

    width: int
    reference: str
    current: str
    peak: float
    ticks: tuple[tuple[float, str], ...]


def draw_chart(feature: FeatureReport) -> Chart | None:
    """Draw a feature's two distributions to one scale; None when it has no values on either side."""
    shown = feature.distribution
    peak = max((*shown.reference, *shown.current), default=0.0)
    if peak <= 0:
        return None
    if shown.labels:
        width = 4 * len(shown.labels) - 1
        paths = (_trace_bars(shown.reference, peak), _trace_bars(shown.current, peak))
        return Chart(width, *paths, peak, ())
    paths = (_trace_steps(shown.reference, peak), _trace_steps(shown.current, peak))
    return Chart(len(shown.reference), *paths, peak, _ticks(shown.edges, feature.kind))


def _trace_steps(shares: Sequence[float], peak: float) -> str:
    """Trace a histogram's outline; neighbours of one height are one step.

    >>> _trace_steps([0.0, 0.5, 0.5], 0.5)
    'M0 100h1V0h2V100'
    """
    path, last, run = "M0 100", HEIGHT, 0
    for share in shares:
        height = HEIGHT - round(share / peak * HEIGHT)
        if height != last:
            path += (f"h{run}" if run else "") + f"V{height}"
            last, run = height, 0
        run += 1
    return f"{path}h{run}" + ("" if last == HEIGHT else f"V{HEIGHT}")


def _trace_bars(shares: Sequence[float], peak: float) -> str:
    """Trace separate bars, three units wide and one apart.

    >>> _trace_bars([0.5, 0.25], 0.5)
    'M0 100V0h3V100M4 100V50h3V100'
    """
    heights = [HEIGHT - round(share / peak * HEIGHT) for share in shares]
    return "".join(f"M{4 * i} {HEIGHT}V{height}h3V{HEIGHT}" for i, height in enumerate(heights))


def _ticks(edges: Sequence[float], kind: Kind) -> tuple[tuple[float, str], ...]:
    """Label round numbers within the edges; of datetimes the ends and the middle.

    >>> _ticks([-3.0, 47.0], Kind.NUMERIC)
    ((6.0, '0'), (26.0, '10'), (46.0, '20'), (66.0, '30'), (86.0, '40'))
    """
    low, high = edges[0], edges[-1]
    span = high - low
    if kind is Kind.DATETIME or not 0 < span < math.inf:
        return tuple((50.0 * i, format_number(low + span * i / 2, kind)) for i in range(3))
    rough = span / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.99)
    first = math.ceil(low / step)
    places = [(first + i) * step for i in range(int((high - first * step) / step) + 1)]
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (step / unit == 2.5))
    return tuple((round((place - low) / span * 100, 1), _label(place, digits)) for place in places)


def _label(place: float, digits: int) -> str:
    if digits > 6 or abs(place) >= 1e15:
        return format_number(place, scale=10.0**-digits)
    text = f"{place:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text

"""A chart as PNG: one number over time, its threshold, and the windows that led to an alert."""

import io
import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from driftline.core.moment import from_micros
from driftline.notify.text import clean_line, cut

_WIDTH, _HEIGHT = 800, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 44, 36
_SCALE = 2  # drawn larger and made smaller: smooth lines
_INK, _GREY, _GRID, _LINE, _LIMIT, _FIRED = "#1f2328", "#6e7781", "#eaeef2", "#0969da", "#cf222e", "#ffebe9"
_MOST_TITLE = 90


@dataclass(frozen=True, slots=True)
class Chart:
    """A number in W windows, the oldest first: where each begins (microseconds), and its value, NaN for none.

    `fired` is the interval of the windows that led to the alert.
    """

    title: str
    starts: tuple[int, ...]
    values: tuple[float, ...]
    threshold: float
    fired: tuple[int, int]


def draw_chart(chart: Chart) -> bytes:
    """Draw a chart as PNG, 800 x 320.

    >>> draw_chart(Chart("amount: psi", (0, 1, 2), (0.1, math.nan, 0.3), 0.2, (2, 3)))[1:4]
    b'PNG'
    """
    image = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), "white")
    _Drawing(ImageDraw.Draw(image), chart).draw()
    written = io.BytesIO()
    image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(written, "PNG")
    return written.getvalue()


def _is_drawn(value: float) -> bool:
    return abs(value) < 1e300  # there is room above it


class _Drawing:
    def __init__(self, pen: ImageDraw.ImageDraw, chart: Chart) -> None:
        self._pen, self._chart = pen, chart
        numbers = [value for value in (*chart.values, chart.threshold) if _is_drawn(value)]
        low, high = min([0.0, *numbers]), max([0.0, *numbers])
        self._low, self._high = low, high + 0.08 * ((high - low) or 1.0)
        self._first = chart.starts[0]
        self._last = max(chart.starts[-1], chart.fired[1], self._first + 1)

    def draw(self) -> None:
        chart = self._chart
        self._shade(*chart.fired)
        for part in range(5):
            self._mark(self._low + (self._high - self._low) * part / 4)
        self._dash(chart.threshold)
        self._connect()
        title = cut(clean_line(chart.title), _MOST_TITLE).replace("…", "...")
        self._write((_LEFT, 12), title.encode("ascii", "replace").decode(), _INK, 15)  # all that the font has
        base = _HEIGHT - _BOTTOM + 10
        self._write((_LEFT, base), f"{from_micros(self._first):%Y-%m-%d %H:%M} UTC", _GREY, 11)
        self._write((_WIDTH - _RIGHT, base), f"{from_micros(self._last):%Y-%m-%d %H:%M} UTC", _GREY, 11, "ra")

    def _x(self, moment: float) -> float:
        share = (min(max(moment, self._first), self._last) - self._first) / (self._last - self._first)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def _shade(self, start: int, end: int) -> None:
        corners = (self._x(start), float(_TOP), max(self._x(end), self._x(start) + 1), float(_HEIGHT - _BOTTOM))
        self._pen.rectangle([each * _SCALE for each in corners], fill=_FIRED)

    def _mark(self, value: float) -> None:
        self._stroke([(_LEFT, self._y(value)), (_WIDTH - _RIGHT, self._y(value))], _GRID, 1)
        self._write((_LEFT - 8, self._y(value)), f"{value:.3g}", _GREY, 11, "rm")

    def _dash(self, value: float) -> None:
        if _is_drawn(value):
            for start in range(_LEFT, _WIDTH - _RIGHT, 10):
                end = min(start + 5, _WIDTH - _RIGHT)
                self._stroke([(start, self._y(value)), (end, self._y(value))], _LIMIT, 1.5)

    def _connect(self) -> None:
        """Draw the line; it is broken where there is no number, and a number between two gaps is a dot."""
        line: list[tuple[float, float]] = []
        for start, value in zip((*self._chart.starts, 0), (*self._chart.values, math.nan), strict=True):
            if _is_drawn(value):
                line.append((self._x(start), self._y(value)))
                continue
            if len(line) == 1:
                (x, y) = line[0]
                self._pen.ellipse([each * _SCALE for each in (x - 2, y - 2, x + 2, y + 2)], fill=_LINE)
            elif line:
                self._stroke(line, _LINE, 2)
            line = []

    def _stroke(self, points: list[tuple[float, float]], colour: str, width: float) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._pen.line(scaled, fill=colour, width=round(width * _SCALE), joint="curve")

    def _write(self, place: tuple[float, float], text: str, colour: str, size: int, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * _SCALE)
        self._pen.text((place[0] * _SCALE, place[1] * _SCALE), text, fill=colour, font=font, anchor=anchor)

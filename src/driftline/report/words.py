"""Numbers and findings as people write them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from driftline.core.schema import Kind

_LONGEST = 40
_DIGITS, _MOST_DIGITS = 4, 16


def format_number(value: float, kind: Kind = Kind.NUMERIC, scale: float = 0.0) -> str:
    """Write a number with four significant digits; a datetime as its date; nothing known as a dash.

    With `scale`, the spread of such numbers, there are as many digits as show a hundredth of it, and what is
    below a hundred thousandth of it is 0. Whole numbers below 10^15 are written in full.

    >>> [format_number(value) for value in (0.5, 1234567.0, 0.000012345, float("nan"), 12.3456)]
    ['0.5', '1,234,567', '1.234e-05', '–', '12.35']
    >>> format_number(-2e-10, scale=1.0), format_number(1e12 + 0.25, scale=0.5)
    ('0', '1,000,000,000,000.25')
    >>> format_number(1.00012, scale=1e-5)
    '1.00012'
    >>> format_number(0, Kind.DATETIME)
    '1970-01-01 00:00'
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if kind is Kind.DATETIME:
        return _format_time(value)
    size = abs(value)
    if size < scale / 100_000 or not size:
        return "0"
    digits = _DIGITS
    if 0 < scale < size:
        digits = min(max(digits, math.ceil(math.log10(size) - math.log10(scale)) + 2), _MOST_DIGITS)
    if not 1e-4 <= size < 1e15:
        return f"{value:.{digits}g}"
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def format_share(share: float) -> str:
    """Write a share in percent.

    >>> [format_share(share) for share in (0.0, 0.25, 0.0123, 0.02, 0.00001, 1.0, 0.9999)]
    ['0%', '25%', '1.2%', '2%', '<0.1%', '100%', '99.9%']
    """
    if not math.isfinite(share):
        return "–"
    percent = share * 100
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.5 <= percent < 100:
        return f"{min(percent, 99.9):.1f}%"
    return f"{percent:.0f}%" if percent >= 9.95 else f"{percent:.1f}%".replace(".0%", "%")


def format_distance(value: float) -> str:
    """Write PSI, KS and the like with two or three digits.

    >>> [format_distance(value) for value in (0.0, 0.0312, 0.4567, 12.34)]
    ['0.00', '0.03', '0.46', '12.3']
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def format_pvalue(value: float) -> str:
    """Write a p-value.

    >>> [format_pvalue(value) for value in (0.5, 0.0004, 1e-20, float("nan"))]
    ['0.50', '0.0004', '<1e-15', '–']
    """
    if not math.isfinite(value):
        return "–"
    if value < 1e-15:
        return "<1e-15"
    return f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"


def shorten(text: str, longest: int = _LONGEST) -> str:
    """Cut long text in the middle of nowhere, on one line, without characters that a terminal obeys.

    >>> shorten("a" * 50, 10), shorten("two\\nlines")
    ('aaaaaaaaa…', 'two�lines')
    """
    clean = "".join(character if character.isprintable() else "�" for character in text[: longest + 1])
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def join_names(names: Sequence[str], most: int = 5) -> str:
    """List names in a sentence.

    >>> join_names(["a"]), join_names(["a", "b", "c"]), join_names(list("abcdefg"))
    ('a', 'a, b and c', 'a, b, c, d, e and 2 more')
    """
    shown = [shorten(name) for name in names]
    if len(shown) > most + 1:
        return f"{', '.join(shown[:most])} and {len(shown) - most:,} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def plural(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "row"), plural(2500, "row")
    ('1 row', '2,500 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _format_time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.4g} s"

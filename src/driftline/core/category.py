"""The one text of a category, the same from every frame, format and SDK. No numpy here: the inference
service makes these texts, too.
"""

import math
from datetime import date
from decimal import Decimal

MAX_TEXT = 1024
"""So many characters tell categories and entities apart: free text must not fill profiles and memory."""
_MISSING = ("NAType", "NaTType")  # pandas' NA and NaT, known by name: pandas need not be there


def mend_text(text: str) -> str:
    """Replace what UTF-8 and PostgreSQL cannot hold: half surrogate pairs and NUL.

    >>> mend_text("a\\x00b\\ud800")
    'a\ufffdb?'
    """
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode(errors="replace").decode()


def mend_category(text: str) -> str:
    """Mend the text of a category or an entity, and leave out what lies beyond 1,024 characters.

    >>> mend_category("a\\x00"), len(mend_category("a" * 5000))
    ('a\ufffd', 1024)
    """
    return mend_text(text if len(text) <= MAX_TEXT else text[:MAX_TEXT])


def category_text(value: object) -> str | None:
    """Give the one text of a category, the same whatever frame or format it comes from; None is missing.

    >>> [category_text(value) for value in ("DE", True, 1, 1.0, 1.5, float("nan"))]
    ['DE', 'true', '1', '1', '1.5', None]
    """
    if isinstance(value, str):
        return mend_category(value)
    return value_text(value)


def value_text(value: object) -> str | None:
    """Give the one text of a value, however long: of an id, for example."""
    if isinstance(value, str):
        return mend_text(value)
    numpy_kind = getattr(getattr(value, "dtype", None), "kind", None)
    if isinstance(value, bool) or numpy_kind == "b":
        return "true" if value else "false"
    if isinstance(value, float | Decimal) or numpy_kind == "f":
        # 0.1 as float32 is "0.1", not the 17 digits of the float64 beside it
        return _float_text(float(value) if isinstance(value, float) else float(str(value)))
    if value is None or type(value).__name__ in _MISSING:
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


def _float_text(number: float) -> str | None:
    if math.isnan(number):
        return None
    return str(int(number)) if number.is_integer() and abs(number) < 2**64 else repr(number)

"""Numbers as JSON."""

import numpy as np


def shorten_number(value: float) -> float | None:
    """Round to seven digits; None where there is no number.

    >>> shorten_number(0.123456789), shorten_number(float("nan"))
    (0.1234568, None)
    """
    return float(f"{value:.7g}") if np.isfinite(value) else None

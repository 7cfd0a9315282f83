"""The exact law of PSI against simulation."""

import numpy as np
import pytest
from scipy.stats import chi2

from driftline.core.distance import SMOOTHING
from driftline.core.null import null_tail

DRAWS = 100_000


@pytest.mark.parametrize(
    ("bins", "rows"), [(2, 100), (3, 50), (10, 100), (20, 200), (20, 450), (50, 100), (52, 400)]
)
def test_tails_are_those_of_simulation(bins: int, rows: int) -> None:
    counts = np.random.default_rng(bins).multinomial(rows, np.full(bins, 1 / bins), DRAWS)
    share = (counts + SMOOTHING) / (rows + SMOOTHING * bins)
    scaled = rows * ((share - 1 / bins) * np.log(share * bins)).sum(axis=1)
    probabilities = np.array([0.5, 0.2, 0.05, 0.01, 0.001, 0.0001])
    places = np.quantile(scaled, 1 - probabilities)
    # PSI of few bins has few values; the law at a value and directly beside it embraces the share found.
    found = (scaled >= places[:, None]).mean(axis=1)
    error = 5 * np.sqrt(found * (1 - found) / DRAWS)
    assert (null_tail(places - 0.1, bins, rows) >= found - error).all()
    assert (null_tail(places + 0.1, bins, rows) <= found + error).all()


def test_with_many_rows_the_law_is_chi_squared() -> None:
    places = chi2.isf([0.5, 0.1, 0.01, 1e-4], 9)
    np.testing.assert_allclose(null_tail(places, 10, 5000), [0.5, 0.1, 0.01, 1e-4], rtol=0.05)


@pytest.mark.parametrize(("bins", "rows"), [(2, 1), (2, 500), (50, 1), (52, 500)])
def test_the_tail_falls_from_one_to_nearly_nothing(bins: int, rows: int) -> None:
    tail = null_tail(np.linspace(0, 5000, 50_001), bins, rows)
    assert tail[0] == pytest.approx(1)
    assert tail[-1] == pytest.approx(1e-12)
    assert (np.diff(tail) <= 1e-12).all()

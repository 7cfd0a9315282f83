"""The law of PSI when nothing changed, for windows of few rows: exact, by Fourier inversion.

The counts k_b of n rows in B equally likely bins are independent Poisson counts, given that they add up to n.
PSI is then a sum of one term s(k_b) a bin. So the joint law of Σ s(k_b) and Σ k_b is the B-fold convolution of
that of one bin, which is a power of its Fourier transform, and the law of PSI is the row Σ k_b = n of it.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft, irfft, next_fast_len, rfft
from scipy.special import gammaln

from driftline.core.distance import SMOOTHING

_STEP = 0.1
_LEAST = 1e-12  # rounding errors of the transforms lie below


def null_tail(scaled: NDArray[np.float64], bins: int, rows: int) -> NDArray[np.float64]:
    """Probability that n·PSI of `rows` rows in `bins` equal bins is at least `scaled`; 1e-12 at the least.

    >>> null_tail(np.array([20.0, 30.0, 40.0]), 20, 200).round(4).tolist()
    [0.3394, 0.0426, 0.0035]
    """
    logarithms = _tabulate(bins, rows)
    return np.asarray(np.exp(np.interp(scaled, np.arange(len(logarithms)) * _STEP, logarithms)), np.float64)


@lru_cache(maxsize=1024)
def _tabulate(bins: int, rows: int) -> NDArray[np.float64]:
    """Logarithm of the upper tail at multiples of the step, up to where less than 1e-12 is left."""
    size = next_fast_len(int((bins + 12 * np.sqrt(2 * bins) + 80) / _STEP), real=True)
    counts = np.arange(rows + 1)
    poisson = np.exp(counts * np.log(rows / bins) - rows / bins - gammaln(counts + 1))
    share = (counts + SMOOTHING) / (rows + SMOOTHING * bins)
    place = rows * (share - 1 / bins) * np.log(share * bins) / _STEP
    below = np.floor(place).astype(np.int64)
    one = np.zeros((rows + 1, size))
    np.add.at(one, (counts, below % size), poisson * (below + 1 - place))
    np.add.at(one, (counts, (below + 1) % size), poisson * (place - below))
    turns = next_fast_len(2 * rows + 1)
    power = fft(rfft(one, axis=1), turns, axis=0) ** bins
    row = np.exp(2j * np.pi * rows / turns * np.arange(turns)) @ power
    mass = irfft(row, size)
    tail = np.cumsum(mass[::-1])[::-1] / mass.sum()
    return np.asarray(np.log(np.maximum(tail, _LEAST)), np.float64)

"""Direct loss estimation: how large a regression model's error is likely to be, given what it saw and said.

Trees that are grown on a reference with labels split its rows by prediction and features, so that rows of a leaf
have about the same absolute error; each leaf remembers the moments of its errors. Every tree sees the rows with
weights of its own, exponential ones by entity (the Bayesian bootstrap, Rubin 1981): the trees' mean is the
estimate (bagging, Breiman 1996), their spread its uncertainty. The idea is that of NannyML's DLE, which boosts
trees instead.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.intervals import Clusters

TREES = 32
DEPTH = 7
LEAST_LEAF = 20
"""Effective rows of a leaf."""
BINS = 32

_NODES = 2**DEPTH - 1
_NO_SPLIT = 255  # all rows go to the left


@dataclass(frozen=True, slots=True)
class LossTrees:
    """T trees, each of 127 splits and 128 leaves.

    `edges` [F, 31] cut each column into bins; a missing value is in the first. Split s of a tree sends rows whose
    bin of column `columns[t, s]` is at most `bins[t, s]` to 2s + 1 and others to 2s + 2. `moments` [T, 128, 3] are
    the means of |e|, e² and e⁴ of each leaf.
    """

    edges: NDArray[np.float64]
    columns: NDArray[np.int16]
    bins: NDArray[np.uint8]
    moments: NDArray[np.float64]

    def read(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the expected moments [T, n, 3] of the errors of rows with such inputs [n, F], by each tree."""
        leaves = _find_leaves(_cut(self.edges, inputs), self.columns, self.bins)
        return np.stack([moments[leaf] for moments, leaf in zip(self.moments, leaves, strict=True)])


def grow_loss_trees(
    inputs: NDArray[np.float64],
    errors: NDArray[np.float64],
    weights: NDArray[np.float64],
    clusters: Clusters,
    rng: Generator,
) -> LossTrees:
    """Grow trees on the errors [n] of rows with inputs [n, F], of which the prediction is one.

    >>> rng = np.random.default_rng(1)
    >>> inputs = rng.random((4_000, 2))
    >>> errors = rng.standard_normal(4_000) * (1 + 4 * inputs[:, 0])
    >>> trees = grow_loss_trees(inputs, errors, np.ones(4_000), Clusters(None, 4_000), rng)
    >>> trees.read(np.array([[0.1, 0.5], [0.9, 0.5]])).mean(axis=0)[:, 0].round(1).tolist()  # of |e|
    [1.2, 3.4]
    """
    edges = np.quantile(np.where(np.isfinite(inputs), inputs, np.nan), np.arange(1, BINS) / BINS, axis=0).T
    edges = np.nan_to_num(edges, nan=0.0)
    codes = _cut(edges, inputs)
    losses = np.abs(errors)[:, None] ** (1, 2, 4)
    least = LEAST_LEAF / max(clusters.effective(weights), 1.0)
    columns = np.zeros((TREES, _NODES), np.int16)
    bins = np.full((TREES, _NODES), _NO_SPLIT, np.uint8)
    moments = np.zeros((TREES, _NODES + 1, 3))
    for t in range(TREES):
        drawn = rng.standard_exponential(clusters.count)
        shares = weights * (drawn if clusters.place is None else drawn[clusters.place])
        _grow(codes, losses, shares / shares.sum(), least, columns[t], bins[t], moments[t])
    return LossTrees(edges, columns, bins, moments)


def _cut(edges: NDArray[np.float64], inputs: NDArray[np.float64]) -> NDArray[np.uint8]:
    codes = np.empty(inputs.shape, np.uint8)
    for f, cuts in enumerate(edges):
        codes[:, f] = np.searchsorted(cuts, inputs[:, f], side="left")
    codes[np.isnan(inputs)] = 0
    return codes


@njit(nogil=True, cache=True)
def _grow(codes, losses, shares, least, columns, bins, moments):  # type: ignore[no-untyped-def]
    """Grow one tree level by level; rows end in its leaves, which take the means of their losses."""
    node = np.zeros(len(codes), np.int64)
    for level in range(DEPTH):
        first = 2**level - 1
        sums = np.zeros((2**level, codes.shape[1], BINS, 2))
        for i in range(len(codes)):
            for f in range(codes.shape[1]):
                cell = sums[node[i] - first, f, codes[i, f]]
                cell[0] += shares[i]
                cell[1] += shares[i] * losses[i, 0]
        for place in range(2**level):
            columns[first + place], bins[first + place] = _split(sums[place], least)
        for i in range(len(codes)):
            split = node[i]
            node[i] = 2 * split + (1 if codes[i, columns[split]] <= bins[split] else 2)
    mass = np.zeros(len(moments))
    for i in range(len(codes)):
        mass[node[i] - len(bins)] += shares[i]
        moments[node[i] - len(bins)] += shares[i] * losses[i]
    for leaf in range(len(moments)):
        if mass[leaf] > 0:
            moments[leaf] /= mass[leaf]


@njit(nogil=True, cache=True)
def _split(sums, least):  # type: ignore[no-untyped-def]
    """Find the column and the bin after which two halves of `least` mass differ most in their mean of |e|.

    That is where the sum of squared distances from the mean falls most (Breiman et al. 1984).
    """
    mass, loss = sums[0, :, 0].sum(), sums[0, :, 1].sum()
    best, column, after = 1e-12, 0, _NO_SPLIT
    for f in range(len(sums)):
        left_mass, left_loss = 0.0, 0.0
        for b in range(BINS - 1):
            left_mass += sums[f, b, 0]
            left_loss += sums[f, b, 1]
            if min(left_mass, mass - left_mass) >= least:
                gap = left_loss / left_mass - (loss - left_loss) / (mass - left_mass)
                gain = gap * gap * left_mass * (mass - left_mass) / mass
                if gain > best:
                    best, column, after = gain, f, b
    return column, after


@njit(nogil=True, cache=True)
def _find_leaves(codes, columns, bins):  # type: ignore[no-untyped-def]
    leaves = np.empty((len(columns), len(codes)), np.int64)
    for t in range(len(columns)):
        for i in range(len(codes)):
            node = 0
            for _ in range(DEPTH):
                node = 2 * node + (1 if codes[i, columns[t, node]] <= bins[t, node] else 2)
            leaves[t, i] = node - len(columns[t])
    return leaves

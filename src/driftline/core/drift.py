"""Drift of a window from a reference: distances, their significance, and the verdict, for all features at once.

A feature has drifted when the effect is large, beyond the feature's natural variation, and significant.
Effect alone fires on small windows, significance alone on large ones.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from driftline.core.bins import Bins
from driftline.core.distance import Distances, measure_distances
from driftline.core.grid import Grid
from driftline.core.profile import Profile
from driftline.core.significance import adjust_pvalues, chi2_pvalues, ks_pvalues, noise_floor, psi_pvalues
from driftline.core.summary import Summary, summarize

PSI_LARGE, PSI_MODERATE = 0.2, 0.1
KS_LARGE, KS_MODERATE = 0.18, 0.125
FALSE_DISCOVERY_RATE = 0.01


class Status(StrEnum):
    """What a number is worth; `ok` is a verdict, everything else is the reason why there is none."""

    OK = "ok"
    POOLING = "pooling"
    TOO_FEW = "too_few"
    MISSING = "missing"
    NO_REFERENCE = "no_reference"
    PARTIAL = "partial"
    FAILED = "failed"


_UNDEFINED = (Status.MISSING, Status.NO_REFERENCE)


DRIFT_METRICS = (
    "psi_score",
    "psi_raw",
    "psi_pvalue",
    "ks_statistic",
    "ks_pvalue",
    "chi2_statistic",
    "chi2_pvalue",
    "js",
    "kl",
    "linf",
    "wasserstein",
    "pvalue",
    "qvalue",
)
"""The numbers of `Drift`, by the names that reports, the store and the API give them as well."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of every feature [F] in profile order; NaN where a number does not apply.

    `psi_score` is `psi_raw` less the noise floor, never below 0. `pvalue` is the feature's p-value, twice the
    smaller one of its two tests; `qvalue` that after Benjamini-Hochberg over the model's features. `level` holds
    0, 1 or 2 for none, moderate and large; `drifted` is `level == 2`. `status` [F] holds `Status` values.
    """

    summary: Summary
    psi_score: NDArray[np.float64]
    psi_raw: NDArray[np.float64]
    psi_pvalue: NDArray[np.float64]
    ks_statistic: NDArray[np.float64]
    ks_pvalue: NDArray[np.float64]
    chi2_statistic: NDArray[np.float64]
    chi2_pvalue: NDArray[np.float64]
    js: NDArray[np.float64]
    kl: NDArray[np.float64]
    linf: NDArray[np.float64]
    wasserstein: NDArray[np.float64]
    pvalue: NDArray[np.float64]
    qvalue: NDArray[np.float64]
    level: NDArray[np.int8]
    status: NDArray[np.object_]
    effective_rows: float

    @property
    def drifted(self) -> NDArray[np.bool_]:
        """Whether each feature has drifted [F]."""
        return np.asarray(self.level == 2)


@dataclass(frozen=True, slots=True)
class NaturalVariation:
    """How large psi (`Distances.psi_steady`) and ks get on their own: thresholds [S, F] beside the general ones.

    S is 1, or 168 for one row per hour of the week in the model's time zone.
    """

    psi: NDArray[np.float64]
    ks: NDArray[np.float64]

    def fits(self, features: int) -> bool:
        """Tell whether there is a threshold for every one of so many features."""
        return self.psi.shape == self.ks.shape and self.psi.shape in ((1, features), (168, features))

    def at(self, hour_of_week: int) -> "NaturalVariation":
        """Select the row of an hour of the week."""
        row = hour_of_week if len(self.psi) > 1 else 0
        return NaturalVariation(self.psi[row : row + 1], self.ks[row : row + 1])

    def highest(self) -> "NaturalVariation":
        """Give the highest row of each feature: for what spans many hours."""
        return NaturalVariation(self.psi.max(axis=0, keepdims=True), self.ks.max(axis=0, keepdims=True))


def compute_drift(
    grid: Grid,
    bins: Bins,
    expected: Profile,
    actual: Profile,
    *,
    natural: NaturalVariation | None = None,
    outputs: NDArray[np.bool_] | None = None,
    min_samples: int | None = None,
) -> Drift:
    """Compare a window with a reference, both profiles of `grid`.

    `natural` raises the thresholds (its first row counts). `outputs` [F] marks the features that are tested on
    their own, outside the correction over the model's inputs: its prediction and score. With fewer than
    `min_samples` effective rows (ten a bin unless given) the numbers stand, but there is no verdict. A feature
    that has lost all its values drifts like any other, by the bin of missing ones.
    """
    status = _judge_samples(grid, bins, expected, actual, min_samples)
    distances = _blank(measure_distances(grid, bins, expected, actual), np.isin(status, _UNDEFINED))
    floor = noise_floor(distances.bins_used, max(distances.expected_rows, 1), max(distances.actual_rows, 1))
    psi_score = np.maximum(distances.psi_raw - floor, 0.0)
    psi_p = psi_pvalues(
        distances.psi_raw, distances.bins_used, max(distances.expected_rows, 1), max(distances.actual_rows, 1)
    )
    ks_p = ks_pvalues(distances.ks, distances.expected_values, distances.actual_values)
    chi2_p = chi2_pvalues(distances.chi2, distances.freedom)
    pvalue = np.minimum(1.0, 2 * np.fmin(psi_p, np.where(np.isnan(chi2_p), ks_p, chi2_p)))
    pvalue[status != Status.OK] = np.nan
    qvalue = _adjust(pvalue, outputs)
    return Drift(
        summary=summarize(grid, actual),
        psi_score=psi_score,
        psi_raw=distances.psi_raw,
        psi_pvalue=psi_p,
        ks_statistic=distances.ks,
        ks_pvalue=ks_p,
        chi2_statistic=distances.chi2,
        chi2_pvalue=chi2_p,
        js=distances.js,
        kl=distances.kl,
        linf=distances.linf,
        wasserstein=distances.wasserstein,
        pvalue=pvalue,
        qvalue=qvalue,
        level=_judge_level(psi_score, distances.psi_steady - floor, distances.ks, qvalue, natural),
        status=status,
        effective_rows=distances.actual_rows,
    )


def _blank(distances: Distances, undefined: NDArray[np.bool_]) -> Distances:
    """Say nothing of features that have no values on a side: NaN, not 0."""
    psi, steady, kl, js, chi2, linf, ks, wasserstein = (
        np.where(undefined, np.nan, metric)
        for metric in (
            distances.psi_raw,
            distances.psi_steady,
            distances.kl,
            distances.js,
            distances.chi2,
            distances.linf,
            distances.ks,
            distances.wasserstein,
        )
    )
    return replace(
        distances,
        psi_raw=psi,
        psi_steady=steady,
        kl=kl,
        js=js,
        chi2=chi2,
        linf=linf,
        ks=ks,
        wasserstein=wasserstein,
    )


def _judge_samples(
    grid: Grid, bins: Bins, expected: Profile, actual: Profile, min_samples: int | None
) -> NDArray[np.object_]:
    status = np.full(grid.features, Status.OK, np.object_)
    if actual.effective_rows < (bins.min_samples if min_samples is None else min_samples):
        status[:] = Status.TOO_FEW
        status[actual.counts[:, : grid.cells].sum(axis=1) == 0] = Status.MISSING
    status[expected.counts[:, : grid.cells].sum(axis=1) == 0] = Status.NO_REFERENCE
    return status


def _adjust(pvalue: NDArray[np.float64], outputs: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    if outputs is None:
        return adjust_pvalues(pvalue)
    qvalue = pvalue.copy()
    qvalue[~outputs] = adjust_pvalues(pvalue[~outputs])
    return qvalue


def _judge_level(
    psi: NDArray[np.float64],
    steady_psi: NDArray[np.float64],
    ks: NDArray[np.float64],
    qvalue: NDArray[np.float64],
    natural: NaturalVariation | None,
) -> NDArray[np.int8]:
    beyond_psi = beyond_ks = np.ones(len(psi), np.bool_)
    if natural is not None:
        beyond_psi, beyond_ks = steady_psi > natural.psi[0], ks > natural.ks[0]
    moderate = (psi > PSI_MODERATE) & beyond_psi | (ks > KS_MODERATE) & beyond_ks
    large = (psi > PSI_LARGE) & beyond_psi | (ks > KS_LARGE) & beyond_ks
    significant = qvalue < FALSE_DISCOVERY_RATE
    return np.asarray(significant * (moderate.astype(np.int8) + large), np.int8)

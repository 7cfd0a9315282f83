"""What rules judge: the numbers of one closed window of a model version and segment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftline.core.window import Window

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """A window that has closed, or whose labels have come; what is left out of it is not judged.

    `columns` [F] are numbers of the `features`, by the names of `Metric.column`, with `qvalue` for their
    significance; NaN where there is none. `status` [F] and `window_status` hold `Status` values. `totals` are
    numbers of the model: volume, data_age (seconds), drifted_share, performance_*, estimated_*, label_coverage;
    `intervals` the 95 % ones of performance. `baselines` are what the reference says, by column: a number, or [F]
    of features. `natural` [F] holds how high psi and ks get on their own.
    `pool_start` is where the pool that the verdict belongs to began, microseconds: the window's start unless
    pooled. `n_eff` counts effective rows; `maturity` is the share of labels that have come, NaN when not known.
    """

    model_id: str
    model_version: str
    window: Window
    pool_start: int
    segment: str = ""
    reference_kind: str = "training"
    features: tuple[str, ...] = ()
    columns: Mapping[str, Floats] = field(default_factory=dict)
    status: NDArray[np.object_] = field(default_factory=lambda: np.empty(0, np.object_))
    window_status: str = "ok"
    totals: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    baselines: Mapping[str, float | Floats] = field(default_factory=dict)
    natural: Mapping[str, Floats] = field(default_factory=dict)
    n_eff: float = np.nan
    maturity: float = np.nan

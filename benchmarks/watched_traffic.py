"""Simulated traffic as the monitor sees it: counted, pooled, compared with the reference, ready to be judged."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftline.core.alert_window import JudgedWindow
from driftline.core.bins import Bins
from driftline.core.coarse import coarsen_profile
from driftline.core.drift import NaturalVariation, Status, compute_drift
from driftline.core.grid import Grid
from driftline.core.natural import hour_of_week
from driftline.core.pooling import Pool, pool_window
from driftline.core.profile import Profile, empty_profile, merge_profiles, profile_rows
from driftline.core.reference import Reference
from driftline.core.schema import zone
from driftline.core.segment import EVERYTHING
from driftline.core.summary import summarize
from driftline.core.window import Window
from seasonal_traffic import (
    FEATURES,
    HOUR,
    LAYOUT,
    MONDAY,
    NORMAL,
    OUTPUTS,
    SCHEMA,
    Traffic,
    build_seasonal_reference,
    count_rows,
    draw_columns,
    locate_positions,
)

SEGMENT = "country=c0"
"""The segment that is watched by itself: one row in five."""
_ZONE = zone(SCHEMA)


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """A model's traffic, its reference, and the cell of every z in it [F, P]."""

    traffic: Traffic
    reference: Reference
    cells: NDArray[np.uint16]

    @property
    def natural(self) -> NaturalVariation:
        """The natural variation that the reference's timestamps taught."""
        if self.reference.natural is None:
            raise RuntimeError("the reference has no natural variation")
        return self.reference.natural


@dataclass(frozen=True, slots=True)
class Cut:
    """What a profile is compared with: the whole, or a segment's own part of the reference."""

    segment: str
    grid: Grid
    bins: Bins
    expected: Profile


def watch_model(traffic: Traffic) -> WatchedModel:
    """Build the reference of a model."""
    reference = build_seasonal_reference(traffic)
    return WatchedModel(traffic, reference, locate_positions(traffic, reference.grid))


def cut_reference(reference: Reference, segment: str = EVERYTHING) -> Cut:
    """Choose what a segment, or everything, is compared with."""
    if segment == EVERYTHING:
        return Cut(segment, reference.grid, reference.bins, reference.profile)
    return Cut(segment, reference.coarse, reference.coarse_bins.uncorrected(), reference.segment_profiles[segment])


def count_hour(
    model: WatchedModel, hour: int, shift: NDArray[np.float32] | float = 0, *, share: float = 1.0, stream: int = 0
) -> Profile:
    """Count an hour's rows, or a share of them, whose z are `shift` [F] higher than usual.

    Sums and extremes, which no rule reads, are left out.
    """
    seed, mean, scale, missing = model.traffic.at(hour)
    rows = int(model.traffic.rows[hour])
    if share < 1:
        rows, missing = round(rows * share), np.round(missing * share).astype(np.int32)
    empty = empty_profile(model.reference.grid)
    place = seed + np.uint64(stream) * np.uint64(FEATURES)
    grid = model.reference.grid
    count_rows(
        rows, place, np.float32(mean + shift), scale, missing, NORMAL, model.cells, grid.missing, empty.counts
    )
    return replace(empty, rows=rows, weight=rows, weight_squares=rows, weight_cubes=float(rows))


def check_counts(model: WatchedModel, hour: int) -> None:
    """Refuse to go on unless the rows of an hour, drawn as values and profiled, give the same counts."""
    columns = draw_columns(model.traffic, range(hour, hour + 1), np.random.default_rng(hour))
    profile = profile_rows(model.reference.grid, columns)
    if not (profile.counts == count_hour(model, hour).counts).all():
        raise RuntimeError(f"hour {hour}: the counts are not those of the rows")


def judge_hours(model: WatchedModel, cut: Cut, profiles: Iterator[tuple[int, Profile]]) -> Iterator[JudgedWindow]:
    """Pool the windows of some hours in order, and compare those that have enough rows, as the monitor does."""
    carry: Pool | None = None
    waiting: list[Profile] = []
    baseline = summarize(cut.grid, cut.expected).missing_rate
    for hour, profile in profiles:
        start = MONDAY + hour * HOUR
        window = Window(start, start + HOUR)
        pooled = pool_window(carry, window, profile.effective_rows, cut.bins.min_samples)
        waiting = [*waiting, profile] if pooled.pool.windows > 1 else [profile]
        carry = pooled.carry
        if not pooled.judged:
            yield JudgedWindow(
                "model", "1", window, pooled.pool.start, cut.segment,
                window_status=Status.POOLING, totals={"volume": profile.rows},
            )  # fmt: skip
            continue
        natural = model.natural.at(hour_of_week(pooled.pool.start, _ZONE))
        merged = merge_profiles(waiting)
        drift = compute_drift(cut.grid, cut.bins, cut.expected, merged, natural=natural, outputs=OUTPUTS)
        yield JudgedWindow(
            model_id="model",
            model_version="1",
            window=window,
            pool_start=pooled.pool.start,
            segment=cut.segment,
            features=LAYOUT.names,
            columns={
                "psi_raw": drift.psi_raw,
                "psi_score": drift.psi_score,
                "ks_statistic": drift.ks_statistic,
                "qvalue": drift.qvalue,
                "missing_rate": drift.summary.missing_rate,
            },
            status=drift.status,
            totals={"volume": profile.rows, "drifted_share": float(drift.drifted[~OUTPUTS].mean())},
            baselines={"missing_rate": baseline},
            natural={"psi": natural.psi[0], "ks": natural.ks[0]},
            n_eff=merged.effective_rows,
        )


def coarsen(model: WatchedModel, profile: Profile) -> Profile:
    """Count a profile in the coarse grid, in which segments are."""
    return coarsen_profile(model.reference.coarse, model.reference.coarse_cells, profile)

"""How often 500 features cry wolf when nothing changed, and how often a real change in one of them is reported.

Everything is seeded: the same figures come out every time.
"""

from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track
from scipy.optimize import brentq

from driftline.core.bins import choose_bins
from driftline.core.columns import Columns
from driftline.core.drift import Drift, Status, compute_drift
from driftline.core.profile import profile_rows
from driftline.core.reference import Reference
from population import SHAPES, draw_columns, draw_reference
from records import Record, make_parser, report

REFERENCE_ROWS = 50_000
REFERENCES = 10
WINDOW_ROWS = (200, 900, 20_000)
PSI = 0.3
POPULATION = 200_000

Make = Callable[[Generator, int, float], NDArray[np.floating]]

# A feature of the population and how it changes; how much is chosen so that PSI of the population is 0.3.
CHANGES: dict[str, tuple[int, Make]] = {
    "the mean of a normal": (0, lambda rng, n, by: rng.standard_normal(n) + by),
    "the spread of a normal, wider": (0, lambda rng, n, by: rng.standard_normal(n) * (1 + by)),
    "the spread of a normal, narrower": (0, lambda rng, n, by: rng.standard_normal(n) / (1 + by)),
    "the scale of a lognormal": (1, lambda rng, n, by: np.exp(rng.standard_normal(n) + by)),
    "the share of zeros": (
        6,
        lambda rng, n, by: np.where(rng.random(n) < 0.6 + by, 0, rng.standard_exponential(n)),
    ),
    "the share of a flag": (8, lambda rng, n, by: rng.random(n) < 0.03 + by),
}


def judge(reference: Reference, columns: Columns) -> Drift:
    """Profile a window and compare it with its reference."""
    profile = profile_rows(reference.grid, columns)
    return compute_drift(
        reference.grid, reference.bins, reference.profile, profile, natural=None, outputs=reference.outputs
    )


def run_windows(rows: int, repetitions: int) -> Iterator[tuple[Reference, Columns, Generator]]:
    """Draw references and windows of one population; each reference serves some of the repetitions."""
    for repetition in track(range(repetitions), f"windows of {rows:,} rows"):
        if repetition % max(repetitions // REFERENCES, 1) == 0:
            reference = draw_reference(np.random.default_rng([1, rows, repetition]), REFERENCE_ROWS, rows)
        rng = np.random.default_rng([2, rows, repetition])
        yield reference, draw_columns(rng, rows), rng


def measure_false_positives(rows: int, repetitions: int) -> list[Record]:
    """Count the windows without any change in which some feature has drifted."""
    alarms = moderate = 0
    start = perf_counter()
    for reference, columns, _ in run_windows(rows, repetitions):
        drift = judge(reference, columns)
        features = ~reference.outputs
        if not (drift.status[features] == Status.OK).all():
            raise RuntimeError("a feature has no verdict")
        alarms += bool(drift.drifted.any())
        moderate += bool((drift.level > 0).any())
    name = f"{rows:,} rows, B = {choose_bins(rows)}: windows with"
    return [
        Record(f"{name} a drifted feature", alarms / repetitions, "share", 0.01),
        Record(f"{name} a moderate one", moderate / repetitions, "share"),
        Record(f"{rows:,} rows: drawn and judged in", (perf_counter() - start) / repetitions * 1e3, "ms"),
    ]


def population_psi(reference: Reference, feature: int, values: NDArray[np.floating]) -> float:
    """PSI of a large sample on the reference's bins, against the distribution that the reference is drawn from."""
    before = list(SHAPES.values())[feature % len(SHAPES)](np.random.default_rng(7), (POPULATION, 1))[:, 0]
    shares = [
        np.bincount(
            reference.bins.of_cell[feature][np.searchsorted(reference.grid.edges32[feature], drawn, "right")],
            minlength=reference.bins.count + 2,
        )
        / POPULATION
        for drawn in (before.astype(np.float32), values.astype(np.float32))
    ]
    e, a = np.array(shares)[:, (shares[0] > 0) & (shares[1] > 0)]
    return float(((a - e) * np.log(a / e)).sum())


def choose_change(reference: Reference, feature: int, make: Make) -> float:
    """Find the change of which PSI of the population is 0.3."""
    return float(
        brentq(
            lambda by: population_psi(reference, feature, make(np.random.default_rng(8), POPULATION, by)) - PSI,
            0.0,
            0.9 if feature == 8 else 0.39 if feature == 6 else 3.0,  # shares end at one
            xtol=1e-3,
        )
    )


def measure_power(rows: int, repetitions: int) -> list[Record]:
    """Count the windows in which a change of one feature of 500, of PSI 0.3, is reported."""
    sizing = draw_reference(np.random.default_rng(3), REFERENCE_ROWS, rows)
    change = {name: choose_change(sizing, feature, make) for name, (feature, make) in CHANGES.items()}
    reported = dict.fromkeys(CHANGES, 0)
    for reference, columns, rng in run_windows(rows, repetitions):
        for name, (feature, make) in CHANGES.items():
            before = columns.float32[:, feature].copy()
            drawn = make(rng, rows, change[name])
            columns.float32[:, feature] = np.where(np.isnan(before), np.nan, drawn)
            reported[name] += bool(judge(reference, columns).drifted[feature])
            columns.float32[:, feature] = before
    return [
        Record(
            f"{rows:,} rows: reported, {name} (by {change[name]:.3f})",
            found / repetitions,
            "share",
            0.95,
            "higher",
        )
        for name, found in reported.items()
    ]


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=300, help="windows a size (default 300)")
    options = parser.parse_args()
    records = [record for rows in WINDOW_ROWS for record in measure_false_positives(rows, options.repetitions)]
    records += measure_power(900, options.repetitions)
    report(f"False positives among 500 features, {options.repetitions} windows a size", records, options)


if __name__ == "__main__":
    main()

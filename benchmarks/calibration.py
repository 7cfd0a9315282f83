"""How often p-values are small when nothing changed: a p-value below x should come up in a share x of windows.

Bins are drawn directly, so that hundreds of thousands of windows take seconds. Everything is seeded.
"""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track

from driftline.core.bins import Bins
from driftline.core.distance import Distances, measure_distances
from driftline.core.grid import Grid
from driftline.core.profile import Profile, empty_profile
from driftline.core.significance import chi2_pvalues, psi_pvalues
from records import Record, make_parser, report

BLOCK = 20_000
REFERENCE_ROWS = 50_000
NAMES = tuple(f"v{i}" for i in range(50))
GRID = Grid(
    np.empty((0, 63), np.float32),
    np.empty((0, 63)),
    np.zeros((BLOCK, 2), np.int16),
    (NAMES,) * BLOCK,
    (None,) * BLOCK,
    np.empty(0),
    grid_id="one categorical feature a window",
)
BINS = Bins(50, np.tile(np.arange(GRID.width, dtype=np.uint8) % 52, (BLOCK, 1)))

POWER_LAW = 1 / np.arange(1, 51) ** 1.5
SHARES: dict[str, NDArray[np.float64]] = {
    "50 equal bins": np.full(50, 1 / 50),
    "20 equal bins": np.full(20, 1 / 20),
    "10 equal bins": np.full(10, 1 / 10),
    "3 values of 60, 30 and 10 %": np.array([0.6, 0.3, 0.1]),
    "a flag of 1 %": np.array([0.99, 0.01]),
    "a flag of 0.1 %": np.array([0.999, 0.001]),
    "50 categories by a power law": POWER_LAW / POWER_LAW.sum(),
}
LEVELS = (1e-2, 1e-3, 1e-5)

Rows = tuple[tuple[int, int], ...]
"""How many rows there are of each weight."""
MIXED: tuple[Rows, ...] = (
    ((979, 1), (280, 2)),
    ((979, 1), (69, 8)),
    ((2_000, 1), (100, 16)),
    ((100_000, 1), (5, 1_000)),
)


def simulate(shares: NDArray[np.float64], rows: Rows, seed: int) -> Distances:
    """Distances of as many pairs of samples of one distribution as a block holds."""
    rng = np.random.default_rng([len(shares), *(size for size, _ in rows), seed])
    return measure_distances(
        GRID, BINS, draw_profiles(rng, shares, ((REFERENCE_ROWS, 1),)), draw_profiles(rng, shares, rows)
    )


def draw_profiles(rng: Generator, shares: NDArray[np.float64], rows: Rows) -> Profile:
    """Draw as many samples as a block holds, side by side in one profile."""
    counts = np.zeros((BLOCK, GRID.width), np.int64)
    for size, weight in rows:
        counts[:, : len(shares)] += weight * rng.multinomial(size, shares, BLOCK)
    return replace(
        empty_profile(GRID),
        rows=sum(size for size, _ in rows),
        weight=sum(size * weight for size, weight in rows),
        weight_squares=sum(size * weight**2 for size, weight in rows),
        weight_cubes=float(sum(size * weight**3 for size, weight in rows)),
        counts=counts,
    )


def name_rows(rows: Rows) -> str:
    """Say how many rows there are, and what they weigh.

    >>> name_rows(((900, 1), (60, 8)))
    '900 rows and 60 of weight 8'
    """
    first, *others = rows
    return " and ".join([f"{first[0]:,} rows", *(f"{size:,} of weight {weight:,}" for size, weight in others)])


def measure(name: str, rows: Rows, blocks: int) -> list[Record]:
    """Share of windows whose p-value is below each level, by the level: 1 is calibrated, less is cautious."""
    found = {"psi": np.zeros(len(LEVELS)), "χ²": np.zeros(len(LEVELS))}
    for seed in range(blocks):
        drawn = simulate(SHARES[name], rows, seed)
        for test, pvalues in (
            ("psi", psi_pvalues(drawn.psi_raw, drawn.bins_used, drawn.expected_rows, drawn.actual_rows)),
            ("χ²", chi2_pvalues(drawn.chi2, drawn.freedom)),
        ):
            found[test] += [(pvalues < level).sum() for level in LEVELS]
    windows = blocks * BLOCK
    return [
        Record(f"{test}, {name_rows(rows)}, {name}: p < {level:g}", count / windows / level, "times the level")
        for test, counts in found.items()
        for level, count in zip(LEVELS, counts, strict=True)
    ]


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--windows", type=int, default=400_000, help="windows a line (default 400,000)")
    options = parser.parse_args()
    cases = [
        (name, ((rows, 1),))
        for name, shares in SHARES.items()
        for rows in (100, 200, 500, 900, 20_000)
        if rows >= 10 * len(shares) or len(shares) == 2
    ]
    mixed = ("50 equal bins", "10 equal bins", "3 values of 60, 30 and 10 %", "50 categories by a power law")
    cases += [(name, rows) for name in mixed for rows in MIXED]
    blocks = max(options.windows // BLOCK, 1)
    records = [record for name, rows in track(cases, "windows") for record in measure(name, rows, blocks)]
    report(f"P-values when nothing changed, references of {REFERENCE_ROWS:,} rows", records, options)


if __name__ == "__main__":
    main()

"""Whether a 1 % sample of a stream leads to the same verdicts as the full stream. Everything is seeded."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track

from driftline.core.batch import keep_keys
from driftline.core.columns import Columns
from driftline.core.drift import Drift, compute_drift
from driftline.core.profile import Profile, merge_profiles, profile_rows
from driftline.core.reference import Reference, build_reference
from driftline.core.schema import Feature, Kind, Schema
from driftline.core.window import DAY
from population import SHAPES
from records import Record, make_parser, report

N = 100
WINDOWS = {10_000: 200, 30_000: 200, 100_000: 100, 300_000: 50, 1_000_000: 20}
REFERENCE_ROWS = 100_000
CHUNK = 50_000
EFFECTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5)
"""PSI of the populations, on the version's bins; the thresholds are 0.1 and 0.2."""
UNCHANGED = 2 * len(SHAPES)

CATEGORIES = 20
FREQUENT = 1 / np.arange(1, CATEGORIES + 1)
FREQUENT /= FREQUENT.sum()

Draw = Callable[[Generator, int, float], NDArray[np.floating]]


def draw_zero_inflated(rng: Generator, rows: int, by: float) -> NDArray[np.floating]:
    return np.where(rng.random(rows) < 0.4 + by, 0, rng.standard_exponential(rows))


def draw_with_missing(rng: Generator, rows: int, by: float) -> NDArray[np.floating]:
    return np.where(rng.random(rows) < 0.02 + by, np.nan, rng.standard_normal(rows))


def draw_categories(rng: Generator, rows: int, by: float) -> NDArray[np.intp]:
    """Mix the shares with their reverse: frequent values become rare and the other way round."""
    mixed = np.cumsum((1 - by) * FREQUENT + by * FREQUENT[::-1])
    return np.minimum(np.searchsorted(mixed, rng.random(rows), side="right"), CATEGORIES - 1)


NUMBERS: dict[str, tuple[Draw, float]] = {
    "the mean": (lambda rng, rows, by: rng.standard_normal(rows) + by, 3.0),
    "the variance": (lambda rng, rows, by: rng.standard_normal(rows) * (1 + by), 5.0),
    "the share of zeros": (draw_zero_inflated, 0.59),
    "missing values": (draw_with_missing, 0.9),
}
"""What changes, and by how much at most."""
KINDS = (*NUMBERS, "the mix of categories")
SCHEMA = Schema(
    (
        *(Feature(f"{kind}, PSI {psi}", Kind.NUMERIC) for kind in NUMBERS for psi in EFFECTS),
        *(Feature(f"unchanged {i}", Kind.NUMERIC) for i in range(UNCHANGED)),
        *(Feature(f"{KINDS[-1]}, PSI {psi}", Kind.CATEGORICAL) for psi in EFFECTS),
    )
)
CHANGED = len(NUMBERS) * len(EFFECTS)


def draw_columns(rng: Generator, rows: int, by: NDArray[np.float64]) -> Columns:
    """Draw rows of all features, changed by so much."""
    block = np.empty((rows, CHANGED + UNCHANGED), np.float32)
    for k, (draw, _) in enumerate(NUMBERS.values()):
        for e in range(len(EFFECTS)):
            block[:, k * len(EFFECTS) + e] = draw(rng, rows, by[k, e])
    for i, shape in enumerate(SHAPES.values()):
        block[:, CHANGED + i :: len(SHAPES)] = shape(rng, (rows, UNCHANGED // len(SHAPES)))
    codes = np.stack([draw_categories(rng, rows, each) for each in by[-1]], axis=1)
    table = tuple(f"v{code}" for code in range(CATEGORIES))
    return Columns(block, np.full((rows, 2), np.nan), codes.astype(np.int32), (table,) * len(EFFECTS))


def judge(reference: Reference, profile: Profile) -> Drift:
    """Compare a window with its reference."""
    return compute_drift(reference.grid, reference.bins, reference.profile, profile, outputs=reference.outputs)


def make_reference(window_rows: int) -> Reference:
    """Build the reference of windows that bring so many rows once they are sampled."""
    columns = draw_columns(np.random.default_rng(1), REFERENCE_ROWS, np.zeros((len(KINDS), len(EFFECTS))))
    return build_reference(lambda: [(columns, None)], SCHEMA, window_length=DAY, window_rows=window_rows)


def size_changes(reference: Reference) -> NDArray[np.float64]:
    """Find, by bisection, how far each kind of change goes for each PSI [kinds, effects] of a large sample."""
    low = np.zeros((len(KINDS), len(EFFECTS)))
    high = np.repeat([[*(most for _, most in NUMBERS.values()), 1.0]], len(EFFECTS), axis=0).T
    place = [[reference.names.index(f"{kind}, PSI {psi}") for psi in EFFECTS] for kind in KINDS]
    for _ in range(12):
        middle = (low + high) / 2
        columns = draw_columns(np.random.default_rng(2), REFERENCE_ROWS, middle)
        above = judge(reference, profile_rows(reference.grid, columns)).psi_score[place] > EFFECTS
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def draw_window(
    reference: Reference, by: NDArray[np.float64], rows: int, seed: tuple[int, ...]
) -> tuple[Profile, Profile]:
    """Draw a window and count all of it, and the one in a hundred whose ids are kept."""
    rng = np.random.default_rng([3, *seed])
    full, sample = [], []
    for start in range(0, rows, CHUNK):
        size = min(CHUNK, rows - start)
        columns = draw_columns(rng, size, by)
        kept = np.flatnonzero(keep_keys(tuple(f"{seed}-{start + row}" for row in range(size)), N))
        full.append(profile_rows(reference.grid, columns))
        sample.append(profile_rows(reference.grid, columns, kept, N))
    return merge_profiles(full), merge_profiles(sample)


def draw_pool(
    reference: Reference, by: NDArray[np.float64], rows: int, window: int
) -> tuple[Profile, Profile, int]:
    """Draw windows until the sample has enough rows for a verdict; gives how many that took."""
    full, sample = draw_window(reference, by, rows, (rows, window, 0))
    windows = 1
    while sample.effective_rows < reference.bins.min_samples:
        more = draw_window(reference, by, rows, (rows, window, windows))
        full, sample = merge_profiles([full, more[0]]), merge_profiles([sample, more[1]])
        windows += 1
    return full, sample, windows


def measure(rows: int, windows: int) -> list[Record]:
    """Compare the verdicts on windows of so many rows with those on their samples."""
    reference = make_reference(rows // N)
    by = size_changes(reference)
    names = [name for name, output in zip(reference.names, reference.outputs, strict=True) if not output]
    levels = np.empty((windows, 2, len(names)), np.int8)
    pooled = 0
    for window in track(range(windows), f"windows of {rows:,} rows"):
        full, sample, taken = draw_pool(reference, by, rows, window)
        levels[window] = [judge(reference, profile).level[~reference.outputs] for profile in (full, sample)]
        pooled += taken > 1
    group = np.array([float(name.rpartition(" ")[2]) if "PSI" in name else 0.0 for name in names])
    records = [
        Record(
            f"{rows:,} rows, B = {reference.bins.count}: sample waits for another window",
            pooled / windows,
            "share",
        )
    ]
    for psi in (0.0, *EFFECTS):
        both = levels[:, :, group == psi]
        far = rows >= 30_000 if psi == 0 else rows >= 100_000 and psi in (0.05, 0.3, 0.5)
        budget = 0.995 if far else None
        change = f"{rows:,} rows, PSI {psi:g}"
        records += [
            Record(
                f"{change}: drifted or not, alike",
                _share((both[:, 0] == 2) == (both[:, 1] == 2)),
                "share",
                budget,
                "higher",
            ),
            Record(f"{change}: level, alike", _share(both[:, 0] == both[:, 1]), "share", None, "higher"),
            Record(f"{change}: drifted, full stream", _share(both[:, 0] == 2), "share"),
            Record(f"{change}: drifted, sample", _share(both[:, 1] == 2), "share"),
        ]
    return records


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean())


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="windows of each size, as a multiple of the default"
    )
    options = parser.parse_args()
    records = [
        record
        for rows, windows in WINDOWS.items()
        for record in measure(rows, max(int(windows * options.scale), 1))
    ]
    report("Verdicts on a 1 % sample and on the full stream", records, options)


if __name__ == "__main__":
    main()

"""How often 500 features cry wolf when nothing changed but rows count differently: sampled spikes, and entities.

Everything is seeded: the same figures come out every time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track

from driftline.core.columns import Columns
from driftline.core.drift import Status, compute_drift
from driftline.core.profile import Profile, merge_profiles, profile_rows
from driftline.core.reference import Reference
from population import draw_columns, draw_reference
from records import Record, make_parser, report

REFERENCE_ROWS = 50_000
REFERENCES = 3
SLICES = 90
FLUSHES = 60

Window = tuple[Columns, NDArray[np.int64], NDArray[np.uint64] | None]
"""Values, weights and entities of the rows."""


@cache
def find_reference(window_rows: int, number: int) -> Reference:
    """Draw one of the references of windows that bring so many rows."""
    return draw_reference(np.random.default_rng([1, window_rows, number]), REFERENCE_ROWS, window_rows)


@dataclass(slots=True)
class Tally:
    """What came of the windows of one case."""

    windows: int = 0
    judged: int = 0
    drifted: int = 0
    moderate: int = 0
    significant: float = 0.0
    effective_rows: float = 0.0

    def add(self, reference: Reference, profile: Profile) -> None:
        """Judge a window."""
        drift = compute_drift(
            reference.grid, reference.bins, reference.profile, profile, outputs=reference.outputs
        )
        features = drift.status == Status.OK
        self.windows += 1
        self.judged += bool(features.any())
        self.drifted += bool(drift.drifted.any())
        self.moderate += bool((drift.level > 0).any())
        self.significant += float((drift.pvalue[features] < 0.01).mean()) if features.any() else 0.0
        self.effective_rows += drift.effective_rows

    def list_records(self, name: str, *, budget: bool) -> list[Record]:
        """Name the shares of the windows that got a verdict."""
        judged = max(self.judged, 1)
        return [
            Record(f"{name}: effective rows", self.effective_rows / self.windows, "rows"),
            Record(f"{name}: windows with a verdict", self.judged / self.windows, "share"),
            Record(f"{name}: with a drifted feature", self.drifted / judged, "share", 0.01 if budget else None),
            Record(f"{name}: with a moderate one", self.moderate / judged, "share"),
            Record(f"{name}: features with p < 0.01", self.significant / judged, "share"),
        ]


def draw_spike(rng: Generator, spike: int, max_rows: int) -> Window:
    """A window of 1,000 rows, but for one slice that brings more; N doubles there until its rows fit."""
    arrived = rng.poisson(1_000 / SLICES, SLICES)
    rest, n = int(rng.poisson(1_000 / SLICES * spike)), 1
    while rest > max_rows:
        rest, n = int(rng.binomial(rest, 0.5)), n * 2
    weights = np.repeat([1, n], [arrived[1:].sum(), rest]).astype(np.int64)
    return draw_columns(rng, len(weights)), weights, None


def measure_spikes(spike: int, max_rows: int, windows: int) -> list[Record]:
    """Judge windows whose rows have mixed weights."""
    tally = Tally()
    name = f"spike x {spike:,}, slices of {max_rows:,}"
    for window in track(range(windows), name):
        reference = find_reference(1_000, window % REFERENCES)
        columns, weights, _ = draw_spike(np.random.default_rng([2, spike, max_rows, window]), spike, max_rows)
        tally.add(reference, profile_rows(reference.grid, columns, weights=weights))
    return tally.list_records(name, budget=True)


SIZES: dict[str, Callable[[Generator, int], NDArray[np.int64]]] = {
    "5 rows each": lambda _, entities: np.full(entities, 5),
    "geometric": lambda rng, entities: rng.geometric(0.2, entities),
    "lognormal": lambda rng, entities: np.ceil(rng.lognormal(1.0, 1.0, entities)).astype(np.int64),
}
"""How many rows entities have: five on average."""
CASES = ((200, "5 rows each"), (1_000, "5 rows each"), (1_000, "geometric"), (2_000, "lognormal"))


def draw_entities(rng: Generator, entities: int, sizes: str) -> Window:
    """Entities whose features are the same in all their rows, which are spread over the window."""
    rows_of = SIZES[sizes](rng, entities)
    hashes = np.repeat(rng.integers(0, 2**64, entities, np.uint64), rows_of)
    columns = draw_columns(rng, entities).take(np.repeat(np.arange(entities), rows_of))
    return columns, np.ones(len(hashes), np.int64), hashes


def profile_flushes(reference: Reference, window: Window, rng: Generator, *, forget: bool) -> Profile:
    """Count a window flush by flush; `forget` which entities came in others."""
    columns, weights, hashes = window
    flush = rng.integers(0, FLUSHES, len(weights))
    parts = []
    for each in range(FLUSHES):
        named = replace(columns, entities=hashes + np.uint64(each) if forget else hashes)
        parts.append(profile_rows(reference.grid, named, np.flatnonzero(flush == each), weights))
    return merge_profiles(parts)


def measure_entities(entities: int, sizes: str, windows: int) -> list[Record]:
    """Judge windows of entities, counted as rows, as entities of each flush, and as entities of the window."""
    rows, flushes, whole = Tally(), Tally(), Tally()
    name = f"{entities:,} entities, {sizes}"
    for window in track(range(windows), name):
        reference = find_reference(entities, window % REFERENCES)
        rng = np.random.default_rng([3, entities, len(sizes), window])
        drawn = draw_entities(rng, entities, sizes)
        rows.add(reference, profile_rows(reference.grid, drawn[0]))
        flushes.add(reference, profile_flushes(reference, drawn, rng, forget=True))
        whole.add(reference, profile_flushes(reference, drawn, rng, forget=False))
    return [
        *rows.list_records(f"{name}, by row", budget=False),
        *flushes.list_records(f"{name}, by flush", budget=False),
        *whole.list_records(f"{name}, by entity", budget=True),
    ]


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--windows", type=int, default=100, help="windows a case (default 100)")
    options = parser.parse_args()
    records = [
        record
        for spike, max_rows in ((1, 1_000), (50, 1_000), (200, 1_000), (1_000, 1_000), (50, 100))
        for record in measure_spikes(spike, max_rows, options.windows)
    ]
    for entities, sizes in CASES:
        records += measure_entities(entities, sizes, options.windows)
    report("Nothing changed, 500 features, rows of unequal weight", records, options)


if __name__ == "__main__":
    main()

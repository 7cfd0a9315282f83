"""How fast windows are profiled and compared with a prepared reference, beside NumPy and other libraries."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich import print as show

from driftline.core.columns import Columns
from driftline.core.drift import compute_drift
from driftline.core.profile import profile_rows
from driftline.core.reference import Reference, build_reference
from driftline.core.schema import Feature, Kind, Schema
from driftline.core.window import DAY
from peers import time_peers
from population import NUMERIC, SCHEMA, draw_columns, draw_reference
from records import Record, make_parser, report, time_runs

REFERENCE_ROWS = 20_000
WINDOW_ROWS = 900
BULK_ROWS, BULK_FEATURES = 1_000_000, 20
RUNS = 200
BULK_RUNS = 15


def compare(reference: Reference, columns: Columns) -> object:
    """Profile a window and compare it, all metrics of all features."""
    profile = profile_rows(reference.grid, columns)
    return compute_drift(reference.grid, reference.bins, reference.profile, profile, outputs=reference.outputs)


def measure_window(reference: Reference, columns: Columns) -> list[Record]:
    """900 rows of 400 numeric and 100 categorical features against a prepared reference."""
    profile = profile_rows(reference.grid, columns)
    drift = time_runs(
        lambda: compute_drift(
            reference.grid, reference.bins, reference.profile, profile, outputs=reference.outputs
        ),
        RUNS,
    )
    both = time_runs(lambda: compare(reference, columns), RUNS)
    what = f"{WINDOW_ROWS} rows x 500 features"
    return [
        Record(f"{what}: all metrics, once profiled, median", drift.median * 1e3, "ms", 5),
        Record(f"{what}: all metrics, once profiled, best", drift.least * 1e3, "ms"),
        Record(f"{what}: profiled and compared, median", both.median * 1e3, "ms", 10),
        Record(f"{what}: profiled and compared, best", both.least * 1e3, "ms"),
    ]


def measure_bulk(rng: Generator) -> list[Record]:
    """A million rows of 20 features on one core, beside searchsorted and bincount on the same edges."""
    block = rng.standard_normal((BULK_ROWS, BULK_FEATURES), np.float32)
    nothing, codes = np.full((BULK_ROWS, 2), np.nan), np.empty((BULK_ROWS, 0), np.uint16)
    schema = Schema(tuple(Feature(f"x{i}", Kind.NUMERIC) for i in range(BULK_FEATURES)))
    head = Columns(block[:REFERENCE_ROWS], nothing[:REFERENCE_ROWS], codes[:REFERENCE_ROWS], ())
    reference = build_reference(lambda: [(head, None)], schema, window_length=DAY)
    grid, values = reference.grid, block.size + nothing.size
    records = []
    for order in ("row", "column"):
        laid = np.asarray(block, order="C" if order == "row" else "F")  # type: ignore[call-overload]
        columns = Columns(laid, np.asarray(nothing, order="F"), codes, ())
        timing = time_runs(lambda columns=columns: profile_rows(grid, columns), BULK_RUNS)  # type: ignore[misc]
        name = f"1,000,000 rows x 20 features, {order} by {order}"
        records += [
            Record(f"{name}: profiled, median", timing.median / values * 1e9, "ns/value", 10),
            Record(f"{name}: profiled, best", timing.least / values * 1e9, "ns/value"),
            Record(f"{name}: profiled, median", values / timing.median / 1e6, "M values/s", 100, "higher"),
        ]
    timing = time_runs(lambda: search_and_count(np.asfortranarray(block), grid.edges32), 3)
    plain = Record("NumPy, searchsorted and bincount, median", timing.median / block.size * 1e9, "ns/value")
    return [*records, plain]


def search_and_count(block: NDArray[np.float32], edges: NDArray[np.float32]) -> list[NDArray[np.intp]]:
    """Count the cells of every feature as one would by hand."""
    return [
        np.bincount(np.searchsorted(row, values, side="right"), minlength=len(row) + 1)
        for values, row in zip(block.T, edges, strict=True)
    ]


def measure_peers(reference: Columns, window: Columns) -> list[Record]:
    """The same window in other libraries."""
    try:
        import pandas as pd  # noqa: PLC0415
    except ImportError:
        return []
    names = [feature.name for feature in SCHEMA.features]

    def frame(columns: Columns) -> "pd.DataFrame":
        texts = [
            np.append(np.array(table, object), None)[columns.codes[:, c]] for c, table in enumerate(columns.tables)
        ]
        numbers = {name: columns.float32[:, f] for f, name in enumerate(names[:NUMERIC])}
        return pd.DataFrame(numbers | dict(zip(names[NUMERIC:], texts, strict=True)))

    records = []
    for outcome in time_peers(frame(reference), frame(window)):
        if isinstance(outcome, Record):
            records.append(outcome)
        else:
            show(outcome)
    return records


def main() -> None:
    """Measure and report."""
    options = make_parser(__doc__).parse_args()
    rng = np.random.default_rng(1)
    training, window = draw_columns(rng, REFERENCE_ROWS), draw_columns(rng, WINDOW_ROWS)
    reference = draw_reference(np.random.default_rng(1), REFERENCE_ROWS, WINDOW_ROWS)
    records = measure_window(reference, window) + measure_bulk(rng) + measure_peers(training, window)
    report("A window against its reference, one core", records, options)


if __name__ == "__main__":
    main()

"""How well performance is estimated before the labels come, how long that takes, and beside NannyML.

Everything is seeded: the same figures come out every time. `--peers FOLDER` reads what `peers_estimate.py` wrote.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.special import expit, softmax

from driftline.core.bands import measure_bands
from driftline.core.estimate import estimate_performance, estimated_names, fit_estimator, outputs_of
from driftline.core.estimate_payload import encode_estimator
from driftline.core.outcomes import Outcomes
from driftline.core.performance import Performance, measure_performance
from driftline.core.schema import Task
from records import Record, make_parser, report, time_runs

Array = NDArray[np.float64]
Drawn = tuple[Outcomes, Array | None]

WINDOW_ROWS = 1_000
WINDOWS = 20  # a reference


def draw_binary(rng: Generator, rows: int, shift: float, offset: float = 0, flipped: float = 0) -> Drawn:
    """One feature decides; the scores rank rightly, but are too sure and too high. Its spread shifts as well."""
    feature = rng.normal(shift, rng.uniform(0.7, 1.2) if shift else 1.0, rows)
    truth = (rng.random(rows) < expit(1.5 * feature + offset)) ^ (rng.random(rows) < flipped)
    scores = expit(1.5 * (1.5 * feature + offset) + 0.5)
    claimed = (scores > (0.6 if offset == 0 else 0.2)).astype(int)
    return Outcomes(truth.astype(int), claimed, scores, np.ones(rows), None, ("no", "yes")), None


def draw_multiclass(rng: Generator, rows: int, shift: float, classes: int) -> Drawn:
    """Three features decide; the scores of all classes are too sure."""
    effects = np.random.default_rng(1).normal(0, 1.3, (3, classes))
    odds = rng.normal((shift, 0, 0), 1, (rows, 3)) @ effects + np.linspace(0.5, -0.8, classes)
    truth = (rng.random((rows, 1)) > softmax(odds, axis=1).cumsum(axis=1)[:, :-1]).sum(axis=1)
    scores = softmax(1.7 * odds, axis=1)
    names = tuple(map(str, range(classes)))
    return Outcomes(truth, scores.argmax(axis=1), scores, np.ones(rows), None, names), None


def draw_regression(rng: Generator, rows: int, shift: float) -> Drawn:
    """The model misses the square of a feature, and noise grows with another."""
    features = rng.normal((shift, 0, 0, 0), 1, (rows, 4))
    noise = rng.standard_normal(rows) * np.exp(0.4 * features[:, 0])
    truth = 2 * features[:, 0] + features[:, 1] ** 2 + noise
    return Outcomes(truth, 2 * features[:, 0] + 1, None, np.ones(rows), None), features


CASES: dict[str, tuple[Task, Callable[[Generator, int, float], Drawn], float]] = {
    "2 classes": (Task.BINARY, draw_binary, 1.0),
    "2 classes, 9 % positive": (Task.BINARY, lambda rng, n, shift: draw_binary(rng, n, shift, -3), 1.0),
    "3 classes": (Task.MULTICLASS, lambda rng, n, shift: draw_multiclass(rng, n, shift, 3), 1.0),
    "6 classes": (Task.MULTICLASS, lambda rng, n, shift: draw_multiclass(rng, n, shift, 6), 1.0),
    "regression": (Task.REGRESSION, draw_regression, 0.5),
}
"""Task, how a window is drawn, and by how much its features shift at most."""


def pick(performance: Performance, names: tuple[str, ...]) -> Array:
    """Take what was measured of the metrics that are estimated."""
    return np.array([performance.values[performance.names.index(name)] for name in names])


def simulate(case: str, reference_rows: int, references: int) -> tuple[Array, Array, Array]:
    """Give what was estimated and measured: values, half widths and realised values [windows, k]."""
    task, draw, most = CASES[case]
    found: tuple[list[Array], list[Array], list[Array]] = ([], [], [])
    for seed in track(range(references), f"{case}, {reference_rows:,} rows"):
        rng = np.random.default_rng([seed, reference_rows])
        reference, features = draw(rng, reference_rows, 0)
        estimator = fit_estimator(task, reference, rng, features)
        for _ in range(WINDOWS):
            window, features = draw(rng, WINDOW_ROWS, rng.uniform(-most, most))
            estimate = estimate_performance(estimator, outputs_of(window, features))
            found[0].append(estimate.values)
            found[1].append((estimate.upper - estimate.lower) / 2)
            found[2].append(pick(measure_performance(task, window), estimate.names))
    return np.array(found[0]), np.array(found[1]), np.array(found[2])


def measure_coverage(case: str, reference_rows: int, references: int) -> Iterator[Record]:
    """Record how often 95 % intervals hold what is measured when the labels come, and how wide they are."""
    names = estimated_names(CASES[case][0])
    values, halves, realised = simulate(case, reference_rows, references)
    demanded = reference_rows >= 3_000
    for k, name in enumerate(names):
        known = np.isfinite(values[:, k] + realised[:, k])
        held = np.abs(realised[known, k] - values[known, k]) <= halves[known, k] + 1e-9
        what = f"{case}, {reference_rows:,} rows: {name}"
        yield Record(f"{what} held", held.mean(), "share", 0.90 if demanded else None, "higher")
        if name == "roc_auc":
            limit = 0.05 if demanded else None
            yield Record(f"{what} half width", float(np.median(halves[known, k])), "", limit)


def measure_blindness(windows: int) -> list[Record]:
    """Record that labels which flip change the metric and not its estimate."""
    rng = np.random.default_rng(5)
    estimator = fit_estimator(Task.BINARY, draw_binary(rng, 10_000, 0)[0], rng)
    estimated, measured = [], []
    for _ in range(windows):
        window, _ = draw_binary(rng, WINDOW_ROWS, 0, flipped=0.3)
        estimated.append(estimate_performance(estimator, outputs_of(window)).values[-1])
        measured.append(pick(measure_performance(Task.BINARY, window), ("roc_auc",))[0])
    return [
        Record("30 % of labels flipped: roc_auc estimated", float(np.mean(estimated)), ""),
        Record("30 % of labels flipped: roc_auc measured", float(np.mean(measured)), ""),
    ]


def measure_time(case: str) -> list[Record]:
    """Time the fit, its bands and one window."""
    task, draw, _ = CASES[case]
    rng = np.random.default_rng(6)
    reference, features = draw(rng, 10_000, 0)
    estimator = fit_estimator(task, reference, rng, features)
    bands = measure_bands(estimator, reference, rng, window_rows=WINDOW_ROWS, features=features)
    outputs = outputs_of(*draw(rng, WINDOW_ROWS, 0))
    fit = time_runs(lambda: fit_estimator(task, reference, rng, features), 3)
    banded = time_runs(
        lambda: measure_bands(estimator, reference, rng, window_rows=WINDOW_ROWS, features=features), 3
    )
    window = time_runs(lambda: estimate_performance(estimator, outputs), 20)
    return [
        Record(f"{case}: fit to 10,000 rows", fit.median * 1e3, "ms"),
        Record(f"{case}: bands", banded.median * 1e3, "ms"),
        Record(f"{case}: a window of 1,000 rows", window.median * 1e3, "ms", 20),
        Record(f"{case}: stored", len(encode_estimator(estimator, bands)) / 1e3, "kB"),
    ]


PEER_NAMES = {"f1": "f1_macro", "roc_auc": "roc_auc_ovr"}
"""What NannyML's metrics of several classes are called here."""


def read_outcomes(kept: Any, part: str, task: Task) -> Drawn:
    """Read the reference or the windows of a data set."""
    truth, prediction = kept[f"{part}_truth"], kept[f"{part}_prediction"]
    scores, features = (kept.get(f"{part}_{name}") for name in ("scores", "features"))
    classes = 0
    if task is not Task.REGRESSION:
        truth, prediction = truth.astype(int), prediction.astype(int)
        classes = 2 if scores.ndim == 1 else scores.shape[1]
    names = tuple(map(str, range(classes)))
    return Outcomes(truth, prediction, scores, np.ones(len(truth)), None, names), features


def compare_peer(path: Path) -> Iterator[tuple[str, ...]]:
    """Estimate the windows of a data set, and lay the errors beside NannyML's."""
    kept = np.load(path)
    task = Task(str(kept["task"]))
    reference, features = read_outcomes(kept, "reference", task)
    estimator = fit_estimator(task, reference, np.random.default_rng(1), features)
    everything, features = read_outcomes(kept, "window", task)
    estimates, realised = [], []
    for rows in map(np.arange, kept["start"], kept["end"]):
        window = everything.take(rows)
        outputs = outputs_of(window, None if features is None else features[rows])
        estimates.append(estimate_performance(estimator, outputs))
        realised.append(measure_performance(task, window))
    for k, metric in enumerate(kept["metrics"].tolist()):
        name = PEER_NAMES.get(metric, metric) if task is Task.MULTICLASS else metric
        at = estimates[0].names.index(name)
        values = np.array([pick(performance, (name,))[0] for performance in realised])
        ours = np.array([[one.values[at], one.lower[at], one.upper[at]] for one in estimates]).T
        theirs, half = kept["value"][:, k], 1.96 * kept["error"][:, k]
        known = np.isfinite(values + ours[0] + theirs)
        digits = 0 if task is Task.REGRESSION else 4
        errors = (ours[0] - values, theirs - values, ours[0] - theirs)
        yield (
            path.stem,
            name,
            f"{values[known].mean():.{digits}f}",
            *(f"{np.abs(error[known]).mean():.{digits}f}" for error in errors),
            f"{np.mean(((ours[1] <= values) & (values <= ours[2]))[known]):.0%}",
            f"{np.mean((np.abs(values - theirs) <= half)[known]):.0%}",
            f"{np.median((ours[2] - ours[1])[known]) / 2:.{digits}f}",
            f"{np.median(half[known]):.{digits}f}",
        )


PEER_COLUMNS = (
    "data",
    "metric",
    "measured",
    "error",
    "NannyML's",
    "between",
    "held",
    "NannyML's",
    "half width",
    "NannyML's",
)


def compare_peers(folder: Path) -> None:
    """Print the comparison with NannyML, window by window on the data that it ships."""
    table = Table(title="Beside NannyML: mean absolute error of the estimates, and 95 % intervals")
    for column in PEER_COLUMNS:
        table.add_column(column)
    for path in sorted(folder.glob("*.npz")):
        for row in compare_peer(path):
            table.add_row(*row)
    Console(width=150).print(table)


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--references", type=int, default=40, help="references a case (default 40)")
    parser.add_argument(
        "--peers", type=Path, metavar="FOLDER", help="what peers_estimate.py wrote; nothing else runs"
    )
    options = parser.parse_args()
    if options.peers:
        compare_peers(options.peers)
        return
    records = [
        record
        for case in CASES
        for rows in (300, 1_000, 3_000, 10_000)
        for record in measure_coverage(case, rows, options.references)
    ]
    records += measure_blindness(100)
    for case in ("2 classes", "6 classes", "regression"):
        records += measure_time(case)
    report("Performance before the labels come", records, options)


if __name__ == "__main__":
    main()

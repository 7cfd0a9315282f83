"""`driftline.compare`: two datasets in, a report out."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from driftline.core.drift import NaturalVariation, compute_drift
from driftline.core.moment import NO_TIME
from driftline.core.natural import hour_of_week
from driftline.core.profile import Profile, empty_profile, merge_profiles, profile_rows
from driftline.core.reference import Reference
from driftline.core.schema import Schema, zone
from driftline.core.summary import summarize
from driftline.core.window import DAY, MICROSECONDS, format_length
from driftline.report.basis import Basis, make_basis, read_reference, take_basis
from driftline.report.columns import find_column_changes, find_reading, find_type_changes
from driftline.report.dataset import Dataset, Progress
from driftline.report.feature import rank
from driftline.report.inspection import Comparison, inspect_profiles
from driftline.report.measure import measure_features
from driftline.report.quality import QualityFinding, Severity, Side, settle, sort_findings
from driftline.report.report import Report

HOUR = 3600 * MICROSECONDS


def compare(
    reference: Any,
    current: Any,
    *,
    schema: Schema | Mapping[str, Any] | None = None,
    task: str | None = None,
    window: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    timestamp: str | None = None,
    categorical: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    created_at: datetime | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compare two datasets, feature by feature, and say which features have drifted.

    Both are frames (pandas, Polars, Arrow) or paths of Parquet, CSV or Arrow files of any size; `reference`
    may also be a `Reference`, or the path of one, built before. What each column means is told from the
    reference: `categorical` names columns that are categories although they look like numbers, `task` says
    what the model predicts (binary, multiclass, regression, ranking), `prediction`, `score` and `timestamp`
    name the columns of that sort where they are not called so; or `schema` says it all. `columns` and
    `exclude` choose what is compared.

    With `window` (such as 1h or 1d, about the time that the current data span) the reference's own windows
    are compared with the whole of it, and only what goes beyond that natural variation counts as drift.

    Raises InvalidInput, which names the column or option and the fix.

    >>> import pyarrow as pa
    >>> report = compare(pa.table({"x": range(1000)}), pa.table({"x": range(300, 1300)}))
    >>> report.verdict
    '1 of 1 feature drifted: x.'
    >>> round(report["x"].ks_statistic, 2)
    0.3
    """
    options: dict[str, Any] = {
        "schema": schema,
        "task": task,
        "prediction": prediction,
        "score": score,
        "timestamp": timestamp,
        "categorical": categorical,
        "columns": columns,
        "exclude": exclude,
    }
    now = Dataset(current, "current", progress)
    built = reference if isinstance(reference, Reference) else None
    if isinstance(reference, str | Path):
        built = read_reference(Path(reference))
    if built is None:
        basis = make_basis(Dataset(reference, "reference", progress), now, window, options)
    else:
        name = Path(reference).name if isinstance(reference, str | Path) else "reference"
        basis = take_basis(built, name, now, {**options, "window": window})
    return _report(basis, now, created_at or datetime.now(UTC))


def _report(basis: Basis, now: Dataset, created_at: datetime) -> Report:
    reference = basis.reference
    actual, natural, span = _profile(reference, now)
    least = reference.bins.min_samples
    if reference.profile.rows < least:  # too few to say what is usual: no number of current rows is enough
        least = sys.maxsize
    drift = compute_drift(
        reference.grid,
        reference.bins,
        reference.profile,
        actual,
        natural=natural,
        outputs=reference.outputs,
        min_samples=least,
    )
    both = Comparison(reference, actual, summarize(reference.grid, reference.profile), drift.summary)
    features = measure_features(both, drift, natural)
    names = {feature.feature_name for feature in features}
    inspected = (finding for finding in inspect_profiles(both) if finding.column in names)
    found = [
        *basis.findings,
        *find_reading(now, Side.CURRENT, reference.schema),
        *find_column_changes(reference, now, basis.columns),
        *find_type_changes(reference, now, actual),
        *_find_long_span(reference, now, span),
        *inspected,
    ]
    return Report(
        features=rank(features),
        findings=sort_findings(settle(found)),
        reference=basis.name,
        current=now.name,
        reference_rows=reference.profile.rows,
        current_rows=actual.rows,
        bins=reference.bins.count,
        min_samples=reference.bins.min_samples,
        window=None if reference.natural is None else format_length(reference.window_length),
        left_out=basis.left_out,
        created_at=created_at,
    )


def _profile(reference: Reference, now: Dataset) -> tuple[Profile, NaturalVariation | None, int]:
    """Count the current rows, take the natural variation of their hours of the week, and their span."""
    parts, hours = [empty_profile(reference.grid)], set[int]()
    bounds = list[int]()
    for packed in now.pack(reference.schema):
        parts = [merge_profiles([*parts, profile_rows(reference.grid, packed.columns)])]
        if packed.timestamps is not None and len(times := packed.timestamps[packed.timestamps != NO_TIME]):
            hours |= _hours_of_week(times, zone(reference.schema))
            bounds = [min([*bounds, int(times.min())]), max([*bounds, int(times.max())])]
    return parts[0], _natural_at(reference.natural, hours), bounds[-1] - bounds[0] if bounds else 0


def _find_long_span(reference: Reference, now: Dataset, span: int) -> Iterator[QualityFinding]:
    """Say when the current data span more than the windows whose natural variation raised the thresholds."""
    length = reference.window_length
    if reference.natural is None or span <= 2 * length or length == DAY:
        return
    longer = next((f"{hours}h" for hours in (2, 3, 4, 6, 8, 12) if hours * HOUR >= span), "1d")
    message = (
        f"the current data span {span / HOUR:,.0f} hours, but the thresholds allow for what windows of "
        f"{format_length(length)} vary by: too much for so long a time; choose a window of {longer}"
    )
    yield QualityFinding("", Side.CURRENT, "long_span", Severity.WARNING, now.rows, message)


def _hours_of_week(times: NDArray[np.int64], model_zone: ZoneInfo) -> set[int]:
    hours = np.unique(times // HOUR)
    return {hour_of_week(int(hour) * HOUR, model_zone) for hour in hours}


def _natural_at(natural: NaturalVariation | None, hours: set[int]) -> NaturalVariation | None:
    """Take the largest variation of some hours of the week, of all when they are not known."""
    if natural is None or len(natural.psi) == 1:
        return natural
    rows = sorted(hours) or slice(None)
    return NaturalVariation(
        natural.psi[rows].max(axis=0, keepdims=True), natural.ks[rows].max(axis=0, keepdims=True)
    )

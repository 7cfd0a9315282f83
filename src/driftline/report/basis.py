"""The basis of a comparison: a reference built from a dataset, or one that was built before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.core.bins import choose_bins, group_cells
from driftline.core.columns import Columns
from driftline.core.errors import InvalidFrame, InvalidInput
from driftline.core.moment import NO_TIME
from driftline.core.reference import Reference, build_reference, decode_reference
from driftline.core.schema import LABEL, Schema, Task
from driftline.core.source import check_present, open_frame
from driftline.core.window import DAY, format_length, parse_length
from driftline.report.columns import find_foreign_numbers, find_reading, profiled_columns
from driftline.report.dataset import Dataset
from driftline.report.quality import QualityFinding, Severity, Side

_MAGIC = b"\x28\xb5\x2f\xfd"  # Zstandard, which no format of tables begins with


def read_reference(path: Path) -> Reference | None:
    """Read a reference that was built before; None when the file is something else."""
    try:
        with path.open("rb") as file:
            if path.suffix != ".driftline" and file.read(len(_MAGIC)) != _MAGIC:
                return None
            file.seek(0)
            return decode_reference(file.read())
    except FileNotFoundError:
        raise InvalidFrame(f"{path}: there is no such file", field="path") from None
    except OSError:
        return None  # a directory, say: reading it as a table names the fault
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}", field="path") from error


@dataclass(frozen=True, slots=True)
class Basis:
    """What the current data are compared with, and what was found on the way to it.

    `columns` are those that the reference's data had, `left_out` those of them that were not compared.
    """

    reference: Reference
    name: str
    columns: frozenset[str]
    left_out: tuple[str, ...] = ()
    findings: tuple[QualityFinding, ...] = ()


def take_basis(built: Reference, name: str, now: Dataset, options: Mapping[str, Any]) -> Basis:
    """Compare with a reference that was built before, over as many bins as the current rows allow.

    Natural variation belongs to the number of bins that it was measured with, so there are never more.
    """
    for option, value in options.items():
        if value:
            raise InvalidInput(
                f"{name} was built before, so `{option}` cannot change; build the reference again with it",
                field=option,
            )
    if built.natural is None:
        now.dropped.add(built.schema.timestamp)
    count = choose_bins(min(now.count_rows(built.schema), built.profile.rows))
    if built.natural is not None:
        count = min(count, built.bins.count)
    bins = group_cells(built.grid, built.profile.counts, count)
    return Basis(replace(built, bins=bins), name, frozenset(profiled_columns(built)))


def make_basis(before: Dataset, now: Dataset, window: str | None, options: Mapping[str, Any]) -> Basis:
    """Build the reference from a dataset, over as many bins as both datasets (and each window) have rows for."""
    schema = choose_schema(before, **options)
    length = None if window is None else parse_length(window)
    if length is None:
        before.dropped.add(schema.timestamp)
    elif schema.timestamp not in before.names:
        raise InvalidInput(
            f"`window` needs timestamps, and {before.name} has no column {schema.timestamp!r}; "
            "name the column with `timestamp`, or leave `window` out",
            field="window",
        )
    now.dropped |= before.dropped
    rows = min(now.count_rows(schema), before.head_rows)
    reference = build_from(before, schema, window_length=length, window_rows=None if length else rows)
    if choose_bins(rows) < reference.bins.count:  # fewer than a window of the reference brings
        reference = build_from(before, schema, window_length=length, window_rows=rows)
    compared = profiled_columns(reference)
    asked = {*options["exclude"]} if options["columns"] is None else set(before.names)
    return Basis(
        reference,
        before.name,
        frozenset(before.names),
        tuple(name for name in before.names if name not in compared | asked),
        (
            *find_reading(before, Side.REFERENCE, schema),
            *find_foreign_numbers(before, schema, options["categorical"]),
            *_find_few_windows(reference, length),
        ),
    )


def choose_schema(
    dataset: Dataset,
    *,
    schema: Schema | Mapping[str, Any] | None = None,
    task: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    timestamp: str | None = None,
    label: str | None = None,
    categorical: Sequence[str] = (),
    segments: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> Schema:
    """Take the schema that was given, or infer one from a dataset; then leave out what was not wanted."""
    _check_names(dataset, "exclude", exclude)
    _check_names(dataset, "columns", columns or ())
    names = {"prediction": prediction, "score": score, "timestamp": timestamp, "label": label}
    for option, name in names.items():
        _check_names(dataset, option, [name] if name else ())
    chosen = {option: name for option, name in names.items() if name}
    if schema is not None:
        for option, value in {**chosen, "task": task, "categorical": categorical, "segments": segments}.items():
            if value:
                raise InvalidInput(f"`{option}` is part of the schema; say it there", field=option)
        declared = schema if isinstance(schema, Schema) else Schema.from_dict(schema)
        narrowed = _narrow(declared, columns, exclude)
        check_present(open_frame(dataset.head, ()), [feature.name for feature in narrowed.features])
        return narrowed
    _check_names(dataset, "categorical", categorical)
    _check_names(dataset, "segments", segments)
    dataset.dropped |= {*exclude}
    if columns is not None:
        dataset.dropped |= {*dataset.names} - {*columns, *segments, timestamp or "timestamp", label or LABEL}
    dataset.dropped |= {name for name in dataset.names if _is_index(name)}
    kind = None if task is None else _read_task(task)
    options: dict[str, Any] = {"task": kind, "categorical": categorical, "segments": segments, **chosen}
    try:
        return dataset.infer_schema(**options)
    except InvalidFrame:
        if not dataset.drop_unreadable(score or "score"):
            raise
        return dataset.infer_schema(**options)


def build_from(
    dataset: Dataset, schema: Schema, *, window_length: int | None, window_rows: float | None
) -> Reference:
    """Build a reference from a dataset, in bounded memory.

    Its natural variation is measured where the dataset has timestamps and a window is given.
    """
    if window_length is None:
        dataset.dropped.add(schema.timestamp)
    if not schema.features and not {schema.prediction, schema.score} & {*dataset.names}:
        raise InvalidFrame(f"{dataset.name} has no column that can be compared", field="columns")
    reference = build_reference(
        lambda: _chunks(dataset, schema), schema, window_length=window_length or DAY, window_rows=window_rows
    )
    if not reference.profile.rows:
        raise InvalidFrame(f"{dataset.name} has no rows; a reference needs some", field="reference")
    return reference


def _find_few_windows(reference: Reference, length: int | None) -> Iterator[QualityFinding]:
    if length is not None and reference.natural is None:
        yield QualityFinding(
            "",
            Side.REFERENCE,
            "few_windows",
            Severity.WARNING,
            0,
            f"the reference's windows of {format_length(length)} bring fewer than "
            f"{reference.bins.min_samples:,} rows{', even a day of them together' * (length < DAY)}, so its "
            "natural variation is not known; give more rows",
        )


def _chunks(dataset: Dataset, schema: Schema) -> Iterator[tuple[Columns, NDArray[np.int64] | None]]:
    for packed in dataset.pack(schema):
        times = packed.timestamps
        if times is None or (known := times != NO_TIME).all():
            yield packed.columns, times
            continue
        yield packed.columns.take(known), times[known]
        yield packed.columns.take(~known), None


def _narrow(schema: Schema, columns: Sequence[str] | None, exclude: Sequence[str]) -> Schema:
    features = tuple(
        feature
        for feature in schema.features
        if feature.name not in exclude and (columns is None or feature.name in columns)
    )
    return schema if features == schema.features else replace(schema, features=features)


def _check_names(dataset: Dataset, option: str, names: Sequence[str]) -> None:
    """Refuse names that no column has: a misspelt one would change nothing, silently."""
    for name in names:
        if name not in dataset.names:
            close = get_close_matches(name, dataset.names, 1)
            fix = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(map(repr, dataset.names[:10]))}"
            raise InvalidInput(f"`{option}`: {dataset.name} has no column {name!r}; {fix}", field=option)


def _is_index(name: str) -> bool:
    """Tell names that pandas gives to an index when it writes one, and others that no feature may have."""
    return name in ("", "Unnamed: 0") or name.startswith("__")


def _read_task(task: str) -> Task:
    try:
        return Task(task)
    except ValueError:
        raise InvalidInput(f"task is {task!r}; use {', '.join(Task)}", field="task") from None

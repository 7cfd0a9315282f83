"""The reference: what a model was trained on, as a grid and a profile in it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.core.baseline import Baseline, build_baseline
from driftline.core.baseline_payload import decode_baseline, encode_baseline
from driftline.core.bins import CHOICES, Bins, choose_bins, group_cells
from driftline.core.coarse import coarsen_grid, coarsen_profile, map_cells
from driftline.core.columns import Columns
from driftline.core.drift import NaturalVariation
from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.grid import Grid, check_grid
from driftline.core.labelled import LabelledRows
from driftline.core.natural import measure_natural_variation
from driftline.core.payload import Block, read_block, read_payload, write_block, write_payload
from driftline.core.profile import (
    Profile,
    decode_profile,
    empty_profile,
    encode_profile,
    locate_columns,
    merge_profiles,
    profile_rows,
)
from driftline.core.schema import PREDICTION, SCORE, Schema, layout, zone
from driftline.core.segment import BINS as SEGMENT_BINS
from driftline.core.segment import EVERYTHING, MAX_VALUES, SegmentColumn, choose_values, split_segments
from driftline.core.sketch import ReferenceSketch
from driftline.core.window import DAY, assign_windows, in_calendar

_FORMAT: Final = "driftline-reference-1"
_MAX_BYTES = 1 << 31
_MAX_WINDOWS = 10_000

Chunks = Callable[[], Iterable[tuple[Columns, NDArray[np.int64] | None]]]


@dataclass(frozen=True, slots=True)
class Reference:
    """What windows of one model version are compared with; immutable.

    `profile` is the reference's own profile in `grid`, `distinct` [F] its number of distinct values (estimated
    when the data did not fit in memory). `coarse` is the grid that segments are counted in, `coarse_cells` the
    cell in it of each cell of `grid`; `segment_profiles` the reference's profile of each segment there and, as
    `EVERYTHING`, of the whole. `window_length` (µs) is the one that B and the natural variation are for.
    `baseline` is how well the model did, where the data have labels.
    """

    schema: Schema
    window_length: int
    grid: Grid
    profile: Profile
    bins: Bins
    distinct: NDArray[np.int64]
    natural: NaturalVariation | None
    segments: tuple[SegmentColumn, ...]
    coarse: Grid
    coarse_cells: NDArray[np.int64]
    coarse_bins: Bins
    segment_profiles: Mapping[str, Profile]
    baseline: Baseline | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in profile order."""
        return layout(self.schema).names

    @property
    def outputs(self) -> NDArray[np.bool_]:
        """Which features are the model's outputs [F]: they are tested on their own."""
        return np.isin(self.names, (PREDICTION, SCORE))


def build_reference(
    chunks: Chunks, schema: Schema, *, window_length: int, window_rows: float | None = None
) -> Reference:
    """Build a reference in bounded memory from packed rows.

    `chunks` is called for each of two passes and gives (columns, timestamps or None): the first pass places the
    cells, the second counts. `window_rows` is how many rows a window of production brings; when it is not
    given, the timestamps tell, and without those a window is taken to bring enough for 50 bins.
    """
    sketch = ReferenceSketch(schema)
    for columns, _ in chunks():
        sketch.update(columns)
    grid, distinct = sketch.build_grid()
    segments = tuple(SegmentColumn(name, choose_values(sketch.count_segment(name))) for name in schema.segments)
    whole, windows = _count(grid, chunks, schema, window_length)
    bins = group_cells(grid, whole.counts, choose_bins(_expect_rows(window_rows, whole, windows)))
    coarse = coarsen_grid(grid, whole.counts)
    coarse_cells = map_cells(grid, coarse)
    parts = {EVERYTHING: coarsen_profile(coarse, coarse_cells, whole)}
    parts |= _count_segments(coarse, chunks, schema, segments)
    return Reference(
        schema,
        window_length,
        grid,
        whole,
        bins,
        distinct,
        measure_natural_variation(
            grid,
            bins,
            whole,
            ((start, decode_profile(windows[start])) for start in sorted(windows)),
            window_length,
            zone(schema),
        ),
        segments,
        coarse,
        coarse_cells,
        group_cells(coarse, parts[EVERYTHING].counts, SEGMENT_BINS),
        parts,
    )


def add_baseline(
    reference: Reference,
    rows: Iterable[LabelledRows],
    *,
    window_rows: float | None = None,
    positive_class: str | None = None,
) -> Reference:
    """Add how well the model did on the rows that the reference was built from, as far as they have labels.

    Raises InvalidFrame and InvalidInput as `build_baseline` does.
    """
    baseline = build_baseline(
        rows,
        reference.schema,
        reference.segments,
        window_length=reference.window_length,
        window_rows=round(window_rows or reference.bins.min_samples),
        positive_class=positive_class,
        rng=np.random.default_rng(0),  # the same rows give the same baseline
    )
    return replace(reference, baseline=baseline)


def encode_reference(reference: Reference) -> bytes:
    """Write a reference: a Zstandard-compressed MessagePack map, readable by `decode_reference` anywhere."""
    natural = reference.natural
    stored = _Stored(
        format=_FORMAT,
        schema=reference.schema.to_dict(),
        window_length=reference.window_length,
        grid=_store_grid(reference.grid),
        profile=encode_profile(reference.profile),
        bins=reference.bins.count,
        distinct=write_block(reference.distinct),
        natural=None if natural is None else (write_block(natural.psi), write_block(natural.ks)),
        segments=[(segment.name, segment.values) for segment in reference.segments],
        coarse=_store_grid(reference.coarse),
        segment_profiles={key: encode_profile(part) for key, part in reference.segment_profiles.items()},
        baseline=None if reference.baseline is None else encode_baseline(reference.baseline),
    )
    return write_payload(stored, level=3)


def decode_reference(payload: bytes) -> Reference:
    """Read what `encode_reference` wrote; InvalidPayload when it is something else."""
    try:
        return _restore(read_payload(payload, _Stored, _MAX_BYTES))
    except InvalidInput as error:
        raise InvalidPayload(
            f"not a driftline reference: {error}; build one with `driftline reference build`"
        ) from error


class _StoredGrid(msgspec.Struct):
    edges32: Block
    edges64: Block
    inside: Block
    categories: tuple[tuple[str, ...], ...]
    known: list[Block | None]
    shift: Block


class _Stored(msgspec.Struct):
    format: Literal["driftline-reference-1"]
    schema: dict[str, Any]
    window_length: int
    grid: _StoredGrid
    profile: bytes
    bins: int
    distinct: Block
    natural: tuple[Block, Block] | None
    segments: list[tuple[str, tuple[str, ...]]]
    coarse: _StoredGrid
    segment_profiles: dict[str, bytes]
    baseline: bytes | None


def _restore(stored: _Stored) -> Reference:
    schema = Schema.from_dict(stored.schema)
    grid, coarse = _restore_grid(stored.grid, schema), _restore_grid(stored.coarse, schema)
    profile = _restore_profile(stored.profile, grid)
    parts = {key: _restore_profile(part, coarse) for key, part in stored.segment_profiles.items()}
    segments = tuple(SegmentColumn(name, values) for name, values in stored.segments)
    distinct = read_block(stored.distinct, np.int64)
    natural = None
    if stored.natural is not None:
        natural = NaturalVariation(*(read_block(block, np.float64) for block in stored.natural))
    whole = parts.get(EVERYTHING)
    keys = {EVERYTHING, *(key for segment in segments for key in segment.keys)}
    if (
        whole is None
        or not parts.keys() <= keys
        or any(len(segment.values) > MAX_VALUES for segment in segments)
        or stored.bins not in CHOICES
        or stored.window_length < 1
        or DAY % stored.window_length
        or distinct.shape != (grid.features,)
        or (natural and not natural.fits(grid.features))
        or tuple(segment.name for segment in segments) != schema.segments
    ):
        raise InvalidPayload("its parts do not fit together")
    return Reference(
        schema,
        stored.window_length,
        grid,
        profile,
        group_cells(grid, profile.counts, stored.bins),
        distinct,
        natural,
        segments,
        coarse,
        map_cells(grid, coarse),
        group_cells(coarse, whole.counts, SEGMENT_BINS),
        parts,
        None if stored.baseline is None else decode_baseline(stored.baseline, schema.task, keys),
    )


def _expect_rows(window_rows: float | None, whole: Profile, windows: Mapping[int, bytes]) -> float:
    if window_rows is not None:
        return window_rows
    if len(windows) < 2:
        return np.inf
    if not whole.entities.weight:
        return whole.effective_rows / len(windows)
    # The same entities come in many windows.
    return float(np.mean([decode_profile(part).effective_rows for part in windows.values()]))


def _count(grid: Grid, chunks: Chunks, schema: Schema, window_length: int) -> tuple[Profile, dict[int, bytes]]:
    """Count the whole and, where there are timestamps, each window; windows wait encoded, they are many."""
    whole, windows = empty_profile(grid), dict[int, bytes]()
    for columns, times in chunks():
        cells = locate_columns(grid, columns)
        whole = merge_profiles([whole, profile_rows(grid, columns, cells=cells)])
        if times is None:
            continue
        timed, ones = np.flatnonzero(in_calendar(times)), np.ones(columns.rows, np.int64)
        found, position = assign_windows(times[timed], window_length, zone(schema))
        order = timed[np.argsort(position, kind="stable")]
        starts = np.searchsorted(np.sort(position), np.arange(len(found) + 1))
        for i, window in enumerate(found):
            if window.start not in windows and len(windows) >= _MAX_WINDOWS:
                continue
            part = profile_rows(grid, columns, order[starts[i] : starts[i + 1]], ones, cells)
            if known := windows.get(window.start):
                part = merge_profiles([decode_profile(known), part])
            windows[window.start] = encode_profile(part)
    return whole, windows


def _count_segments(
    coarse: Grid, chunks: Chunks, schema: Schema, segments: tuple[SegmentColumn, ...]
) -> dict[str, Profile]:
    if not segments:
        return {}
    parts = dict[str, Profile]()
    for columns, _ in chunks():
        for key, part in profile_segments(coarse, columns, schema, segments):
            known = parts.get(key)
            parts[key] = part if known is None else merge_profiles([known, part])
    return parts


def profile_segments(
    coarse: Grid,
    columns: Columns,
    schema: Schema,
    segments: tuple[SegmentColumn, ...],
    rows: NDArray[np.int64] | None = None,
    weights: NDArray[np.int64] | int = 1,
) -> Iterator[tuple[str, Profile]]:
    """Count the chosen rows (all by default) of each segment in the coarse grid."""
    if rows is None:
        rows = np.arange(columns.rows)
    cells = locate_columns(coarse, columns)
    for key, chosen in split_segments(columns, layout(schema), segments, rows):
        yield key, profile_rows(coarse, columns, chosen, weights, cells)


def _store_grid(grid: Grid) -> _StoredGrid:
    return _StoredGrid(
        write_block(grid.edges32),
        write_block(grid.edges64),
        write_block(grid.inside),
        grid.categories,
        [None if known is None else write_block(known) for known in grid.known],
        write_block(grid.shift),
    )


def _restore_grid(stored: _StoredGrid, schema: Schema) -> Grid:
    grid = Grid(
        read_block(stored.edges32, np.float32),
        read_block(stored.edges64, np.float64),
        read_block(stored.inside, np.int16),
        stored.categories,
        tuple(None if known is None else read_block(known, np.uint64) for known in stored.known),
        read_block(stored.shift, np.float64),
    )
    check_grid(grid, layout(schema))
    return grid


def _restore_profile(payload: bytes, grid: Grid) -> Profile:
    profile = decode_profile(payload)
    if (
        profile.grid_id != grid.grid_id
        or profile.counts.shape != (grid.features, grid.width)
        or profile.sums.shape != (2, grid.numeric)
        or profile.counts.min(initial=0) < 0
    ):
        raise InvalidPayload("a profile does not belong to its grid")
    return profile

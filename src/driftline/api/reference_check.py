"""A reference built elsewhere, read and checked before any kernel runs on it."""

from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from driftline.core.bins import CHOICES
from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.grid import Grid
from driftline.core.natural import HOURS_OF_WEEK
from driftline.core.profile import Profile
from driftline.core.reference import Reference, decode_reference
from driftline.core.schema import layout
from driftline.core.segment import EVERYTHING, MAX_VALUES

MAGIC = b"\x28\xb5\x2f\xfd"
"""A reference is Zstandard, which no format of tables begins with."""
MAX_BYTES = 256 << 20
MAX_CONTENT = 512 << 20


def read_reference(path: Path) -> tuple[Reference, bytes]:
    """Read a reference from a file, with its bytes; InvalidPayload when it is not a sound one."""
    if path.stat().st_size > MAX_BYTES:
        raise InvalidPayload(f"a reference has at most {MAX_BYTES >> 20} MiB; name fewer segments", field="body")
    payload = path.read_bytes()
    try:
        size = zstandard.get_frame_parameters(payload).content_size
    except zstandard.ZstdError as error:
        raise InvalidPayload(f"not a driftline reference: {error}", field="body") from None
    if size > MAX_CONTENT:
        raise InvalidPayload("not a driftline reference: it claims to be too large", field="body")
    try:
        reference = decode_reference(payload)
    except InvalidInput as error:
        raise InvalidPayload(str(error), field="body") from None
    check_reference(reference)
    return reference, payload


def check_reference(reference: Reference) -> None:
    """Refuse a reference whose parts do not fit one another. Raises InvalidPayload."""
    plan = layout(reference.schema)
    for name, grid in (("grid", reference.grid), ("coarse", reference.coarse)):
        edges = grid.cells - 1
        widths = (len(plan.float32), len(plan.float64), len(plan.categories))
        _check(name, _fits_layout(grid, edges, widths))
        _check(name, _is_ascending(grid.edges32) and _is_ascending(grid.edges64))
        _check(name, bool(((grid.inside >= 0) & (grid.inside <= edges + 1)).all()))
        _check(name, all(len(own) <= grid.other for own in grid.categories))
    _check("profile", _fits_grid(reference.profile, reference.grid))
    _check("profile", reference.profile.rows > 0)
    _check("bins", reference.bins.count in CHOICES)
    _check("distinct", reference.distinct.shape == (len(plan.names),))
    _check("segments", tuple(each.name for each in reference.segments) == reference.schema.segments)
    _check("segments", all(len(each.values) <= MAX_VALUES for each in reference.segments))
    keys = {EVERYTHING, *(key for each in reference.segments for key in each.keys)}
    _check("segment_profiles", EVERYTHING in reference.segment_profiles)
    _check("segment_profiles", reference.segment_profiles.keys() <= keys)
    _check("segment_profiles", all(_fits_grid(p, reference.coarse) for p in reference.segment_profiles.values()))
    if (natural := reference.natural) is not None:
        shapes = [(rows, len(plan.names)) for rows in (1, HOURS_OF_WEEK)]
        _check("natural", natural.psi.shape in shapes and natural.ks.shape == natural.psi.shape)


def _check(part: str, sound: bool) -> None:
    if not sound:
        raise InvalidPayload(
            f"not a sound reference: its {part} does not fit its schema; build it again with this driftline",
            field=part,
        )


def _fits_layout(grid: Grid, edges: int, widths: tuple[int, int, int]) -> bool:
    single, double, categories = widths
    return (
        grid.edges32.shape == (single, edges)
        and grid.edges64.shape == (double, edges)
        and grid.edges32.dtype == np.float32
        and grid.edges64.dtype == np.float64
        and grid.inside.shape == (single + double + categories, 2)
        and len(grid.categories) == len(grid.known) == categories
        and grid.shift.shape == (single + double,)
        and grid.shift.dtype == np.float64
    )


def _is_ascending(edges: NDArray[np.floating]) -> bool:
    return bool((edges[:, 1:] >= edges[:, :-1]).all())  # NaN is not


def _fits_grid(profile: Profile, grid: Grid) -> bool:
    return (
        profile.grid_id == grid.grid_id
        and profile.counts.shape == (grid.features, grid.width)
        and profile.sums.shape == profile.extremes.shape == (2, grid.numeric)
        and bool((profile.counts >= 0).all())
        and profile.weight > 0
        and profile.effective_rows > 0
    )

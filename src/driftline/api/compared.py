"""The reference that a window was compared with: found again by the window's grid."""

from dataclasses import dataclass

from psycopg import Connection

from driftline.core.grid import Grid
from driftline.core.profile import Profile
from driftline.core.reference import Reference, decode_reference
from driftline.core.segment import EVERYTHING
from driftline.store.references import get_reference, list_grids
from driftline.store.versions import Version


@dataclass(frozen=True, slots=True)
class Expected:
    """A reference as one segment saw it: its profile in `grid`, None where it had no rows of the segment."""

    reference: Reference
    grid: Grid
    profile: Profile | None


def find_expected(conn: Connection, version: Version, grid_id: str, segment: str) -> Expected | None:
    """Find the reference that has a grid, full or coarse; None when it is gone."""
    for known, _ in reversed(list_grids(conn, version.model_id, version.model_version)):
        reference = decode_reference(get_reference(conn, version.model_id, version.model_version, known).payload)
        if grid_id == reference.grid.grid_id and segment == EVERYTHING:
            return Expected(reference, reference.grid, reference.profile)
        if grid_id == reference.coarse.grid_id:
            return Expected(reference, reference.coarse, reference.segment_profiles.get(segment))
    return None

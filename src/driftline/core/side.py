"""One side of a comparison for a single feature: its part of a grid and of a profile."""

from dataclasses import dataclass

from driftline.core.grid import Grid
from driftline.core.profile import Profile


@dataclass(frozen=True, slots=True)
class Side:
    """One feature of one profile, alone in its grid: position 0 of both."""

    grid: Grid
    profile: Profile

    @property
    def categorical(self) -> bool:
        """Whether the feature's cells are categories."""
        return not self.grid.numeric

    @property
    def has_values(self) -> bool:
        """Whether there is any finite value, or category."""
        return bool(self.profile.counts[:, : self.grid.cells].any())


def take_feature(grid: Grid, profile: Profile, feature: int) -> Side:
    """Take one feature out of a profile; working on all of them would cost that many times more."""
    one = slice(feature, feature + 1)
    split, c = len(grid.edges32), feature - grid.numeric
    double = slice(max(feature - split, 0), max(feature - split + 1, 0))
    named = slice(max(c, 0), max(c + 1, 0))
    alone = Grid(
        grid.edges32[one],
        grid.edges64[double],
        grid.inside[one],
        grid.categories[named],
        grid.known[named],
        grid.shift[one],
        grid.grid_id,
    )
    return Side(
        alone,
        Profile(
            profile.grid_id,
            profile.rows,
            profile.weight,
            profile.weight_squares,
            profile.counts[one],
            profile.sums[:, one],
            profile.extremes[:, one],
            {0: profile.new_values[feature]} if feature in profile.new_values else {},
            profile.weight_cubes,
            profile.entities,
        ),
    )

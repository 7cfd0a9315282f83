"""What a window is compared with: the training data, the windows before it, or the same hour of earlier weeks."""

from dataclasses import dataclass
from datetime import timedelta

from psycopg import Connection

from driftline.core.bins import Bins
from driftline.core.drift import NaturalVariation
from driftline.core.grid import Grid
from driftline.core.moment import from_micros, to_micros
from driftline.core.natural import hour_of_week
from driftline.core.profile import Profile, decode_profile, merge_profiles
from driftline.core.reference import Reference
from driftline.core.rules import Rule
from driftline.core.segment import EVERYTHING
from driftline.core.window import DAY, Window
from driftline.store.profiles import read_profiles
from driftline.workers.catalog import KnownVersion

_WEEKS = 5
_ROLLING_DAYS = 7


@dataclass(frozen=True, slots=True)
class Slice:
    """One segment of a version ('' is everything), as counted in the grid of one reference.

    `natural` is how far its windows stray from the reference on their own, as far as that is known; `rules` are
    those that may watch it.
    """

    version: KnownVersion
    reference: Reference
    segment: str
    natural: NaturalVariation | None
    rules: tuple[Rule, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid that its profiles are counted in."""
        return self.reference.grid if self.segment == EVERYTHING else self.reference.coarse

    @property
    def bins(self) -> Bins:
        """The bins of its PSI, and so the rows that a verdict needs."""
        return self.reference.bins if self.segment == EVERYTHING else self.reference.coarse_bins


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a window is compared with, in which bins, and how far windows stray from it on their own."""

    profile: Profile
    bins: Bins
    natural: NaturalVariation | None


def expect(conn: Connection, cut: Slice, kind: str, span: Window) -> Expectation | None:
    """Give what a span is compared with under a kind of reference; None when there is nothing.

    `training` is the uploaded reference (a segment's own part of it); `rolling` the windows of the 24 hours
    before, of 7 days where a window is a day; `seasonal` those in the same hour of the week in the 5 weeks
    before (the same weekday where a window is a day), in the model's time zone.
    """
    if kind == "training":
        return _expect_training(cut, span)
    spans = _spans_before(cut.version, span) if kind == "rolling" else _spans_of_season(cut.version, span)
    profiles = [profile for each in spans for profile in _list_profiles(conn, cut, each)]
    if not profiles:
        return None
    merged = merge_profiles(profiles)
    return (
        Expectation(merged, cut.bins.uncorrected(), None)
        if merged.effective_rows >= cut.bins.min_samples
        else None
    )


def read_merged(conn: Connection, cut: Slice, span: Window) -> Profile | None:
    """Merge the profiles of the windows in a span that were counted in the slice's grid; None without any."""
    profiles = _list_profiles(conn, cut, span)
    return merge_profiles(profiles) if profiles else None


def _list_profiles(conn: Connection, cut: Slice, span: Window) -> list[Profile]:
    stored = read_profiles(
        conn,
        cut.version.model_id,
        cut.version.model_version,
        since=span.start,
        until=span.end,
        segment=cut.segment,
    )
    return [decode_profile(each.payload) for each in stored if each.payload and each.grid_id == cut.grid.grid_id]


def _expect_training(cut: Slice, span: Window) -> Expectation | None:
    natural = cut.natural
    if natural is not None:
        natural = natural.at(hour_of_week(span.start, cut.version.zone))
    if cut.segment == EVERYTHING:
        return Expectation(cut.reference.profile, cut.bins, natural)
    part = cut.reference.segment_profiles.get(cut.segment)
    return None if part is None else Expectation(part, cut.bins.uncorrected(), natural)


def _spans_before(version: KnownVersion, window: Window) -> list[Window]:
    days = 1 if version.window_length < DAY else _ROLLING_DAYS
    start = from_micros(window.start).astimezone(version.zone) - timedelta(days=days)
    return [Window(to_micros(start), window.start)]


def _spans_of_season(version: KnownVersion, window: Window) -> list[Window]:
    start, end = (from_micros(time).astimezone(version.zone) for time in (window.start, window.end))
    if version.window_length < DAY // 24:  # all windows of the hour
        last = end - timedelta(microseconds=1)
        start, last = (time.replace(minute=0, second=0, microsecond=0) for time in (start, last))
        end = last + timedelta(hours=1)
    weeks = [timedelta(weeks=week) for week in range(1, _WEEKS + 1)]
    return [Window(to_micros(start - week), to_micros(end - week)) for week in weeks]

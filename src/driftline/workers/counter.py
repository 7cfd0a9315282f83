"""Counting rows into the windows they belong to, each prediction id once per window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.columns import Columns
from driftline.core.reference import Reference
from driftline.core.sliced import encode_sliced, slice_rows
from driftline.core.window import Window, assign_windows
from driftline.store.parts import Part, add_parts, dump_ids, read_ids
from driftline.store.windows import StoredWindow, WindowGrowth, grow_windows, lock_windows
from driftline.workers.catalog import Catalog, KnownVersion

_MAX_IDS = 4_000_000
_MAX_WINDOWS = 10_000
"""So many ids and windows are kept in memory; others are read again when a row comes for them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Predictions of one version to be counted: hashes of their ids, event times, values, weights, all [n]."""

    hashes: NDArray[np.uint64]
    timestamps: NDArray[np.int64]
    columns: Columns
    weights: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from in the log: the offsets [first, last] of a partition, and the last append time."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    last_append: int


@dataclass(slots=True)
class SeenIds:
    """Ids counted in a window: sorted `hashes` [n]. `seq` is the window's when they were all, 0 when it is new."""

    grid_id: str
    final: bool
    seq: int
    hashes: NDArray[np.uint64]

    def take_fresh(self, chosen: NDArray[np.int64], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Keep the chosen rows (ascending) whose id was not counted, the first of each id, and remember them."""
        digests, first = np.unique(hashes[chosen], return_index=True)
        place = np.searchsorted(self.hashes, digests)
        counted = np.zeros(len(digests), np.bool_)
        within = place < len(self.hashes)
        counted[within] = self.hashes[place[within]] == digests[within]
        self.hashes = np.insert(self.hashes, place[~counted], digests[~counted])
        return np.sort(chosen[first[~counted]])


class Deduplicator:
    """Which prediction ids each window has counted already.

    What is kept in memory holds as long as the window's `seq` is the one that this worker left it at.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int], SeenIds] = {}

    def look_up(self, conn: Connection, version: KnownVersion, windows: Sequence[Window]) -> list[SeenIds]:
        """Give what is known of each window; read from the database what is not in memory.

        The windows stay locked: one that became final while its ids are read would lose them on the way.
        """
        key = (version.model_id, version.model_version)
        stored = lock_windows(conn, *key, [window.start for window in windows])
        found = []
        for window in windows:
            seen = self._seen.pop((*key, window.start), None)
            known = stored.get(window.start)
            if seen is None or seen.seq != (known.seq if known else 0):
                seen = _read_seen(conn, version, window, known)
            seen.final = known is not None and known.final_at is not None
            self._seen[*key, window.start] = seen
            found.append(seen)
        return found

    def trim(self) -> None:
        """Forget the windows that were asked for longest ago, when there are too many."""
        ids = sum(len(seen.hashes) for seen in self._seen.values())
        while len(self._seen) > _MAX_WINDOWS or (ids > _MAX_IDS and len(self._seen) > 1):
            ids -= len(self._seen.pop(next(iter(self._seen))).hashes)

    def forget(self) -> None:
        """Forget everything: a transaction was lost, so memory may know more than the database."""
        self._seen.clear()


def _read_seen(conn: Connection, version: KnownVersion, window: Window, stored: StoredWindow | None) -> SeenIds:
    if stored is None:
        return SeenIds(version.grid_for(window.start) or "", False, 0, np.empty(0, np.uint64))
    hashes = read_ids(conn, version.model_id, version.model_version, window.start)
    return SeenIds(stored.grid_id, stored.final_at is not None, stored.seq, np.unique(hashes))


def count_rows(
    conn: Connection,
    catalog: Catalog,
    deduplicator: Deduplicator,
    version: KnownVersion,
    source: Source,
    rows: Rows,
) -> NDArray[np.int64]:
    """Count rows into parts of their windows, each prediction id once per window, in the caller's transaction.

    Gives the rows [k] that came too late: their windows are final.
    """
    windows, positions = assign_windows(rows.timestamps, version.window_length, version.zone)
    order = np.argsort(positions, kind="stable")
    starts = np.searchsorted(positions[order], np.arange(len(windows) + 1))
    parts, growths, late = [], [], []
    for i, (window, seen) in enumerate(zip(windows, deduplicator.look_up(conn, version, windows), strict=True)):
        chosen = order[starts[i] : starts[i + 1]]
        if seen.final:
            late.append(chosen)
            continue
        fresh = seen.take_fresh(chosen, rows.hashes)
        if not len(fresh):
            continue
        reference = catalog.find_reference(conn, version, seen.grid_id)
        parts.append(_make_part(version, source, window, reference, rows, fresh))
        growths.append(_make_growth(version, source, window, seen.grid_id, rows, fresh))
        seen.seq += 1
    add_parts(conn, parts)
    grow_windows(conn, growths)
    deduplicator.trim()
    return np.sort(np.concatenate(late)) if late else np.empty(0, np.int64)


def _make_part(
    version: KnownVersion,
    source: Source,
    window: Window,
    reference: Reference,
    rows: Rows,
    fresh: NDArray[np.int64],
) -> Part:
    return Part(
        source.topic,
        source.partition,
        source.first_offset,
        version.model_id,
        version.model_version,
        window.start,
        reference.grid.grid_id,
        len(fresh),
        encode_sliced(slice_rows(reference, rows.columns, fresh, rows.weights)),
        dump_ids(rows.hashes[fresh]),
    )


def _make_growth(
    version: KnownVersion,
    source: Source,
    window: Window,
    grid_id: str,
    rows: Rows,
    fresh: NDArray[np.int64],
) -> WindowGrowth:
    times = rows.timestamps[fresh]
    return WindowGrowth(
        version.model_id,
        version.model_version,
        window.start,
        window.end,
        grid_id,
        len(fresh),
        int(rows.weights[fresh].sum()),
        int(times.min()),
        int(times.max()),
        source.last_append,
    )

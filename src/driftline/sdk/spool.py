"""Parcels that wait for a receiver that is away: in memory, or in a folder that outlives the process."""

import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from driftline.sdk.folder import write_whole
from driftline.sdk.parcel import Content, Parcel

try:
    import fcntl
except ImportError:  # Windows: two processes may then send the same parcel, which counts once
    fcntl = None  # type: ignore[assignment]


class Waiting(Protocol):
    """Parcels in the order in which they are sent, oldest first."""

    def oldest(self) -> Parcel | None:
        """Give the one to send next; it stays until it is removed."""

    def remove(self, parcel: Parcel) -> None:
        """Forget one that was sent or refused."""


class Outbox:
    """Parcels in memory, at most `max_bytes` of them.

    >>> outbox = Outbox(10)
    >>> [len(outbox.put(Parcel(str(i), Content.PREDICTIONS, 1, bytes(4)))) for i in range(4)]
    [0, 0, 1, 1]
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parcels: deque[Parcel] = deque()
        self._bytes = 0

    def put(self, parcel: Parcel) -> list[Parcel]:
        """Add a parcel; gives the oldest ones, which had to go for it."""
        self._parcels.append(parcel)
        self._bytes += len(parcel.data)
        dropped = []
        while self._bytes > self._max_bytes and len(self._parcels) > 1:
            dropped.append(self._parcels[0])
            self.remove(self._parcels[0])
        return dropped

    def oldest(self) -> Parcel | None:
        """Give the oldest parcel."""
        return self._parcels[0] if self._parcels else None

    def remove(self, parcel: Parcel) -> None:
        """Forget a parcel."""
        with suppress(ValueError):
            self._parcels.remove(parcel)
            self._bytes -= len(parcel.data)


class Spool:
    """Parcels in a folder, at most `max_bytes` of them, which several processes may share.

    One file a parcel, written whole, named by an id that grows with time. Only the process that holds the
    folder's lock sends from it; the lock goes with the process.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock: int | None = None
        self._listed: deque[Path] = deque()
        self._size: int | None = None  # of all files, as far as this process knows

    def put(self, parcel: Parcel) -> list[Parcel]:
        """Add a parcel; gives the oldest ones, which had to go for it (without their data). Raises OSError."""
        write_whole(self._folder, _name_of(parcel), parcel.data)
        if self._size is not None:
            self._size += len(parcel.data)
        if self._size is None or self._size > self._max_bytes:
            return self._make_room()
        return []

    def oldest(self) -> Parcel | None:
        """Give the oldest parcel, None as well while another process is sending from here."""
        if not self._listed:
            self._listed.extend(path for path, _ in sorted(_sizes(self._folder)))
        while self._listed:
            if not self._hold():
                self._listed.clear()
                return None
            try:
                return _parcel_of(self._listed[0], self._listed[0].read_bytes())
            except FileNotFoundError:
                self._listed.popleft()
        self.release()
        return None

    def remove(self, parcel: Parcel) -> None:
        """Forget a parcel."""
        path = self._folder / _name_of(parcel)
        path.unlink(missing_ok=True)
        if self._listed and self._listed[0] == path:
            self._listed.popleft()
        if self._size is not None:
            self._size -= len(parcel.data)

    def release(self) -> None:
        """Let another process send from here."""
        self._listed.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _hold(self) -> bool:
        if fcntl is None or self._lock is not None:
            return True
        lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _make_room(self) -> list[Parcel]:
        """Drop the oldest files when there are too many, a tenth more than needed: listing them all takes time."""
        files = sorted(_sizes(self._folder))
        self._size = sum(size for _, size in files)
        if self._size <= self._max_bytes:
            return []
        dropped = []
        for path, size in files[:-1]:
            if self._size <= 0.9 * self._max_bytes:
                break
            self._size -= size
            with suppress(FileNotFoundError):  # another process was faster, and counts it
                path.unlink()
                dropped.append(_parcel_of(path, b""))
        return dropped


def _sizes(folder: Path) -> Iterable[tuple[Path, int]]:
    endings = tuple(f".{content}" for content in Content)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(endings) and not entry.name.startswith("."):
                    with suppress(FileNotFoundError):
                        yield Path(entry.path), entry.stat().st_size
    except FileNotFoundError:
        return


def _name_of(parcel: Parcel) -> str:
    return f"{parcel.parcel_id}-{parcel.rows}.{parcel.content}"


def _parcel_of(path: Path, data: bytes) -> Parcel:
    parcel_id, _, rows = path.stem.rpartition("-")
    return Parcel(parcel_id, Content(path.suffix[1:]), int(rows) if rows.isdigit() else 0, data)

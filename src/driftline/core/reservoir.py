"""A reservoir: rows chosen uniformly from a stream of any length, in bounded memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_PRIORITY = ""


class Reservoir:
    """At most `size` rows, those with the smallest random priorities, in the order in which they came.

    Every set of so many rows is equally likely, whatever parts they come in (Efraimidis & Spirakis, Information
    Processing Letters 97, 2006). Rows of one group have one priority, so that all or none of them are chosen.

    >>> reservoir = Reservoir(3, np.random.default_rng(1))
    >>> for start in range(0, 1000, 100):
    ...     reservoir.add({"number": np.arange(start, start + 100)})
    >>> reservoir.take()["number"].tolist()
    [322, 457, 621]
    """

    def __init__(self, size: int, rng: Generator) -> None:
        self._size, self._rng = size, rng
        self._salt = rng.integers(1 << 63, dtype=np.uint64)
        self._below = np.inf
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._rows = 0

    def add(self, columns: Mapping[str, NDArray[Any]], groups: NDArray[np.int64] | None = None) -> None:
        """Offer rows: columns [n, …] by name, the same ones in every call."""
        rows = len(next(iter(columns.values())))
        priority = self._rng.random(rows) if groups is None else _mix(groups, self._salt)
        self._parts.append(_select({_PRIORITY: priority, **columns}, priority < self._below))
        self._rows += len(self._parts[-1][_PRIORITY])
        if self._rows > 2 * self._size:
            self._shrink()

    def take(self) -> dict[str, NDArray[Any]]:
        """Give the columns of the chosen rows; none before anything was offered."""
        self._shrink()
        return {name: column for part in self._parts for name, column in part.items() if name != _PRIORITY}

    def _shrink(self) -> None:
        if not self._parts:
            return
        joined = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        priority = joined[_PRIORITY]
        if len(priority) > self._size:
            self._below = float(np.partition(priority, self._size)[self._size])
            joined = _select(joined, priority < self._below)
        self._parts, self._rows = [joined], len(joined[_PRIORITY])


def _select(columns: Mapping[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    return {name: column[rows] for name, column in columns.items()}


def _mix(groups: NDArray[np.int64], salt: np.uint64) -> NDArray[np.float64]:
    """Make priorities between 0 and 1 of groups by the finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    mixed = groups.view(np.uint64) ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) / 2.0**64, np.float64)

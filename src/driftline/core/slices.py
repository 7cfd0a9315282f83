"""Slices: ten seconds of append time, of which each version keeps a bounded number of rows.

Kept are the rows whose hash is at most `limit_of(N)`. N begins at the version's own and doubles until the rows
fit, so it depends only on which rows the slice has, never on their order, and each row kept stands for N. That
is Wegman's adaptive sampling, whose sums are unbiased (Flajolet, "On adaptive sampling", Computing 43, 1990): a
row's chance of being kept does not depend on its own hash once those of the others are given.
"""

from typing import Generic, TypeVar

from driftline.core.sampling import MAX_N, limit_of

SLICE = 10_000_000
"""The length of a slice in microseconds."""

Row = TypeVar("Row")


def slice_end(append_time: int) -> int:
    """Give the end (exclusive) of the slice that an append time (microseconds) belongs to.

    >>> slice_end(9_999_999), slice_end(10_000_000)
    (10000000, 20000000)
    """
    return append_time - append_time % SLICE + SLICE


class Reservoir(Generic[Row]):
    """The rows of one version in one slice that are kept, and the N by which they are.

    Offer it only rows whose hash is at most `limit`; the others are dropped for good.

    >>> reservoir = Reservoir(1, max_rows=2, max_bytes=1_000)
    >>> for name, share in (("a", 0.1), ("b", 0.2), ("c", 0.4)):
    ...     _ = reservoir.offer(int(share * 2**64), name, name, 10)
    >>> reservoir.n, reservoir.rows()
    (4, ['a', 'b'])
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_rows", "_rows", "limit", "n")

    def __init__(self, n: int, *, max_rows: int, max_bytes: int) -> None:
        self.n, self.limit = n, limit_of(n)
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._rows: dict[tuple[int, object], tuple[Row, int]] = {}
        self._bytes = 0

    def offer(self, hashed: int, identity: object, row: Row, size: int) -> bool:
        """Keep a row of so many bytes, for now; of rows with the same hash and identity the first stays.

        False when not even the largest N makes room for it: so many rows have one join key.
        """
        key = (hashed, identity)
        if key in self._rows:
            return True
        self._rows[key] = (row, size)
        self._bytes += size
        while self._is_full and 2 * self.n <= MAX_N:
            self._halve()
        if self._is_full:
            self._bytes -= self._rows.pop(key)[1]
            return False
        return True

    def rows(self) -> list[Row]:
        """Give the rows kept so far, in the order in which they were offered."""
        return [row for row, _ in self._rows.values()]

    @property
    def _is_full(self) -> bool:
        return len(self._rows) > self._max_rows or self._bytes > self._max_bytes

    def _halve(self) -> None:
        self.n *= 2
        self.limit = limit_of(self.n)
        self._rows = {key: kept for key, kept in self._rows.items() if key[0] <= self.limit}
        self._bytes = sum(size for _, size in self._rows.values())

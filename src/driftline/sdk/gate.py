"""Which predictions are kept: one in N by the hash of the join key, and at most so many rows a second.

The cap works by doubling N, never by leaving out rows at their chance: every row carries the N that it was kept
under as its weight, so counts stay right. Whoever is over the cap doubles at once; when the rate has stayed
below a quarter of it for ten seconds, N is halved again, until it is the server's.
"""

import threading
from collections.abc import Sequence

from driftline.core.sampling import MAX_N, limit_of

_RELAX_S = 10.0


class Gate:
    """The N of one model version in this process.

    `limit` is the largest hash that is kept, `asked_limit` the one that the server asks for; they differ while
    the cap is at work. `by_entity` tells that the hash is the entity's. Reading them needs no lock.
    Until `begin` every call comes through, so that the first one can start the sender. The gate is `settled` once
    N and the join key are those of the server, or there is no server to ask.
    """

    __slots__ = ("_asked", "_kept", "_lock", "_max_rows_per_s", "_relaxed", "_rows", "_second", "asked_limit",
                 "by_entity", "limit", "n", "settled")  # fmt: skip

    def __init__(self, n: int, max_rows_per_s: int, *, by_entity: bool = False, settled: bool = False) -> None:
        self._lock = threading.Lock()
        self._max_rows_per_s = max_rows_per_s
        self._asked = n
        self._second = 0
        self._rows = 0
        self._kept = 0
        self._relaxed = 0.0
        self.by_entity = by_entity
        self.settled = settled
        self.n = n
        self.limit = self.asked_limit = limit_of(1)

    def begin(self) -> None:
        """Decide from now on."""
        with self._lock:
            self._set(self._asked, self.n // self._asked)

    def stand_open(self) -> None:
        """Let every call through."""
        self.limit = self.asked_limit = limit_of(1)

    def shut(self) -> None:
        """Let no call through."""
        self.limit = self.asked_limit = -1

    def settle(self, n: int, *, by_entity: bool) -> None:
        """Follow the server's N; a doubling by the cap stays on top of it."""
        with self._lock:
            self._set(n, max(self.n // self._asked, 1))
            self.by_entity = by_entity
            self.settled = True

    def weigh(self, digest: int, now: float) -> int:
        """Give the weight of a row that is kept, 0 when it is not after all; `now` is monotonic seconds."""
        with self._lock:
            if digest > self.limit:
                return 0
            weight = self.n
            second = int(now)
            if second != self._second:
                self._second, self._rows = second, 0
            self._rows += 1
            self._kept += 1
            if self._rows >= self._max_rows_per_s:
                self._rows = 0
                self._set(self._asked, 2 * self.n // self._asked)
                self._relaxed = now
            return weight

    def fit(self, digests: Sequence[int], room: int) -> int:
        """Give the smallest N, doubling from the one in force, under which at most `room` of the rows are kept."""
        n = self.n
        while n < MAX_N and sum(digest <= limit_of(n) for digest in digests) > room:
            n = min(2 * n, MAX_N)
        return n

    def relax(self, now: float) -> None:
        """Halve a doubled N once the rate has been low; called every few seconds."""
        with self._lock:
            passed = now - self._relaxed
            if passed < _RELAX_S:
                return
            rate = self._kept / passed
            self._kept, self._relaxed = 0, now
            if self.n > self._asked and rate <= self._max_rows_per_s / 4:
                self._set(self._asked, self.n // self._asked // 2)

    def _set(self, asked: int, factor: int) -> None:
        self._asked = asked
        self.n = min(asked * max(factor, 1), MAX_N)
        self.limit, self.asked_limit = limit_of(self.n), limit_of(asked)

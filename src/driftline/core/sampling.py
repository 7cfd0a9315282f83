"""Coordinated sampling: which predictions are kept is decided by a hash of their join key, the same everywhere.

One in N is kept: those whose 64-bit hash is at most (2^64 − 1) // N. The kept of a larger N are among those of a
smaller one, so whoever tests a label with a smaller N than its prediction was kept by never drops it.
No numpy here: the inference service decides by this, too.
"""

import xxhash

MAX_N = 2**20
"""The largest N, and so the largest weight: squares of weights are summed in 64 bits."""
TARGET_ROWS = 1_000
"""How many rows a window should bring."""
_ALL = 2**64 - 1


def limit_of(n: int) -> int:
    """Give the largest hash that is kept when one prediction in n is.

    >>> limit_of(1) == 2**64 - 1, limit_of(100) * 100 < 2**64
    (True, True)
    """
    return _ALL // n


def keep(join_key: str, n: int) -> bool:
    """Tell whether the prediction or label with this join key is kept when one in n is.

    >>> keep("a", 1), sum(keep(str(i), 100) for i in range(100_000))
    (True, 1012)
    """
    return xxhash.xxh3_64_intdigest(join_key.encode(errors="surrogatepass")) <= limit_of(n)


def choose_n(rows: int, current: int, *, target: int = TARGET_ROWS) -> int:
    """Choose the N of the next window after one of so many predictions (before sampling).

    It changes only when the window would bring less than half or more than twice the target, so that it does not
    follow noise; with traffic below twice the target everything is kept.

    >>> choose_n(90_000, 1), choose_n(90_000, 60), choose_n(1_500, 90)
    (90, 60, 1)
    """
    if rows < 2 * target:
        return 1
    if current > 1 and target <= 2 * rows // current and rows // current <= 2 * target:
        return current
    return min(max(rows // target, 1), MAX_N)

"""Pauses between attempts: ever longer, and spread so that a fleet does not come back in one moment."""

from random import SystemRandom

_FIRST_S, _LONGEST_S = 0.5, 60.0
_DOUBLINGS = 7  # by then it is the longest; whoever is away may be so for a thousand attempts
_random = SystemRandom()  # the shared one is the host's, and forked workers would all draw alike


def backoff(failures: int) -> float:
    """Give the seconds to wait after so many failures in a row.

    >>> [backoff(failures) for failures in (1, 2, 3, 8, 10_000)]
    [0.5, 1.0, 2.0, 60.0, 60.0]
    """
    return float(min(_FIRST_S * 2 ** min(failures - 1, _DOUBLINGS), _LONGEST_S))


def spread(seconds: float, share: float) -> float:
    """Give about so many seconds, at most this share more or less."""
    return seconds * _random.uniform(1 - share, 1 + share)

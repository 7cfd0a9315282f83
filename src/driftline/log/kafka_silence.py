"""Brokers that do not answer: one caller waits for them then, and all others are refused at once."""

import threading
import time
from collections.abc import Callable


class Silence:
    """Who may wait for brokers, by whether they have answered anybody within `after_s` seconds.

    Callers hold what everything else needs as well: a thread of the API, a connection to the database. All of
    them waiting would stop what needs no broker.

    >>> now = [0.0]
    >>> silence = Silence(5.0, clock=lambda: now[0])
    >>> silence.admit(), silence.admit()
    (True, True)
    >>> now[0] = 6.0
    >>> silence.dismiss(), silence.dismiss(), silence.admit()
    (True, False, False)
    >>> silence.leave(answered=True)
    >>> silence.admit(), silence.admit()
    (True, True)
    """

    def __init__(self, after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._after_s, self._clock = after_s, clock
        self._lock = threading.Lock()
        self._waiting = 0
        self._answered_at = 0.0
        self._lasts = False

    def admit(self) -> bool:
        """Let a caller wait, unless there is silence and another one waits already."""
        with self._lock:
            if self._lasts and self._waiting:
                return False
            if not self._waiting:
                self._answered_at = self._clock()
            self._waiting += 1
            return True

    def dismiss(self) -> bool:
        """Send a waiting caller away when there is silence and another one stays; True when it has left."""
        with self._lock:
            self._lasts = self._lasts or self._clock() - self._answered_at > self._after_s
            if not self._lasts or self._waiting == 1:
                return False
            self._waiting -= 1
            return True

    def leave(self, *, answered: bool) -> None:
        """Take note that a caller has waited long enough, or has its answer, which ends the silence."""
        with self._lock:
            self._waiting -= 1
            if answered:
                self._answered_at, self._lasts = self._clock(), False

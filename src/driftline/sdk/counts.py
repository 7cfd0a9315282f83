"""What became of every prediction and label."""

import threading
from dataclasses import dataclass, fields
from itertools import count


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the predictions (and labels, where named) of one monitor in this process.

    Every prediction is in one of `sampled_out` (not among the one in N), `capped` (would have been kept, but N was
    raised to stay below `max_rows_per_s`), `invalid` (could not be used: a warning says why) or `kept`.
    Of the kept ones `overflowed` were dropped because too many waited (in memory or in the spool), `sent` were
    acknowledged by the receiver, and `failed` were refused by it; the others wait. `spooled` counts rows that
    were written to the spool folder, `retries` attempts that found the receiver away.
    `labels_…` say the same of labels.
    """

    sampled_out: int = 0
    capped: int = 0
    invalid: int = 0
    kept: int = 0
    overflowed: int = 0
    sent: int = 0
    failed: int = 0
    spooled: int = 0
    retries: int = 0
    labels_sampled_out: int = 0
    labels_invalid: int = 0
    labels_kept: int = 0
    labels_overflowed: int = 0
    labels_sent: int = 0
    labels_failed: int = 0
    labels_spooled: int = 0


class Counter:
    """A number that several threads raise without a lock, in some 30 ns."""

    __slots__ = ("_steps", "add_one")

    def __init__(self) -> None:
        self._steps = count()
        self.add_one = self._steps.__next__

    @property
    def value(self) -> int:
        """How often it was raised. (The counter itself is the only thread-safe one, and says so only as text.)"""
        return int(repr(self._steps)[6:-1])


class Tally:
    """The running numbers behind `Counts`, raised by any thread.

    `sampled_out`, `capped` and `hopeless` (failed for want of a receiver) are counters of their own: every
    call that keeps nothing raises one.
    """

    def __init__(self) -> None:
        self.sampled_out = Counter()
        self.capped = Counter()
        self.hopeless = Counter()
        self._lock = threading.Lock()
        self._values = {field.name: 0 for field in fields(Counts)}

    def add(self, name: str, amount: int = 1) -> None:
        """Raise one of the numbers of `Counts`."""
        with self._lock:
            self._values[name] += amount

    def counts(self) -> Counts:
        """Give all numbers as they are now."""
        with self._lock:
            values = dict(self._values)
        values["sampled_out"] += self.sampled_out.value
        values["capped"] += self.capped.value
        values["failed"] += self.hopeless.value
        return Counts(**values)

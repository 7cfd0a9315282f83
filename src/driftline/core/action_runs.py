"""Runs of actions: the steps from a proposal to an end.

proposed → waiting_for_approval → approved → starting → running → succeeded, and where it may go otherwise. A run
is open until it has ended; a blocked one is open, too: it is decided again until nothing blocks it.
"""

from dataclasses import dataclass
from enum import StrEnum

from driftline.core.errors import InvalidInput


class Status(StrEnum):
    """Where a run stands."""

    PROPOSED = "proposed"  # by an alert; nothing is decided yet
    BLOCKED = "blocked"  # a guard rail holds it back for now
    WAITING = "waiting_for_approval"  # by a person
    APPROVED = "approved"  # by a person, or because none is asked
    STARTING = "starting"  # marked before the provider is asked
    RUNNING = "running"  # the provider has taken it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"  # by a person
    EXPIRED = "expired"  # nobody approved in time, or its alerts are over
    DRY_RUN = "dry_run"  # it would have started


_BEFORE = frozenset({Status.BLOCKED, Status.WAITING, Status.APPROVED, Status.EXPIRED, Status.REJECTED})
_NEXT: dict[Status, frozenset[Status]] = {
    Status.PROPOSED: _BEFORE | {Status.DRY_RUN},
    Status.BLOCKED: _BEFORE - {Status.BLOCKED} | {Status.DRY_RUN, Status.STARTING},
    Status.WAITING: _BEFORE - {Status.WAITING},
    Status.APPROVED: _BEFORE - {Status.APPROVED, Status.WAITING} | {Status.STARTING, Status.DRY_RUN},
    Status.STARTING: frozenset({Status.STARTING, Status.RUNNING, Status.SUCCEEDED, Status.FAILED}),
    Status.RUNNING: frozenset(
        {Status.STARTING, Status.SUCCEEDED, Status.FAILED}
    ),  # starting: it was lost on the way
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.DRY_RUN: frozenset(),
}
ENDS = frozenset(status for status, after in _NEXT.items() if not after)
"""Where a run has ended."""
OPEN = frozenset(Status) - ENDS
STARTED = frozenset({Status.STARTING, Status.RUNNING})
"""Where the provider may be at work."""


def may_step(before: Status, after: Status) -> bool:
    """Tell whether a run may go from one status to another.

    >>> may_step(Status.WAITING, Status.APPROVED), may_step(Status.WAITING, Status.STARTING)
    (True, False)
    """
    return after in _NEXT[before]


def check_step(before: Status, after: Status) -> None:
    """Raise InvalidInput, saying what there is to choose, for a step that a run may not take.

    >>> check_step(Status.REJECTED, Status.APPROVED)
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: a run that is rejected cannot become approved: it is over
    """
    if not may_step(before, after):
        rest = ", ".join(sorted(_NEXT[before]))
        why = f"it can become {rest}" if rest else "it is over"
        raise InvalidInput(f"a run that is {before} cannot become {after}: {why}", field="status")


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved or rejected a run, when (microseconds), and what they said."""

    who: str
    at: int
    comment: str = ""

"""Keeping a worker running: what fails is started over, ever more slowly."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from psycopg import OperationalError
from psycopg.errors import DeadlockDetected

from driftline.log.errors import LogError
from driftline.store.errors import StoreError

_FIRST_S = 1.0
_LONGEST_S = 30.0
_HEALTHY_S = 60.0
_DEADLOCKS = 5

_T = TypeVar("_T")

logger = structlog.get_logger("driftline.workers")


def repeat_deadlocked(work: Callable[[], _T]) -> _T:
    """Do work in a transaction of its own, and again where others that changed the same rows went first.

    At once, and not in the next cycle: rules count windows in order.
    """
    for _ in range(_DEADLOCKS):
        try:
            return work()
        except DeadlockDetected:
            logger.info("done again: others changed the same rows")
    return work()


def keep_running(name: str, work: Callable[[], None], stop: threading.Event) -> None:
    """Run `work`, and run it again when it fails, until told to stop.

    A database, log, disk or network that is away is a line in the log; anything else is a fault of driftline and
    leaves its traceback. Work that ran for a minute is started over at once.
    """
    pause = _FIRST_S
    while not stop.is_set():
        began = time.monotonic()
        try:
            work()
        except (OperationalError, StoreError, LogError, OSError) as error:
            logger.warning("worker starts over", worker=name, reason=str(error).strip())
        except Exception:
            logger.exception("worker failed and starts over", worker=name)
        else:
            continue
        pause = _FIRST_S if time.monotonic() - began > _HEALTHY_S else pause
        stop.wait(pause)
        pause = min(2 * pause, _LONGEST_S)

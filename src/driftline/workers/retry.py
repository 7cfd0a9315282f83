"""Keeping a worker running: what fails is started over, ever more slowly."""

import threading
import time
from collections.abc import Callable

import structlog
from psycopg import OperationalError

from driftline.log.errors import LogError
from driftline.store.errors import StoreError

_FIRST_S = 1.0
_LONGEST_S = 30.0
_HEALTHY_S = 60.0

logger = structlog.get_logger("driftline.workers")


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

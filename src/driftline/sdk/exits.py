"""Ends and forks of processes: last rows are delivered, and a child begins anew."""

import atexit
import os
import sys
from typing import Protocol
from weakref import WeakSet


class Watched(Protocol):
    """A monitor, as it is seen from here."""

    def close(self, timeout: float | None = None) -> bool:
        """Deliver and stop."""

    def _stop(self) -> None:
        """Begin to."""

    def _renew(self) -> None:
        """Begin anew in a forked child."""


_watched: "WeakSet[Watched]" = WeakSet()


def watch(monitor: Watched) -> None:
    """Close a monitor when the process ends, and renew it in forked children."""
    _watched.add(monitor)


def close_all() -> None:
    """Close all monitors at the same time."""
    monitors = list(_watched)
    for monitor in monitors:
        monitor._stop()
    for monitor in monitors:
        monitor.close()


def watch_this_process() -> None:
    """Close every monitor at the end of a child that `multiprocessing` forked, which runs no atexit functions."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, close_all, exitpriority=0)


def _renew_all() -> None:
    for monitor in list(_watched):
        monitor._renew()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)

"""Workers in one process, each in a thread of its own: all of them beside the API, or those that are named."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from driftline.actions.configured import read_actions
from driftline.log.log import Log
from driftline.notify.destination import read_destinations, read_routes
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.lake import Lake, open_lake
from driftline.store.partitions import maintain_partitions
from driftline.workers.action_request import Places
from driftline.workers.actions import run_actions
from driftline.workers.approval_key import read_approval_key
from driftline.workers.deliveries import run_deliveries
from driftline.workers.joiner import run_joiner
from driftline.workers.maintenance import run_maintenance
from driftline.workers.monitor import run_monitor
from driftline.workers.notices import run_notices
from driftline.workers.performance import run_performance
from driftline.workers.profiler import run_profiler
from driftline.workers.retry import keep_running
from driftline.workers.sampler import run_sampler
from driftline.workers.watch import run_watch

WORKERS = (
    "sampler",
    "profiler",
    "joiner",
    "monitor",
    "performance",
    "watch",
    "notices",
    "deliveries",
    "actions",
    "maintenance",
)

logger = structlog.get_logger("driftline.workers")


@dataclass(frozen=True, slots=True)
class Workers:
    """Running workers: their threads, and the event that stops them."""

    threads: tuple[threading.Thread, ...]
    stop: threading.Event

    @property
    def alive(self) -> bool:
        """Whether all of them still run."""
        return all(thread.is_alive() for thread in self.threads)


@contextmanager
def run_workers(
    database: Database, log: Log, settings: Settings, names: Sequence[str] = WORKERS
) -> Iterator[Workers]:
    """Run some of the workers; on leaving, let them finish what they have begun.

    Raises UnknownTopic, and InvalidInput when destinations cannot be read.
    """
    log.prepare(settings.log_partitions)
    with database.connection() as conn:
        maintain_partitions(conn, read_clock())  # before anybody reads: rows move while partitions are made
    stop = threading.Event()
    loops = _make_loops(database, log, settings, names, stop)
    threads = tuple(
        threading.Thread(target=keep_running, args=(name, loop, stop), name=name, daemon=True)
        for name, loop in loops.items()
    )
    for thread in threads:
        thread.start()
    try:
        yield Workers(threads, stop)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        logger.info("workers stopped")


def _make_loops(
    database: Database, log: Log, settings: Settings, names: Sequence[str], stop: threading.Event
) -> dict[str, Callable[[], None]]:
    loops: dict[str, Callable[[], None]] = {
        "sampler": lambda: run_sampler(database, log, settings, stop),
        "joiner": lambda: run_joiner(database, log, settings, stop),
        "monitor": lambda: run_monitor(database, log, settings, read_clock, stop),
        "performance": lambda: run_performance(database, settings, read_clock, stop),
        "watch": lambda: run_watch(database, log, settings, read_clock, stop),
    }
    if "notices" in names:
        routes = read_routes(settings.destinations)
        loops["notices"] = lambda: run_notices(database, routes, settings, read_clock, stop)
    if "deliveries" in names:
        destinations = read_destinations(settings.destinations, os.environ)
        loops["deliveries"] = lambda: run_deliveries(database, destinations, read_clock, stop)
    if "actions" in names:
        actions = read_actions(settings.actions, os.environ)
        key = read_approval_key(settings)
        if actions and settings.database_url is not None and settings.approval_key is None:
            logger.warning(
                "approvals are signed with a key of this machine; if others use this database, set approval_key"
            )
        places = Places(settings.address, name_sample_lake(settings))
        loops["actions"] = lambda: run_actions(database, actions, key, places, read_clock, stop)
    if not loops.keys() >= set(names):
        lake = open_sample_lake(settings)
        loops["profiler"] = lambda: run_profiler(database, log, lake, settings, stop)
        loops["maintenance"] = lambda: run_maintenance(database, lake, settings, read_clock, stop)
    return {name: loops[name] for name in names}


def name_sample_lake(settings: Settings) -> str:
    """Give the address of the lake: the folder `samples` under data_dir unless the settings name another."""
    return settings.samples_url or str(settings.data_dir.resolve() / "samples")


def open_sample_lake(settings: Settings) -> Lake:
    """Open the lake of the settings."""
    address = name_sample_lake(settings)
    if settings.samples_url is None and settings.database_url is not None:
        logger.warning(
            "the sample lake is on this machine; if other machines use this database as well, set samples_url",
            folder=address,
        )
    return open_lake(address)


def read_clock() -> int:
    """Give the time in microseconds since the epoch."""
    return time.time_ns() // 1000

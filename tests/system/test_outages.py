"""Processes, the database and the broker go and come back: what was acknowledged is counted, once."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from driftline.store.database import connect
from driftline.store.embedded import EmbeddedServer, start_server
from driftline.store.migrate import migrate
from tests.brokers import ApacheKafka
from tests.system.conftest import OpenShop
from tests.system.crew import await_true
from tests.system.shop import Shop

WORKERS = ("sampler", "sampler", "profiler", "profiler", "joiner", "joiner", "monitor", "monitor")
ROUNDS, ROWS = 24, 50
KILLS = 10

pytestmark = pytest.mark.slow


def send_round(shop: Shop, number: int) -> range:
    """Send some events by one of the doors, in turn, the last of the round before once more; gives which."""
    events = range(max(0, number * ROWS - 5), (number + 1) * ROWS)
    if number % 2:
        shop.log_events(events)
    else:
        shop.send(events, key=f"round {number}" if number % 4 else None)
    return events


def send_while(shop: Shop, disturb: Callable[[], None]) -> range:
    """Send all rounds while something else happens, and go on until it has; gives the events sent."""
    number = 0
    with ThreadPoolExecutor(1) as thread:
        disturbance = thread.submit(disturb)
        try:
            while number < ROUNDS or not disturbance.done():
                send_round(shop, number)
                shop.crew.pause(0.5)
                number += 1
        finally:
            disturbance.result()  # should it have failed, that is why sending has
    return range(number * ROWS)


def check(shop: Shop, events: range) -> None:
    shop.await_counts(events)
    shop.check_counts(events)
    shop.crew.await_true(lambda: not shop.lag(), "processing all of the log", shop.lag)
    assert shop.refused() == {}


def test_workers_killed_at_random(open_shop: OpenShop, database_url: str) -> None:
    with open_shop(database_url, WORKERS) as shop:
        shop.register()

        def kill() -> None:
            for _ in range(KILLS):
                shop.crew.kill_one()
                shop.crew.pause(3)

        check(shop, send_while(shop, kill))


@pytest.fixture
def server(tmp_path: Path) -> Iterator["RestartableServer"]:
    made = RestartableServer(tmp_path / "database" / "postgres")
    yield made
    made.stop()


class RestartableServer:
    """A PostgreSQL of this test's own, migrated; its URL stays the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: EmbeddedServer = start_server(folder)
        self.url = self._server.url
        with connect(self.url) as conn:
            migrate(conn)

    def stop(self) -> None:
        self._server.close()

    def kill(self) -> None:
        """End it as a power cut would; what it had committed is on the disk."""
        pid = self._server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await_true(lambda: self._server.pid is None, "the end of the killed server")
        self._server.close()

    def start(self) -> None:
        self._server = start_server(self._folder)


def test_the_database_restarts(open_shop: OpenShop, server: RestartableServer) -> None:
    """Cleanly, then killed. No worker ends: they wait and go on."""
    with open_shop(server.url, WORKERS) as shop:
        shop.register()
        shop.crew.await_all()

        def restart() -> None:
            for end in (server.stop, server.kill):
                shop.crew.pause(4)
                end()
                shop.crew.pause(2)
                server.start()

        check(shop, send_while(shop, restart))


@pytest.mark.kafka
@pytest.mark.parametrize("kind", ["apache"])
def test_the_broker_restarts(open_shop: OpenShop, database_url: str, apache: ApacheKafka) -> None:
    """Cleanly, then killed. No worker ends, and senders wait."""
    with open_shop(database_url, WORKERS) as shop:
        shop.register()
        shop.crew.await_all()

        def restart() -> None:
            for end in (apache.stop, apache.kill):
                shop.crew.pause(6)
                end()
                shop.crew.pause(2)
                apache.start()

        check(shop, send_while(shop, restart))

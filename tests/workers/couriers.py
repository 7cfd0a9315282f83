"""Deliveries for tests: notices of incidents, destinations at local providers, workers that send in a hurry."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import httpx
import pytest

from driftline.core.notice import Kind
from driftline.core.routing import Route
from driftline.core.rules import Severity
from driftline.notify.alertmanager import Alertmanager
from driftline.notify.apprise import Apprise
from driftline.notify.destination import Destination
from driftline.notify.jira import Jira
from driftline.notify.pagerduty import PagerDuty
from driftline.notify.secret import Secret
from driftline.notify.slack import SlackBot, SlackWebhook
from driftline.notify.tables import Receiver
from driftline.notify.webhook import Webhook
from driftline.store.database import Database
from driftline.store.deliveries import NewDelivery, StoredDelivery, add_deliveries, list_deliveries
from driftline.store.incidents import place_incident
from driftline.workers import deliveries
from driftline.workers.deliveries import run_deliveries
from driftline.workers.up import read_clock
from tests.notify.notices import make_notice
from tests.notify.provider import Provider, Reply, Request

TOKEN = "xoxb-0123456789"


def accept(request: Request) -> Reply:
    """Take everything, as each provider says so."""
    return Reply(200, {"ok": True, "ts": f"{len(request.body)}.1"})


def reach(kind: str, url: str, name: str = "") -> Destination:
    """A destination of a type at a local provider."""
    receivers: dict[str, Receiver] = {
        "pagerduty": PagerDuty(Secret("R0UTING"), url),
        "slack": SlackWebhook(Secret(f"{url}/services/T000")),
        "bot": SlackBot(Secret(TOKEN), "C123", url),
        "jira": Jira(url, "ML", Secret("ATATT-0123456789")),
        "alertmanager": Alertmanager(url),
        "apprise": Apprise(Secret(f"{url.replace('http', 'json')}/tk-0123456789?rto=0.3&cto=0.3")),
        "webhook": Webhook(Secret(f"{url}/hook"), Secret("k3y-of-the-hook")),
    }
    return Destination(kind, Route(name or kind), receivers[kind])


def add(
    database: Database, destinations: Sequence[str], *kinds: Kind, model: str = "fraud", ago: int = 0
) -> list[UUID]:
    """Add notices of an incident of a model, one after the other, each to all destinations; gives their ids."""
    now = read_clock() - ago
    with database.transaction() as conn:
        incident = place_incident(conn, model, "", [], Severity.HIGH, now)
        made = [
            NewDelivery(incident, name, make_notice(kind=kind, title=f"{model} {place}", dedup_key=f"{incident}"))
            for place, kind in enumerate(kinds)
            for name in destinations
        ]
        return add_deliveries(conn, made, now)


def read(database: Database, destination: str | None = None) -> list[StoredDelivery]:
    """All deliveries, oldest first."""
    with database.transaction() as conn:
        return list_deliveries(conn, destination=destination, limit=100_000)[::-1]


def ended(database: Database, destination: str | None = None) -> bool:
    """Whether nothing is pending."""
    return all(each.status != "pending" for each in read(database, destination))


def titles(provider: Provider) -> list[str]:
    """What a provider was told, in order."""
    return [_title(request.content) for request in provider.requests]


def _title(content: dict[str, object]) -> str:
    text = str(content.get("title") or content.get("text") or content["payload"]["summary"])  # type: ignore[index]
    return text.rpartition(": ")[2]


@contextmanager
def deliver(database: Database, *destinations: Destination) -> Iterator[threading.Event]:
    """Run a deliveries worker."""
    stop = threading.Event()
    thread = threading.Thread(target=run_deliveries, args=(database, destinations, read_clock, stop))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses and patience be short."""
    pause: Callable[..., float] = lambda end, _attempt, _rng: (end.retry_after_s or 0) + 0.02  # noqa: E731
    monkeypatch.setattr(deliveries, "pause_before_retry", pause)
    monkeypatch.setattr(deliveries, "open_client", lambda: httpx.Client(timeout=0.3, trust_env=False))
    monkeypatch.setattr(deliveries, "_STANDBY_S", 0.05)
    monkeypatch.setattr(deliveries, "_NOTICE_STOP_S", 0.05)
    monkeypatch.setattr("driftline.workers.retry._FIRST_S", 0.05)

"""Destinations: who is told, as the settings say it, and sending to any of them."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError

from driftline.core.errors import InvalidInput
from driftline.core.notice import Kind, Notice
from driftline.core.routing import Route
from driftline.core.window import MICROSECONDS
from driftline.notify import alertmanager, apprise, email, jira, pagerduty, slack, webhook
from driftline.notify.alertmanager import Alertmanager
from driftline.notify.apprise import Apprise
from driftline.notify.delivery import Delivery
from driftline.notify.email import Email
from driftline.notify.jira import Jira
from driftline.notify.pagerduty import PagerDuty
from driftline.notify.secret import Secret, read_secret
from driftline.notify.slack import SlackBot, SlackWebhook
from driftline.notify.tables import TABLES, Receiver, Table
from driftline.notify.webhook import Webhook

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Destination:
    """A configured destination: its type, what it takes, and where that goes, credentials and all."""

    type: str
    route: Route
    receiver: Receiver

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self.route.name

    def shows_copies(self, kind: Kind) -> bool:
        """Whether a notice of this kind that is sent twice may be seen twice there: it has no key against that."""
        if isinstance(self.receiver, Jira):
            return kind != Kind.TRIGGER  # a second comment
        return isinstance(self.receiver, SlackWebhook | SlackBot | Email | Apprise)


def read_destinations(
    config: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]
) -> tuple[Destination, ...]:
    """Read all destinations of the settings with their credentials; InvalidInput names each that is at fault.

    >>> config = {"pager": {"type": "pagerduty", "routing_key": "env:PAGERDUTY_KEY"}}
    >>> [pager] = read_destinations(config, {"PAGERDUTY_KEY": "R0123"})
    >>> pager.name, pager.receiver
    ('pager', PagerDuty(routing_key=Secret(…), url='https://events.pagerduty.com/v2/enqueue'))
    >>> read_destinations(config, {})
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: destination pager: routing_key: the environment variable PAGERDUTY_KEY is \
not set or empty
    """

    def read(source: str, field: str) -> Secret:
        return read_secret(source, environ, field=field)

    found: list[Destination] = []
    faults: list[str] = []
    for name, table in _read_tables(config).items():
        try:
            found.append(Destination(table.type, table.route(name), table.receiver(read)))
        except InvalidInput as error:
            faults.append(f"destination {name}: {error}")
    _raise(faults)
    return tuple(found)


def read_routes(config: Mapping[str, Mapping[str, Any]]) -> tuple[Route, ...]:
    """Read what each destination of the settings takes, without credentials.

    >>> read_routes({"pager": {"type": "pagerduty", "routing_key": "env:KEY"}})[0].severities
    frozenset({<Severity.CRITICAL: 'CRITICAL'>})
    """
    return tuple(table.route(name) for name, table in _read_tables(config).items())


def send(
    client: httpx.Client, destination: Destination, notice: Notice, *, delivery_id: str, now: int, thread: str = ""
) -> Delivery:
    """Send a notice to a destination at `now` (microseconds).

    `delivery_id` is the same in every attempt; `thread` is the reference of the first delivery of its incident.
    """
    match destination.receiver:
        case PagerDuty() as receiver:
            delivery = pagerduty.send(client, receiver, notice)
        case SlackWebhook() | SlackBot() as receiver:
            delivery = slack.send(client, receiver, notice, thread=thread)
        case Jira() as receiver:
            delivery = jira.send(client, receiver, notice)
        case Webhook() as receiver:
            delivery = webhook.send(client, receiver, notice, delivery_id=delivery_id, now=now // MICROSECONDS)
        case Email() as receiver:
            delivery = email.send(receiver, notice, delivery_id=delivery_id)
        case Alertmanager() as receiver:
            delivery = alertmanager.send(client, receiver, notice, now=now)
        case Apprise() as receiver:
            delivery = apprise.send(receiver, notice)
    return delivery


def _read_tables(config: Mapping[str, Mapping[str, Any]]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    faults: list[str] = []
    for name, content in config.items():
        try:
            tables[name] = _read_table(name, content)
        except InvalidInput as error:
            faults.append(f"destination {name}: {error}")
        except ValidationError as error:
            faults += [f"destination {name}: {_explain(fault, content)}" for fault in error.errors()]
    _raise(faults)
    return tables


def _read_table(name: str, content: Mapping[str, Any]) -> Table:
    if not _NAME.fullmatch(name):
        raise InvalidInput("a name has at most 64 letters, digits, _ and -", field="destinations")
    kind = content.get("type")
    if not isinstance(kind, str) or kind not in TABLES:
        said = "type is missing" if kind is None else f"there is no type {kind!r}"
        raise InvalidInput(f"{said}; choose {', '.join(TABLES)}", field="type")
    return TABLES[kind].model_validate(content)


def _explain(fault: Any, content: Mapping[str, Any]) -> str:
    """Say what is wrong with a field, without its content: it may be a credential."""
    field = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{field} is missing; give it"
    if fault["type"] == "extra_forbidden":
        fields = TABLES[content["type"]].model_fields
        close = difflib.get_close_matches(field, fields, 1)
        fix = f"did you mean {close[0]}?" if close else f"there are {', '.join(fields)}"
        return f"there is no field {field!r}; {fix}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{field}: {message[0].lower()}{message[1:]}" if field else message


def _raise(faults: list[str]) -> None:
    if faults:
        raise InvalidInput("\n".join(faults), field="destinations")

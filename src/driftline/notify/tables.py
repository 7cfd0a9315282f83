"""The tables `[destinations.NAME]` of the settings: a model for each type, read into what its file sends to."""

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from driftline.core.routing import read_span
from driftline.core.rules import Severity
from driftline.core.window import MICROSECONDS
from driftline.notify import pagerduty, slack
from driftline.notify.alertmanager import Alertmanager
from driftline.notify.apprise import Apprise, check_address
from driftline.notify.email import Email
from driftline.notify.jira import Jira
from driftline.notify.pagerduty import PagerDuty
from driftline.notify.routed import Routed, Span
from driftline.notify.secret import Secret
from driftline.notify.slack import SlackBot, SlackWebhook
from driftline.notify.webhook import Webhook

Receiver: TypeAlias = PagerDuty | SlackWebhook | SlackBot | Jira | Webhook | Email | Alertmanager | Apprise
ReadSecret: TypeAlias = Callable[[str, str], Secret]
"""Reads the credential that is at a place (`env:NAME`, `file:/path`); the second argument is the field."""


def _check_source(source: str) -> str:
    if not source.startswith(("env:", "file:")) or source.endswith(":"):
        raise ValueError("write env:NAME or file:/path, where the credential is, not the credential itself")
    return source


def _check_address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("it must begin with http:// or https://")
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("it must not hold a user or password")
    return url.rstrip("/")


Source = Annotated[str, AfterValidator(_check_source)]
Address = Annotated[str, AfterValidator(_check_address)]
Text = Annotated[str, Field(min_length=1)]


class PagerDutyTable(Routed):
    """`type = "pagerduty"`."""

    TAKES: ClassVar[frozenset[Severity]] = frozenset({Severity.CRITICAL})
    routing_key: Source
    url: Address = pagerduty.URL

    def receiver(self, read: ReadSecret) -> Receiver:
        """Give the service that incidents are opened in."""
        return PagerDuty(read(self.routing_key, "routing_key"), self.url)


class SlackTable(Routed):
    """`type = "slack"`: `url` for an incoming webhook, `token` and `channel` for a bot."""

    TAKES: ClassVar[frozenset[Severity]] = frozenset({Severity.HIGH})
    url: Source | None = None
    token: Source | None = None
    channel: Text | None = None
    api_url: Address = slack.URL
    chart: bool = True

    @model_validator(mode="after")
    def _check_way(self) -> Self:
        if (self.url is None) == (self.token is None) or (self.token is None) != (self.channel is None):
            raise ValueError("give either url, an incoming webhook, or token and channel of a bot")
        return self

    def receiver(self, read: ReadSecret) -> Receiver:
        """Give the channel, in one of two ways."""
        if self.token is not None and self.channel is not None:
            return SlackBot(read(self.token, "token"), self.channel, self.api_url, self.chart)
        return SlackWebhook(read(self.url or "", "url"))


class JiraTable(Routed):
    """`type = "jira"`."""

    TAKES: ClassVar[frozenset[Severity]] = frozenset({Severity.MEDIUM})
    url: Address
    project: Text
    token: Source
    user: str = ""
    issue_type: Text = "Task"
    priorities: Mapping[Severity, Text] = Field(default_factory=dict)
    resolve_transition: str = ""

    def receiver(self, read: ReadSecret) -> Receiver:
        """Give the project."""
        token = read(self.token, "token")
        return Jira(
            self.url,
            self.project,
            token,
            self.user,
            self.issue_type,
            {str(severity): priority for severity, priority in self.priorities.items()},
            self.resolve_transition,
        )


class WebhookTable(Routed):
    """`type = "webhook"`."""

    url: Source
    key: Source

    def receiver(self, read: ReadSecret) -> Receiver:
        """Give the address and its key."""
        return Webhook(read(self.url, "url"), read(self.key, "key"))


class EmailTable(Routed):
    """`type = "email"`."""

    host: Text
    sender: Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")]
    recipients: tuple[Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...] = Field(min_length=1)
    port: int = Field(587, ge=1, le=65_535)
    user: str = ""
    password: Source | None = None
    starttls: bool = True

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if bool(self.user) != (self.password is not None):
            raise ValueError("give user and password, or neither")
        return self

    def receiver(self, read: ReadSecret) -> Receiver:
        """Give the mailboxes and the server."""
        password = None if self.password is None else read(self.password, "password")
        return Email(self.host, self.sender, self.recipients, self.port, self.user, password, self.starttls)


class AlertmanagerTable(Routed):
    """`type = "alertmanager"`."""

    url: Address
    token: Source | None = None
    keep: Span = "3d"

    @model_validator(mode="after")
    def _check_keep(self) -> Self:
        keep, repeat = read_span(self.keep, "keep"), read_span(self.repeat_interval, "repeat_interval")
        if keep is None or repeat is None or keep <= repeat:
            raise ValueError("keep must be longer than repeat_interval, or alerts end while they still fire")
        return self

    def receiver(self, read: ReadSecret) -> Receiver:
        """Give the Alertmanager."""
        token = None if self.token is None else read(self.token, "token")
        return Alertmanager(self.url, token, (read_span(self.keep, "keep") or 0) // MICROSECONDS)


class AppriseTable(Routed):
    """`type = "apprise"`."""

    url: Source

    def receiver(self, read: ReadSecret) -> Receiver:
        """Give the service, if Apprise knows it."""
        url = read(self.url, "url")
        check_address(url, "url")
        return Apprise(url)


Table: TypeAlias = (
    PagerDutyTable | SlackTable | JiraTable | WebhookTable | EmailTable | AlertmanagerTable | AppriseTable
)
TABLES: Mapping[str, type[Table]] = {
    "pagerduty": PagerDutyTable,
    "slack": SlackTable,
    "jira": JiraTable,
    "webhook": WebhookTable,
    "email": EmailTable,
    "alertmanager": AlertmanagerTable,
    "apprise": AppriseTable,
}

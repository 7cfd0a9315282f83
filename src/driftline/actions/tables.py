"""What tables `[actions.NAME]` of the settings may say, by their type, and what holds where they say nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from driftline.actions.action import Provider, Purpose
from driftline.actions.airflow import Airflow
from driftline.actions.argo import Argo
from driftline.actions.command import Command
from driftline.actions.fallback_flag import FallbackFlag
from driftline.actions.github import Github
from driftline.actions.kserve import Kserve
from driftline.actions.kubeflow import Kubeflow
from driftline.actions.webhook import Webhook
from driftline.core.duration import parse_duration
from driftline.core.errors import InvalidInput
from driftline.core.guard_rails import Policy
from driftline.core.rules import Severity
from driftline.notify.jira import Jira
from driftline.notify.secret import Secret, read_secret

DEFAULTS: Mapping[Purpose, Mapping[str, Any]] = {
    Purpose.RETRAIN: {
        "approval": True,
        "cooldown": "24h",
        "at_once": 5,
        "budget": 3,
        "fleet_budget": 20,
        "min_windows": 3,
        "data_quality_blocks": True,
        "time_out": "24h",
    },
    Purpose.FALLBACK: {
        "approval": True,
        "cooldown": "0s",
        "at_once": 100,
        "budget": 10,
        "fleet_budget": 100,
        "min_windows": 0,
        "data_quality_blocks": False,
        "time_out": "1h",
    },
    Purpose.TELL: {
        "approval": False,
        "cooldown": "0s",
        "at_once": 100,
        "budget": 100,
        "fleet_budget": 1000,
        "min_windows": 0,
        "data_quality_blocks": False,
        "time_out": "1h",
    },
}
"""What holds where a table says nothing, by what an action is for; docs/actions.md shows the same."""


class Table(BaseModel):
    """What every action may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    purpose: ClassVar[Purpose]

    type: str
    models: list[str] = Field(["*"], min_length=1)
    approval: bool | None = None
    approval_within: str = "72h"
    cooldown: str | None = None
    at_once: int | None = Field(None, ge=1)
    budget: int | None = Field(None, ge=1)
    fleet_budget: int | None = Field(None, ge=1)
    budget_span: str = "7d"
    min_windows: int | None = Field(None, ge=0)
    min_labels: int = Field(0, ge=0)
    data_quality_blocks: bool | None = None
    dry_run: bool = False
    time_out: str | None = None
    ca_file: Path | None = None

    @field_validator("cooldown", "budget_span", "approval_within", "time_out")
    @classmethod
    def _check_duration(cls, text: str | None) -> str | None:
        if text is not None:
            parse_duration(text, "it")
        return text

    def find(self, name: str) -> Any:
        """Give a field, or what holds for its purpose where the table says nothing."""
        value = getattr(self, name)
        return DEFAULTS[self.purpose][name] if value is None else value

    def read_policy(self) -> Policy:
        """Read what the action is allowed."""
        return Policy(
            models=tuple(self.models),
            approval=self.find("approval"),
            approval_within=parse_duration(self.approval_within),
            cooldown=parse_duration(self.find("cooldown")),
            at_once=self.find("at_once"),
            budget=self.find("budget"),
            fleet_budget=self.find("fleet_budget"),
            budget_span=parse_duration(self.budget_span),
            min_windows=self.find("min_windows"),
            min_labels=self.min_labels,
            data_quality_blocks=self.find("data_quality_blocks"),
            dry_run=self.dry_run,
        )

    @property
    def longest(self) -> int:
        """How long a run may take, microseconds."""
        return parse_duration(self.find("time_out"))

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        """Read who does it, with credentials."""
        raise NotImplementedError


class _WebhookTable(Table):
    url: str
    key: str

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        return Webhook(
            _read_address(self.url, environ), read_secret(self.key, environ, field="key"), self._reports()
        )

    def _reports(self) -> bool:
        return self.purpose is not Purpose.TELL


class _RetrainWebhook(_WebhookTable):
    purpose = Purpose.RETRAIN
    type: Literal["retrain_webhook"]


class _FallbackWebhook(_WebhookTable):
    purpose = Purpose.FALLBACK
    type: Literal["fallback_webhook"]


class _TellWebhook(_WebhookTable):
    purpose = Purpose.TELL
    type: Literal["webhook"]


class _CommandTable(Table):
    purpose = Purpose.RETRAIN
    type: Literal["command"]
    argv: list[str] = Field(min_length=1)
    folder: Path | None = None
    environment: list[str] = Field(default_factory=list)

    def read_provider(self, _environ: Mapping[str, str]) -> Provider:
        return Command(tuple(self.argv), self.longest / 1e6, self.folder, tuple(self.environment))


class _FallbackFlagTable(Table):
    purpose = Purpose.FALLBACK
    type: Literal["fallback_flag"]

    def read_provider(self, _environ: Mapping[str, str]) -> Provider:
        return FallbackFlag()


class _TicketTable(Table):
    purpose = Purpose.TELL
    type: Literal["ticket"]
    url: str
    project: str
    token: str
    user: str = ""
    issue_type: str = "Task"
    priorities: dict[Severity, str] = Field(default_factory=dict)

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        token = read_secret(self.token, environ, field="token")
        priorities = {str(severity): name for severity, name in self.priorities.items()}
        return Jira(_check_address(self.url), self.project, token, self.user, self.issue_type, priorities)


class _KserveTable(Table):
    purpose = Purpose.FALLBACK
    type: Literal["kserve"]
    url: str
    namespace: str
    service: str
    token: str
    percent: int = Field(0, ge=0, le=100)
    percent_after: int = Field(100, ge=0, le=100)

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        return Kserve(
            _check_address(self.url),
            self.namespace,
            self.service,
            read_secret(self.token, environ, field="token"),
            self.percent,
            self.percent_after,
        )


class _AirflowTable(Table):
    purpose = Purpose.RETRAIN
    type: Literal["airflow"]
    url: str
    dag: str
    version: Literal[2, 3] = 3
    user: str = ""
    password: str | None = None
    token: str | None = None

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        password, token = (_read_optional(getattr(self, field), environ, field) for field in ("password", "token"))
        if token is None and (not self.user or password is None):
            raise InvalidInput("token: give a token, or user and password", field="token")
        return Airflow(_check_address(self.url), self.dag, self.version, self.user, password, token)


class _GithubTable(Table):
    purpose = Purpose.RETRAIN
    type: Literal["github"]
    repository: str = Field(pattern=r"^[^/\s]+/[^/\s]+$")
    workflow: str
    token: str
    ref: str = "main"
    url: str = "https://api.github.com"

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        token = read_secret(self.token, environ, field="token")
        return Github(self.repository, self.workflow, token, self.ref, _check_address(self.url))


class _KubeflowTable(Table):
    purpose = Purpose.RETRAIN
    type: Literal["kubeflow"]
    url: str
    pipeline_id: str
    pipeline_version_id: str = ""
    experiment_id: str = ""
    service_account: str = ""
    token: str | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        return Kubeflow(
            _check_address(self.url),
            self.pipeline_id,
            _read_optional(self.token, environ, "token"),
            self.pipeline_version_id,
            self.experiment_id,
            self.service_account,
            dict(self.parameters),
        )


class _ArgoTable(Table):
    purpose = Purpose.RETRAIN
    type: Literal["argo"]
    url: str
    namespace: str
    template: str
    cluster: bool = False
    service_account: str = ""
    token: str | None = None

    def read_provider(self, environ: Mapping[str, str]) -> Provider:
        token = _read_optional(self.token, environ, "token")
        return Argo(
            _check_address(self.url), self.namespace, self.template, token, self.cluster, self.service_account
        )


TABLES: Mapping[str, type[Table]] = {
    "retrain_webhook": _RetrainWebhook,
    "command": _CommandTable,
    "airflow": _AirflowTable,
    "github": _GithubTable,
    "kubeflow": _KubeflowTable,
    "argo": _ArgoTable,
    "fallback_flag": _FallbackFlagTable,
    "fallback_webhook": _FallbackWebhook,
    "kserve": _KserveTable,
    "ticket": _TicketTable,
    "webhook": _TellWebhook,
}
"""The types."""


def _check_address(address: str) -> str:
    if not address.startswith(("http://", "https://")):
        raise InvalidInput("url: it must begin with http:// or https://", field="url")
    return address


def _read_optional(source: str | None, environ: Mapping[str, str], field: str) -> Secret | None:
    return None if source is None else read_secret(source, environ, field=field)


def _read_address(source: str, environ: Mapping[str, str]) -> Secret:
    """Read an address: itself, or where it is, since many hold a credential."""
    if source.startswith(("http://", "https://")):
        return Secret(source)
    address = read_secret(source, environ, field="url")
    if not address.reveal().startswith(("http://", "https://")):
        raise InvalidInput("url: what is there must begin with http:// or https://", field="url")
    return address

"""The actions of the settings: each table `[actions.NAME]` checked, its credentials read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from driftline.actions.action import Action, Provider, Purpose
from driftline.actions.command import Command
from driftline.actions.fallback_flag import FallbackFlag
from driftline.actions.webhook import Webhook
from driftline.core.duration import parse_duration
from driftline.core.errors import InvalidInput
from driftline.core.guard_rails import Policy
from driftline.notify.secret import Secret, read_secret

DEFAULTS: Mapping[Purpose, Mapping[str, Any]] = {
    Purpose.RETRAIN: {
        "approval": True,
        "cooldown": "24h",
        "budget": 3,
        "fleet_budget": 20,
        "min_windows": 3,
        "data_quality_blocks": True,
        "time_out": "24h",
    },
    Purpose.FALLBACK: {
        "approval": True,
        "cooldown": "0s",
        "budget": 10,
        "fleet_budget": 100,
        "min_windows": 0,
        "data_quality_blocks": False,
        "time_out": "1h",
    },
    Purpose.TELL: {
        "approval": False,
        "cooldown": "0s",
        "budget": 100,
        "fleet_budget": 1000,
        "min_windows": 0,
        "data_quality_blocks": False,
        "time_out": "1h",
    },
}
"""What holds where a table says nothing, by what an action is for; docs/actions.md shows the same."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    purpose: ClassVar[Purpose]

    type: str
    models: list[str] = Field(["*"], min_length=1)
    approval: bool | None = None
    approval_within: str = "72h"
    cooldown: str | None = None
    budget: int | None = Field(None, ge=1)
    fleet_budget: int | None = Field(None, ge=1)
    budget_span: str = "7d"
    min_windows: int | None = Field(None, ge=0)
    min_labels: int = Field(0, ge=0)
    data_quality_blocks: bool | None = None
    dry_run: bool = False
    time_out: str | None = None

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


class _WebhookTable(_Table):
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


class _CommandTable(_Table):
    purpose = Purpose.RETRAIN
    type: Literal["command"]
    argv: list[str] = Field(min_length=1)
    folder: Path | None = None
    environment: list[str] = Field(default_factory=list)

    def read_provider(self, _environ: Mapping[str, str]) -> Provider:
        return Command(tuple(self.argv), self.longest / 1e6, self.folder, tuple(self.environment))


class _FallbackFlagTable(_Table):
    purpose = Purpose.FALLBACK
    type: Literal["fallback_flag"]

    def read_provider(self, _environ: Mapping[str, str]) -> Provider:
        return FallbackFlag()


_TABLES: Mapping[str, type[_Table]] = {
    "retrain_webhook": _RetrainWebhook,
    "command": _CommandTable,
    "fallback_flag": _FallbackFlagTable,
    "fallback_webhook": _FallbackWebhook,
    "webhook": _TellWebhook,
}
TYPES = tuple(_TABLES)
"""What an action may be."""


def read_actions(tables: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]) -> tuple[Action, ...]:
    """Read the actions of the settings by name. Raises InvalidInput, which names the field and hides credentials.

    >>> (action,) = read_actions({"backup": {"type": "fallback_flag", "models": ["fraud-*"]}}, {})
    >>> action.name, action.policy.approval, action.policy.models
    ('backup', True, ('fraud-*',))
    """
    return tuple(_read_action(name, table, environ) for name, table in sorted(tables.items()))


def _read_action(name: str, table: Mapping[str, Any], environ: Mapping[str, str]) -> Action:
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in _TABLES:
        raise _refuse(name, "type", f"it is {kind!r}; use one of {', '.join(TYPES)}")
    try:
        read = _TABLES[kind](**table)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        field = ".".join(map(str, fault["loc"])) or "type"
        raise _refuse(name, field, fault["msg"].removeprefix("Value error, ")) from None
    try:
        provider = read.read_provider(environ)
    except InvalidInput as error:
        raise _refuse(name, error.field or "type", str(error).removeprefix(f"{error.field}: ")) from None
    return Action(name, read.purpose, read.read_policy(), provider, read.longest)


def _read_address(source: str, environ: Mapping[str, str]) -> Secret:
    """Read an address: itself, or where it is, since many hold a credential."""
    if source.startswith(("http://", "https://")):
        return Secret(source)
    address = read_secret(source, environ, field="url")
    if not address.reveal().startswith(("http://", "https://")):
        raise InvalidInput("url: what is there must begin with http:// or https://", field="url")
    return address


def _refuse(name: str, field: str, fault: str) -> InvalidInput:
    where = f"actions.{name}.{field}"
    return InvalidInput(f"setting {where}: {fault[0].lower()}{fault[1:]}", field=where)

"""The actions of the settings: each table `[actions.NAME]` checked, its credentials read."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from driftline.actions.action import Action
from driftline.actions.tables import TABLES
from driftline.core.errors import InvalidInput


def read_actions(tables: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]) -> tuple[Action, ...]:
    """Read the actions of the settings by name. Raises InvalidInput, which names the field and hides credentials.

    >>> (action,) = read_actions({"backup": {"type": "fallback_flag", "models": ["fraud-*"]}}, {})
    >>> action.name, action.policy.approval, action.policy.models
    ('backup', True, ('fraud-*',))
    """
    return tuple(_read_action(name, table, environ) for name, table in sorted(tables.items()))


def _read_action(name: str, table: Mapping[str, Any], environ: Mapping[str, str]) -> Action:
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in TABLES:
        raise _refuse(name, "type", f"it is {kind!r}; use one of {', '.join(TABLES)}")
    try:
        read = TABLES[kind](**table)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        field = ".".join(map(str, fault["loc"])) or "type"
        raise _refuse(name, field, fault["msg"].removeprefix("Value error, ")) from None
    try:
        provider = read.read_provider(environ)
    except InvalidInput as error:
        raise _refuse(name, error.field or "type", str(error).removeprefix(f"{error.field}: ")) from None
    return Action(name, read.purpose, read.read_policy(), provider, read.longest, str(read.ca_file or ""))


def _refuse(name: str, field: str, fault: str) -> InvalidInput:
    where = f"actions.{name}.{field}"
    return InvalidInput(f"setting {where}: {fault[0].lower()}{fault[1:]}", field=where)

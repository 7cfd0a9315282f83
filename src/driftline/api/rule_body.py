"""Alert rules as they are sent and shown."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from driftline.api.model_body import Author
from driftline.core.moment import format_time
from driftline.core.rule_metric import METRICS
from driftline.core.rule_reading import read_rule, write_fields
from driftline.core.rules import Comparison, Measure, Rule, Severity
from driftline.store.alert_rules import StoredRule

NOBODY = "unknown"
"""The actor of a change for which nobody gave a name."""
BUILT_IN = "built_in"
"""The origin of driftline's own rules."""
MOST_RULES = 20_000
"""So many rules are sent at once."""

_SHOWN_ONLY = ("origin", "created_at", "updated_at")
_EXAMPLE: JsonDict = {
    "metric": "psi",
    "feature": "amount",
    "comparison": "above_natural",
    "threshold": 0.2,
    "severity": "HIGH",
}
_TEXT: JsonDict = {"type": "string"}
_WHOLE: JsonDict = {"type": "integer", "minimum": 1, "maximum": 1000}
_FIELDS: JsonDict = {
    "rule_id": _TEXT,
    "metric": {**_TEXT, "examples": [*METRICS]},
    "comparison": {"enum": [*map(str, Comparison)]},
    "threshold": {"type": "number"},
    "model": _TEXT,
    "version": _TEXT,
    "feature": _TEXT,
    "segment": _TEXT,
    "reference_kind": {"enum": ["training", "rolling", "seasonal"]},
    "measure": {"enum": [*map(str, Measure)]},
    "band_windows": {**_WHOLE, "minimum": 8},
    "consecutive_windows": _WHOLE,
    "recover_windows": _WHOLE,
    "min_samples": {"type": "number", "minimum": 0},
    "min_maturity": {"type": "number", "minimum": 0, "maximum": 1},
    "require_significance": {"type": "boolean"},
    "severity": {"enum": [*map(str, Severity)]},
    "actions": {"type": "array", "items": _TEXT},
    "owner": _TEXT,
    "runbook": _TEXT,
}


def _show_fields(schema: JsonDict) -> None:
    by = schema["properties"]
    schema["properties"] = {**_FIELDS, **(by if isinstance(by, dict) else {})}
    schema["required"] = ["metric", "comparison", "threshold"]
    schema["examples"] = [_EXAMPLE]
    schema.pop("additionalProperties", None)


class RuleBody(BaseModel):
    """A rule: its fields are those of a rule in a file (docs/alerts.md); and who sends it."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_show_fields)

    by: Author = NOBODY

    def read(self, **otherwise: str) -> Rule:
        """Read the rule; `otherwise` are fields that may be left out. Raises InvalidInput.

        What is only shown of a rule may be sent back with it.
        """
        sent = {name: value for name, value in (self.model_extra or {}).items() if name not in _SHOWN_ONLY}
        return read_rule({**otherwise, **sent})


class RuleSet(BaseModel):
    """All rules that come from files."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rules": [_EXAMPLE], "by": "ana"}]})

    rules: list[Any] = Field(max_length=MOST_RULES, description="Rules, each with its rule_id.")
    by: Author = NOBODY
    dry_run: bool = Field(default=False, description="Only say what would change.")


class Deleter(BaseModel):
    """Who deletes."""

    model_config = ConfigDict(extra="forbid")

    by: Author = NOBODY


def describe_rule(stored: StoredRule) -> dict[str, Any]:
    """Give all that is known of a rule."""
    return {
        **write_fields(stored.rule),
        "origin": stored.origin,
        "created_at": format_time(stored.created_at),
        "updated_at": format_time(stored.updated_at),
    }


def describe_system_rule(rule: Rule) -> dict[str, Any]:
    """Give all that is known of one of driftline's own rules."""
    return {**write_fields(rule), "origin": BUILT_IN, "created_at": None, "updated_at": None}

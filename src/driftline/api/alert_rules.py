"""Alert rules: of a model, created, listed, shown, replaced and deleted; and all of them, as files say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.context import OpenDatabase
from driftline.api.model_body import RuleId
from driftline.api.moments import read_clock
from driftline.api.names import ModelIdInPath
from driftline.api.problem import Refusal, describe_problems
from driftline.api.rule_body import BUILT_IN, Deleter, RuleBody, RuleSet, describe_rule, describe_system_rule
from driftline.core.rule_names import name_rule
from driftline.core.rule_reading import read_rules, write_fields
from driftline.core.rules import Rule
from driftline.core.system_rules import SYSTEM_MODEL, SYSTEM_RULES, find_system_rule
from driftline.store.alert_rules import StoredRule, find_rules, get_rule, list_rules, lock_rules
from driftline.store.alerts import count_open_alerts
from driftline.store.errors import NotFound
from driftline.store.models import get_model, list_model_ids
from driftline.workers.rule_changes import RuleChange, make_changes, plan_set

router = APIRouter(tags=["alert rules"])

RuleIdInPath = Annotated[RuleId, Path(description="The rule's id.", examples=["fraud.auc"])]


class RulePage(BaseModel):
    """Which rules to list."""

    model_config = ConfigDict(extra="forbid")

    origin: Literal["preset", "api", "file", "built_in"] | None = Field(
        default=None, description="Rules that came this way; those that are built in are driftline's own."
    )
    limit: int = Field(default=100, ge=1, le=10_000, description="Rules a page.")
    after: RuleId | None = Field(default=None, description="`next` of the page before.")


@router.post(
    "/models/{model_id}/alerts",
    status_code=201,
    summary="Create an alert rule",
    response_description="The rule",
    responses=describe_problems("not-found", "conflict", "invalid-request"),
)
def create(model_id: ModelIdInPath, body: RuleBody, database: OpenDatabase) -> dict[str, Any]:
    """Create a rule that watches the model, and, where its `model` is a glob, others too.

    `model` is by default the one of the path; `rule_id` is by default made of what the rule watches.
    """
    unnamed = "rule_id" not in (body.model_extra or {})
    rule = body.read(rule_id="new", model=model_id)
    _check_watches(rule, model_id)
    with database.transaction() as conn:
        _check_model(conn, model_id)
        lock_rules(conn)
        if unnamed:
            rule = replace(rule, rule_id=name_rule(rule, model_id, _Taken(conn)))
        elif find_rules(conn, [rule.rule_id]):
            raise Refusal(
                "conflict",
                f"there is a rule {rule.rule_id!r}; choose another rule_id, or replace it with PUT",
                field="rule_id",
            )
        make_changes(conn, [RuleChange(None, rule, "api")], body.by, read_clock())
        return describe_rule(get_rule(conn, rule.rule_id))


@router.get(
    "/models/{model_id}/alerts",
    summary="List the alert rules of a model",
    response_description="All rules that watch the model, by id",
    responses=describe_problems("not-found"),
)
def list_of_model(model_id: ModelIdInPath, database: OpenDatabase) -> dict[str, Any]:
    """List the rules that watch a model, by its name or by a glob, driftline's own too.

    What they fired is at `/alerts`.
    """
    with database.transaction() as conn:
        _check_model(conn, model_id)
        found = list_rules(conn, model_id=model_id)
    rules = [describe_rule(each) for each in found if each.rule.watches_model(model_id)]
    rules += [describe_system_rule(rule) for rule in SYSTEM_RULES if rule.watches_model(model_id)]
    return {"rules": sorted(rules, key=_id_of)}


@router.get(
    "/models/{model_id}/alerts/{rule_id:path}",
    summary="Show an alert rule",
    response_description="The rule",
    responses=describe_problems("not-found"),
)
def show(model_id: ModelIdInPath, rule_id: RuleIdInPath, database: OpenDatabase) -> dict[str, Any]:
    """Show a rule that watches the model."""
    rule = find_system_rule(rule_id)
    if rule is not None and rule.watches_model(model_id):
        return describe_system_rule(rule)
    with database.transaction() as conn:
        return describe_rule(_find(conn, model_id, rule_id))


@router.put(
    "/models/{model_id}/alerts/{rule_id:path}",
    summary="Replace an alert rule",
    response_description="The rule as it is now",
    responses=describe_problems("not-found", "conflict", "invalid-request"),
)
def edit(model_id: ModelIdInPath, rule_id: RuleIdInPath, body: RuleBody, database: OpenDatabase) -> dict[str, Any]:
    """Replace all fields of a rule that watches the model; what is left out has its default.

    The rule goes on from where it stood. Alerts on what it does not watch any more end. A rule that comes from a
    file is changed there.
    """
    _check_changeable(rule_id)
    rule = body.read(rule_id=rule_id, model=model_id)
    _check_watches(rule, model_id)
    if rule.rule_id != rule_id:
        raise Refusal(
            "invalid-request",
            f"rule_id is {rule.rule_id!r}, in the path {rule_id!r}; a rule keeps its id: leave it out",
            field="rule_id",
        )
    with database.transaction() as conn:
        lock_rules(conn)
        before = _find_changeable(conn, model_id, rule_id)
        make_changes(conn, [RuleChange(before, rule, "api")], body.by, read_clock())
        return describe_rule(get_rule(conn, rule_id))


@router.delete(
    "/models/{model_id}/alerts/{rule_id:path}",
    status_code=204,
    summary="Delete an alert rule",
    response_description="Deleted",
    responses=describe_problems("not-found", "conflict"),
)
def delete(
    model_id: ModelIdInPath, rule_id: RuleIdInPath, query: Annotated[Deleter, Query()], database: OpenDatabase
) -> None:
    """Delete a rule that watches the model; its open alerts end. One that comes from a file is deleted there."""
    _check_changeable(rule_id)
    with database.transaction() as conn:
        lock_rules(conn)
        before = _find_changeable(conn, model_id, rule_id)
        make_changes(conn, [RuleChange(before, None, before.origin)], query.by, read_clock())


@router.get("/rules", summary="List all alert rules", response_description="A page of rules")
def list_page(query: Annotated[RulePage, Query()], database: OpenDatabase) -> dict[str, Any]:
    """List rules by id, a page at a time: give `next` as `after` for the following one."""
    after = query.after or ""
    with database.transaction() as conn:
        found = [
            describe_rule(each)
            for each in list_rules(conn, origin=query.origin, after=after, limit=query.limit + 1)
        ]
    if query.origin in (None, BUILT_IN):
        found += [describe_system_rule(rule) for rule in SYSTEM_RULES if rule.rule_id > after]
    page = sorted(found, key=_id_of)[: query.limit]
    return {"rules": page, "next": page[-1]["rule_id"] if len(found) > query.limit else None}


@router.put(
    "/rules",
    summary="Apply the alert rules of files",
    response_description="What has changed, or would",
    responses=describe_problems("invalid-request"),
)
def apply(body: RuleSet, database: OpenDatabase) -> dict[str, Any]:
    """Make these all the rules that come from files: those that are new, changed and gone, at once or not at all.

    Rules of presets and of the API stay, but for those whose ids are among these: the files take them over. The
    open alerts of rules that are gone end. `driftline rules apply` sends this, `driftline rules diff` a dry run.
    `without_model` are the rules that watch no model there is.
    """
    rules = read_rules({"rules": body.rules})
    with database.transaction() as conn:
        lock_rules(conn)
        changes = plan_set(list_rules(conn), rules, "file")
        told = _describe_changes(changes, count_open_alerts(conn, "rule_id"))
        models = list_model_ids(conn)
        if not body.dry_run:
            make_changes(conn, changes, body.by, read_clock())
    return {"dry_run": body.dry_run, **told, "without_model": _find_without_model(rules, models)}


def _id_of(rule: Mapping[str, Any]) -> str:
    return str(rule["rule_id"])


class _Taken:
    """The ids of rules that are there."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def __contains__(self, rule_id: object) -> bool:
        return bool(find_rules(self._conn, [str(rule_id)]))


def _check_model(conn: Connection, model_id: str) -> None:
    """Raise NotFound for a model that is not there; driftline itself is."""
    if model_id != SYSTEM_MODEL:
        get_model(conn, model_id)


def _check_changeable(rule_id: str) -> None:
    if find_system_rule(rule_id) is not None:
        raise Refusal(
            "conflict",
            f"rule {rule_id!r} is driftline's own and never changes; silence its alerts, or add another rule",
            field="rule_id",
        )


def _check_watches(rule: Rule, model_id: str) -> None:
    if not rule.watches_model(model_id):
        raise Refusal(
            "invalid-request",
            f"model {rule.model!r} is not the {model_id!r} of the path; leave it out, or send the rule to a model "
            "that it watches",
            field="model",
        )


def _find(conn: Connection, model_id: str, rule_id: str) -> StoredRule:
    stored = get_rule(conn, rule_id)
    if not stored.rule.watches_model(model_id):
        raise NotFound(f"rule {rule_id!r} does not watch model {model_id!r}, but {stored.rule.model!r}")
    return stored


def _find_changeable(conn: Connection, model_id: str, rule_id: str) -> StoredRule:
    """Find a rule that may be changed here."""
    stored = _find(conn, model_id, rule_id)
    if stored.origin == "file":
        raise Refusal(
            "conflict",
            f"rule {rule_id!r} comes from a file; change it there, and run driftline rules apply",
            field="rule_id",
        )
    return stored


def _find_without_model(rules: Sequence[Rule], models: Collection[str]) -> list[str]:
    """Find the rules that watch no registered model."""
    known = {*models, SYSTEM_MODEL}
    named = {rule.model for rule in rules} - known - {"*"}
    lonely = {name for name in named if not any(fnmatchcase(model, name) for model in known)}
    return [rule.rule_id for rule in rules if rule.model in lonely]


def _describe_changes(changes: list[RuleChange], open_alerts: dict[str, int]) -> dict[str, Any]:
    by_act: dict[str, list[RuleChange]] = {"added": [], "changed": [], "removed": [], "": []}
    for change in changes:
        by_act[change.act].append(change)
    return {
        "added": [write_fields(change.rule) for change in by_act["added"]],
        "changed": [
            {
                "rule_id": change.rule.rule_id,
                "fields": {
                    name: {"before": before, "after": after}
                    for name, (before, after) in change.list_fields().items()
                },
            }
            for change in by_act["changed"]
        ],
        "removed": [
            {"rule_id": change.rule.rule_id, "open_alerts": open_alerts.get(change.rule.rule_id, 0)}
            for change in by_act["removed"]
        ],
        "unchanged": len(by_act[""]),
    }

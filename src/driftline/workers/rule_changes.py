"""Changes of alert rules: planned, then made with all that follows: alerts that end, and the audit trail."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from driftline.core.rule_reading import write_fields, write_rule
from driftline.core.rules import Rule
from driftline.store.alert_rules import StoredRule, delete_rules, upsert_rules
from driftline.store.audit import record_audit
from driftline.workers.alerts import end_rules, end_unwatched


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What becomes of a rule: `before` is None when it is new, `after` when it is deleted.

    `origin` is where the rule comes from afterwards.
    """

    before: StoredRule | None
    after: Rule | None
    origin: str

    @property
    def rule(self) -> Rule:
        """The rule as it will be, or as it was when it is deleted."""
        if self.after is not None:
            return self.after
        assert self.before is not None
        return self.before.rule

    @property
    def act(self) -> str:
        """What is done, as the audit trail calls it; '' for nothing."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed" if self.list_fields() else ""

    def list_fields(self) -> dict[str, tuple[Any, Any]]:
        """List the fields that become different, each with what it was and will be; of an edited rule only."""
        if self.before is None or self.after is None:
            return {}
        was, will = write_fields(self.before.rule), write_fields(self.after)
        was |= {"origin": self.before.origin}
        will |= {"origin": self.origin}
        return {name: (was[name], will[name]) for name in will if was[name] != will[name]}


def plan_set(stored: Iterable[StoredRule], wanted: Sequence[Rule], origin: str) -> list[RuleChange]:
    """Plan to make a set of rules all those of an origin, among the stored ones, by id.

    Those of other origins stay, but for those whose ids are wanted: the set takes them over.
    """
    before = {each.rule.rule_id: each for each in stored}
    ids = {rule.rule_id for rule in wanted}
    changes = [RuleChange(before.get(rule.rule_id), rule, origin) for rule in wanted]
    changes += [
        RuleChange(each, None, origin)
        for each in before.values()
        if each.origin == origin and each.rule.rule_id not in ids
    ]
    return sorted(changes, key=lambda change: change.rule.rule_id)


def make_changes(conn: Connection, changes: Sequence[RuleChange], by: str, now: int) -> None:
    """Make changes, end the alerts of what is not watched any more, and record who did it.

    Lock the rules before (`store.alert_rules.lock_rules`). Edited rules go on from where they stood.
    """
    acts = {change: change.act for change in changes}
    removed = {change.rule.rule_id: change.rule for change, act in acts.items() if act == "removed"}
    edited = {change.rule.rule_id: change.rule for change, act in acts.items() if act == "changed"}
    delete_rules(conn, list(removed))
    end_rules(conn, removed, now)
    for origin in {change.origin for change in changes}:
        written = [
            change.rule for change, act in acts.items() if act in ("added", "changed") and change.origin == origin
        ]
        upsert_rules(conn, written, origin)
    end_unwatched(conn, edited, now)
    for change, act in acts.items():
        if act:
            record_audit(conn, now, by, act, f"rule/{change.rule.rule_id}", _describe(change))


def _describe(change: RuleChange) -> Mapping[str, Any]:
    fields = change.list_fields()
    if fields:
        return {"fields": {name: list(values) for name, values in fields.items()}}
    return {"rule": write_rule(change.rule), "origin": change.origin}

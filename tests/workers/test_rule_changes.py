"""Changes of rules: what a set becomes among others, and what follows for alerts."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.rules import Comparison, Rule
from driftline.store.alert_rules import StoredRule, find_rules, list_rules
from driftline.store.alerts import Alert, AlertFilter, list_alerts
from driftline.store.audit import list_audit
from driftline.workers.rule_changes import RuleChange, make_changes, plan_set
from tests.workers.plant import Plant, at, make_batch

RULES = st.builds(
    Rule,
    st.sampled_from("abcde"),
    st.just("volume"),
    st.just(Comparison.BELOW),
    st.sampled_from((1.0, 2.0)),
    model=st.sampled_from(("*", "fraud")),
)
STORED = st.builds(StoredRule, RULES, st.sampled_from(("preset", "api", "file")), st.just(0), st.just(0))
PSI = Rule("psi", "psi", Comparison.ABOVE, 0.2, model="fraud", feature="*")


def carry_out(stored: dict[str, StoredRule], changes: list[RuleChange]) -> dict[str, StoredRule]:
    after = dict(stored)
    for change in changes:
        after.pop(change.rule.rule_id, None)
        if change.after is not None:
            after[change.rule.rule_id] = StoredRule(change.after, change.origin, 0, 0)
    return after


@given(st.lists(STORED, unique_by=lambda each: each.rule.rule_id), st.lists(RULES, unique_by=lambda r: r.rule_id))
def test_a_set_becomes_all_of_its_origin_and_leaves_the_others(
    stored: list[StoredRule], wanted: list[Rule]
) -> None:
    before = {each.rule.rule_id: each for each in stored}
    after = carry_out(before, plan_set(stored, wanted, "file"))
    assert {name: each.rule for name, each in after.items() if each.origin == "file"} == {
        rule.rule_id: rule for rule in wanted
    }
    taken = {rule.rule_id for rule in wanted}
    others = {name: each for name, each in before.items() if each.origin != "file" and name not in taken}
    assert {name: each for name, each in after.items() if each.origin != "file"} == others
    assert not any(change.act for change in plan_set(after.values(), wanted, "file"))  # again changes nothing


def change(plant: Plant, before: Rule | None, after: Rule | None) -> None:
    with plant.database.transaction() as conn:
        stored = None if before is None else find_rules(conn, [before.rule_id])[0]
        make_changes(conn, [RuleChange(stored, after, "api")], "ana", plant.now)
    plant.catalog.forget()


def drift(plant: Plant, *hours: int) -> list[Alert]:
    """Let drifted hours pass; gives all alerts, oldest first."""
    for hour in hours:
        plant.send(make_batch([f"{hour}-{i}" for i in range(150)], at(hour) + np.arange(150), shift=2, seed=hour))
    plant.drain()
    plant.let_pass(1000)
    plant.cycle()
    with plant.database.transaction() as conn:
        return list_alerts(conn, AlertFilter())[::-1]


def test_an_edited_rule_goes_on_and_a_removed_one_ends(plant: Plant) -> None:
    change(plant, None, PSI)
    drift(plant, 0, 1)
    stricter = replace(PSI, threshold=0.3, severity=PSI.severity.HIGH)
    change(plant, PSI, stricter)
    (alert,) = drift(plant, 2)  # the third in a row, although the rule is another since then
    assert (alert.threshold, alert.severity, alert.is_open) == (0.3, "HIGH", True)
    change(plant, stricter, None)
    (ended,) = drift(plant, 3)
    assert ended.ended == "no longer watched"
    with plant.database.transaction() as conn:
        assert list_rules(conn) == []
        last = list_audit(conn, subject="rule/psi")[0]
    assert (last.actor, last.act, last.at) == ("ana", "removed", plant.now)


def test_a_rule_that_watches_another_model_ends_its_alerts(plant: Plant) -> None:
    change(plant, None, PSI)
    (alert,) = drift(plant, 0, 1, 2)
    assert alert.is_open
    change(plant, PSI, replace(PSI, model="churn"))
    assert drift(plant)[0].ended == "no longer watched"
    change(plant, PSI, PSI)
    assert len(drift(plant, 3, 4)) == 1  # it begins anew
    assert len(drift(plant, 5)) == 2

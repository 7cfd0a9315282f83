"""Scenarios: the documented ones come out as they say, others are refused with the fix."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.core.errors import InvalidInput
from driftline.core.rule_metric import METRICS
from driftline.core.rule_presets import Preset, make_preset
from driftline.core.rule_reading import read_rules
from driftline.core.rules import Comparison, Rule
from driftline.core.scenario import Alert, Outcome, read_scenarios, run_scenario
from driftline.core.schema import Task

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text("utf-8")
RULES, SCENARIOS = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
PSI = Rule("psi", "psi", Comparison.ABOVE, 0.2, feature="*")


def run(rule: Rule, **fields: Any) -> Outcome:
    return run_scenario([rule], read_scenarios({"scenarios": [fields]})[0])


def test_the_documented_scenarios_are_true() -> None:
    rules = read_rules(RULES)
    scenarios = read_scenarios(SCENARIOS)
    assert len(scenarios) == 3
    for scenario in scenarios:
        outcome = run_scenario(rules, scenario)
        assert outcome.ok, outcome
        assert outcome.alerts


def test_every_metric_field_and_comparison_is_documented() -> None:
    for name in (*METRICS, *Comparison, *Rule.__dataclass_fields__):
        assert f"`{name}`" in PAGE


def test_the_documented_presets_are_those_that_are_installed() -> None:
    presets = [
        make_preset(each, "m", outputs=("__prediction__", "__score__"), features=("<feature>",), task=Task.BINARY)
        for each in Preset
    ]
    for three in zip(*presets, strict=True):
        rule = three[0]
        metric = rule.metric.replace("roc_auc", "<metric>")
        cells = [f"`{rule.rule_id.removeprefix('m.')}`", f"`{metric}` `{rule.comparison}`", str(rule.severity)]
        cells += [f"{each.threshold:g}, {each.consecutive_windows} windows" for each in three]
        assert f"| {' | '.join(cells)} |" in PAGE
        assert all(each.recover_windows == each.consecutive_windows for each in three)


def test_what_differs_from_what_was_expected_is_said() -> None:
    features = {"amount": {"psi": ["0.3 x3", 0.1]}, "country": {"psi": [0.1, "0.3 x3"]}}
    expect = [{"rule_id": "psi", "feature": "amount", "fired": 2}]
    outcome = run(PSI, features=features, expect=expect)
    assert outcome.missing == (Alert(2, "psi", "amount", None),)
    assert outcome.surplus == (Alert(3, "psi", "amount", None), Alert(4, "psi", "country", None))
    assert run(PSI, features=features).ok
    assert str(outcome.surplus[0]) == "psi of amount fires in window 3 and stays open"


TIMELINES: dict[str, tuple[dict[str, Any], list[tuple[int, int | None]]]] = {
    "flapping never fires": ({"psi": ["0.3 x2", 0.1, "0.3 x2", 0.1, "0.3 x2"]}, []),
    "a gap neither breaks nor makes a streak": ({"psi": ["0.3 x2", "null x9", 0.3]}, [(12, None)]),
    "an alert holds through flapping": ({"psi": ["0.3 x3", "0.1 x2", 0.3, "0.1 x3"]}, [(3, 9)]),
    "it fires anew": ({"psi": ["0.3 x3", "0.1 x3", "0.3 x3"]}, [(3, 6), (9, None)]),
    "large and not significant": ({"psi": ["0.9 x9"], "qvalue": 0.02}, []),
    "too few rows": ({"psi": ["0.9 x9"], "status": "too_few"}, []),
    "infinite is above": ({"psi": ["inf x3"]}, [(3, None)]),
}


@pytest.mark.parametrize("name", TIMELINES)
def test_timelines(name: str) -> None:
    series, alerts = TIMELINES[name]
    found = run(PSI, features={"amount": series}).alerts
    assert [(alert.fired, alert.resolved) for alert in found] == alerts


def test_a_pool_counts_once() -> None:
    status = ["ok", "pooling", "pooling", "ok", "pooling", "ok"]
    assert [alert.fired for alert in run(PSI, status=status, features={"amount": {"psi": 0.3}}).alerts] == [6]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"feature": {}}, "there is no field 'feature'"),
        ({"version": 3}, "in quotes"),
        ({"window": "7m", "totals": {"volume": [1, 2]}}, "does not divide a day"),
        ({"totals": {"volume": 1}}, "no series has two windows"),
        ({"totals": {"volume": [1, 2], "data_age": [1, 2, 3]}}, "volume has 2 and data_age has 3 windows"),
        ({"totals": {"volume": [1, "many"]}}, "volume has 'many'"),
        ({"totals": {"volume": [1, True]}}, "volume has "),
        ({"totals": {"volume": [1, [2]]}}, "volume has "),
        ({"totals": {"psi": [1, 2]}}, "write it under features"),
        ({"features": {"amount": {"volume": [1, 2]}}}, "write it under totals"),
        ({"features": {"amount": {"psy": [1, 2]}}}, "did you mean psi?"),
        ({"features": {"amount": [1, 2]}}, "amount is no mapping"),
        ({"status": ["ok", "fine"]}, "choose ok"),
        ({"totals": {"volume": [1, 2]}, "expect": {}}, "expect is no list"),
        ({"totals": {"volume": [1, 2]}, "expect": [{"rule_id": "r", "fired": 3}]}, "1 to 2"),
        ({"totals": {"volume": [1, 2]}, "expect": [{"fired": 1}]}, "needs a rule_id"),
    ],
)
def test_an_error_names_the_scenario_and_the_fix(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(says)) as caught:
        read_scenarios({"scenarios": [{"name": "night", **fields}]})
    assert str(caught.value).startswith("scenario 'night': ")

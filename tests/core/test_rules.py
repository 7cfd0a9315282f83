"""Rules: reading says what is wrong and how to mend it, writing gives it back, globs mean what they say."""

from typing import Any

import numpy as np
import pytest

from driftline.core.errors import InvalidInput
from driftline.core.rule_presets import Preset, make_preset
from driftline.core.rule_reading import read_rules, write_rules
from driftline.core.rules import match_features, select_rules
from driftline.core.schema import Task
from driftline.core.significance import noise_floor

PSI = {"rule_id": "score", "metric": "psi", "comparison": "above", "threshold": 0.2, "feature": "__score__"}
DROP = {"rule_id": "auc", "metric": "performance_roc_auc", "comparison": "drop_from_baseline", "threshold": 0.1}


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"metric": "psy"}, "metric", "rule 'score': there is no metric 'psy'; did you mean psi?"),
        ({"metric": "performance_"}, "metric", "there is no metric"),
        ({"tresholt": 1}, "tresholt", "did you mean threshold"),
        ({"threshold": "0.2"}, "threshold", "write a number"),
        ({"threshold": float("nan")}, "threshold", "write a number"),
        ({"threshold": 10**400}, "threshold", "too large"),
        ({"owner": "a" * 257}, "owner", "has 257 characters; give at most 256"),
        ({"runbook": "\ud800"}, "runbook", "write it as text"),
        ({"actions": ["a"] * 21}, "actions", "give at most 20"),
        ({"threshold": True}, "threshold", "write a number"),
        ({"comparison": "over"}, "comparison", "choose above, below"),
        ({"severity": "high"}, "severity", "choose CRITICAL, HIGH"),
        ({"consecutive_windows": 0}, "consecutive_windows", "from 1 to 1000"),
        ({"consecutive_windows": 2.5}, "consecutive_windows", "whole number"),
        ({"min_maturity": 80}, "min_maturity", "from 0 to 1"),
        ({"require_significance": "no"}, "require_significance", "true or false"),
        ({"actions": "page"}, "actions", "list of names"),
        ({"version": 3}, "version", "in quotes"),
        ({"model": ""}, "model", "or * for all"),
        ({"metric": "consumer_lag", "comparison": "drop_from_baseline"}, "comparison", "no baseline"),
        ({"reference_kind": "train"}, "reference_kind", "choose training"),
        ({"feature": ""}, "feature", "give a feature"),
        ({"metric": "volume"}, "feature", "leave feature out"),
        ({"metric": "ks_pvalue"}, "comparison", "compare it with below"),
        ({"metric": "js", "comparison": "above_natural"}, "comparison", "natural variation of js"),
        ({"comparison": "drop_from_baseline"}, "comparison", "no baseline"),
        ({"measure": "share"}, "measure", "only belongs to drop_from_baseline"),
        ({"comparison": "outside_band", "threshold": 0}, "threshold", "standard deviations"),
    ],
)
def test_an_error_names_the_rule_the_field_and_the_fix(change: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_rules({"rules": [{**PSI, **change}]})
    assert caught.value.field == field
    assert says in str(caught.value)
    assert str(caught.value).startswith("rule 'score': ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "rules are a mapping"),
        ({"rules": {}}, "rules are a mapping"),
        ({"rules": [], "rule": []}, "no field 'rule'"),
        ({"rules": ["psi"]}, "rule 1 is no mapping"),
        ({"rules": [{}]}, "rule 1: rule_id is missing"),
        ({"rules": [PSI, PSI]}, "two rules have this rule_id"),
        ({"rules": [{**PSI, "rule_id": "driftline.mine"}]}, "one of driftline's own"),
        ({"rules": [{**DROP, "threshold": -1}]}, "a drop is 0 or more"),
    ],
)
def test_what_is_no_list_of_rules_is_refused(content: object, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_rules(content)


@pytest.mark.parametrize("preset", Preset)
def test_rules_are_read_as_they_are_written(preset: Preset) -> None:
    rules = make_preset(preset, "fraud", outputs=("__score__",), features=("amount",), task=Task.BINARY)
    rules += read_rules({"rules": [{**PSI, "actions": ["page"], "owner": "risk"}, {**DROP, "measure": "share"}]})
    assert read_rules(write_rules(rules)) == rules


def test_by_default_psi_is_held_against_the_usual_threshold_less_its_noise() -> None:
    rules = make_preset(Preset.DEFAULT, "fraud", outputs=("__score__",), features=("amount",))
    noise = noise_floor(np.array([50]), expected_rows=50_000, actual_rows=1_000)
    thresholds = [rule.threshold for rule in rules if rule.metric == "psi"]
    assert thresholds == [pytest.approx(0.2 - noise[0], abs=1e-3)] * 2


def test_presets_grow_more_sensitive() -> None:
    quiet, default, sensitive = (
        make_preset(preset, "fraud", outputs=("__score__",), features=("amount",), task=Task.BINARY)
        for preset in Preset
    )
    for calm, usual, keen in zip(quiet, default, sensitive, strict=True):
        assert calm.threshold >= usual.threshold >= keen.threshold
        assert calm.consecutive_windows >= usual.consecutive_windows >= keen.consecutive_windows
    assert not any("*" in rule.feature for rule in default)


def test_globs_of_features_leave_the_outputs_to_their_names() -> None:
    features = ("amount", "a[b]", "country", "__score__", "__prediction__")
    assert match_features("*", features).tolist() == [0, 1, 2]
    assert match_features("__*__", features).tolist() == []
    assert match_features("a[b]", features).tolist() == [1]  # a name is a name first
    assert match_features("?ountry", features).tolist() == [2]
    assert match_features("Amount", features).tolist() == []


def test_rules_are_selected_by_whom_they_watch() -> None:
    rules = read_rules(
        {
            "rules": [
                {**PSI, "rule_id": "all"},
                {**PSI, "rule_id": "eu", "model": "*-eu"},
                {**PSI, "rule_id": "v2", "version": "2"},
                {**PSI, "rule_id": "countries", "segment": "country=*"},
                {**PSI, "rule_id": "segments", "segment": "*"},
                {**PSI, "rule_id": "rolling", "reference_kind": "rolling"},
            ]
        }
    )

    def names(*subject: str) -> list[str]:
        return [rule.rule_id for rule in select_rules(rules, *subject)]

    assert names("fraud-eu", "2", "", "training") == ["all", "eu", "v2"]
    assert names("fraud", "1", "country=DE", "training") == ["countries", "segments"]
    assert names("fraud", "1", "", "rolling") == ["rolling"]

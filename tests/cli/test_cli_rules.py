"""`driftline rules check`: exit codes, the table, JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

RULES = """
rules:
- {rule_id: silent, metric: volume, comparison: below, threshold: 1, consecutive_windows: 2}
"""
SCENARIO = """
scenarios:
- name: "[night]"
  totals: {volume: [5, 0, 0]}
  expect: [{rule_id: silent, fired: FIRED}]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.mark.parametrize(("fired", "code"), [(3, 0), (2, 1)])
def test_the_exit_code_says_whether_all_is_as_expected(
    run: Callable[..., Run], rules: Path, tmp_path: Path, fired: int, code: int
) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO.replace("FIRED", str(fired)))
    done = run("rules", "check", rules, scenario)
    assert done.code == code, done.err
    assert "[night]" in done.out
    assert "silent fires in window 3" in done.out
    assert ("did not come" in done.out) == bool(code)
    written = json.loads(run("rules", "check", rules, scenario, "--json", "-").out)
    assert written["scenarios"][0]["ok"] is (not code)
    assert written["scenarios"][0]["alerts"] == [
        {"fired": 3, "rule_id": "silent", "feature": "", "resolved": None}
    ]


def test_rules_alone(run: Callable[..., Run], rules: Path) -> None:
    done = run("rules", "check", rules)
    assert (done.code, done.out) == (0, f"{rules}: 1 rule, all can be read\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("rules: [", "cannot be read as YAML"),
        ("- 1", "rules are a mapping"),
        (RULES.replace("volume", "vol"), "metric"),
    ],
)
def test_bad_input_is_refused_with_its_file(
    run: Callable[..., Run], tmp_path: Path, content: str, says: str
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(content)
    done = run("rules", "check", path)
    assert done.code == 2
    assert str(path) in done.err
    assert says in done.err
    assert run("rules", "check", tmp_path / "none.yaml").code == 2

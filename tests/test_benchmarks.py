"""What benchmarks write: records with a verdict, and an exit code for those who ask."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

SCRIPT = """
from records import Record, make_parser, report

records = [
    Record("fast enough", 4.0, "ms", 5),
    Record("as fast as it may be", 5, "ms", 5),
    Record("often enough", 0.96, "share", 0.95, "higher"),
    Record("for information", 1e9, "ms"),
]
options = make_parser("benchmark").parse_args()
report("title", records + [Record({missed!r}, 3.0, "M values/s", 100, "higher")] * bool({missed!r}), options)
"""


def run(missed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(missed=missed), *arguments],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        check=False,
    )


def test_records_say_whether_their_budget_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    done = run("too slow", "--json", str(path))
    assert done.returncode == 0, done.stderr
    records = json.loads(path.read_text())
    assert [record["ok"] for record in records] == [True, True, True, True, False]
    assert records[0] == {
        "name": "fast enough",
        "value": 4.0,
        "unit": "ms",
        "budget": 5,
        "better": "lower",
        "ok": True,
    }
    assert "missed" in done.stdout


@pytest.mark.parametrize(("missed", "code"), [("too slow", 1), ("", 0)])
def test_a_missed_budget_fails_only_when_checked(missed: str, code: int) -> None:
    assert run(missed, "--check").returncode == code
    assert run(missed).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("false_positives.py", ["--repetitions", "2"]),
        ("calibration.py", ["--windows", "1"]),
        ("sampling.py", ["--scale", "0.001"]),
        ("weighted.py", ["--windows", "1"]),
        ("false_alarms.py", ["--quick"]),
        ("compare.py", []),
    ],
)
def test_benchmarks_of_the_core_run(script: str, arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    command = [sys.executable, str(BENCHMARKS / script), "--json", str(path), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    records = json.loads(path.read_text())
    assert len({record["name"] + record["unit"] for record in records}) == len(records)
    assert all(set(record) == {"name", "value", "unit", "budget", "better", "ok"} for record in records)

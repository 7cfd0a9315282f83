"""`driftline compare`: the verdict first, files on request, exit codes, and errors without a traceback."""

import json
import os
import subprocess
import sys

import pytest

import driftline
from tests.report.conftest import make_frame


def test_the_verdict_comes_first_and_the_next_step_last(run, files):
    result = run("compare", files / "train.parquet", files / "drifted.parquet")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "1 of 5 features drifted: amount."
    assert "train.parquet · 5,000 rows" in result.out
    assert lines[-1] == "Next: --html report.html draws every distribution."
    assert result.err == ""


def test_json_and_page_are_written(run, files, tmp_path):
    result = run(
        "compare",
        files / "train.parquet",
        files / "drifted.parquet",
        "--json",
        tmp_path / "report.json",
        "--html",
        tmp_path / "report.html",
    )
    assert result.code == 0
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert content["features"][0]["feature_name"] == "amount"
    assert (tmp_path / "report.html").read_text("utf-8").lstrip().startswith("<!doctype html>")
    assert f"open {tmp_path / 'report.html'} in a browser" in result.out.replace("\n", " ")


def test_json_on_standard_output_is_all_there_is(run, files):
    result = run("compare", files / "train.parquet", files / "same.csv", "--json", "-")
    assert json.loads(result.out)["verdict"] == "No drift in 5 features."


@pytest.mark.parametrize(
    ("current", "options", "code", "why"),
    [
        ("drifted.parquet", [], 0, ""),
        ("drifted.parquet", ["--fail-on", "drift"], 1, "1 drifted"),
        ("drifted.parquet", ["--fail-on", "moderate"], 1, "1 drifted"),
        ("drifted.parquet", ["--fail-on", "quality"], 0, ""),
        ("same.csv", ["--fail-on", "moderate", "--fail-on", "quality"], 0, ""),
        ("few.csv", ["--fail-on", "drift"], 1, "there is no verdict"),
        ("few.csv", [], 0, ""),
    ],
)
def test_exit_codes(run, files, current, options, code, why):
    result = run("compare", files / "train.parquet", files / current, *options)
    assert result.code == code
    assert why in result.err


def test_broken_data_fail_when_asked(run, files, tmp_path):
    make_frame(2000, seed=2).drop(columns="age").to_parquet(tmp_path / "gone.parquet")
    arguments = ("compare", files / "train.parquet", tmp_path / "gone.parquet", "--fail-on")
    gone = run(*arguments, "drift")
    assert gone.code == 1
    assert "1 drifted" in gone.err
    result = run(*arguments, "quality")
    assert result.code == 1
    assert "1 data-quality error" in result.err
    assert "age: the column is not in the current data" in result.out


def test_moderate_changes_fail_when_asked(run, files, tmp_path):
    frame = make_frame(2000, seed=2)
    frame["amount"] *= 1.35
    frame.to_parquet(tmp_path / "moderate.parquet")
    arguments = ("compare", files / "train.parquet", tmp_path / "moderate.parquet", "--fail-on")
    assert run(*arguments, "drift").code == 0
    result = run(*arguments, "moderate")
    assert result.code == 1
    assert "1 changed moderately" in result.err


def test_columns_are_chosen(run, files):
    train, same = files / "train.parquet", files / "same.csv"
    result = run("compare", train, same, "--exclude", "age", "--exclude", "amount", "--json", "-")
    assert len(json.loads(result.out)["features"]) == 3
    result = run("compare", train, same, "--columns", "age", "--categorical", "age", "--json", "-")
    assert [(f["feature_name"], f["kind"]) for f in json.loads(result.out)["features"]] == [("age", "categorical")]


def test_top_limits_the_table(run, files):
    result = run("compare", files / "train.parquet", files / "same.csv", "--top", "2")
    assert "3 more features" in result.out


def test_a_schema_file_says_what_columns_mean(run, files, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"features": [{"name": "amount", "kind": "numeric"}]}))
    arguments = ("compare", files / "train.parquet", files / "same.csv", "--schema", schema)
    assert len(json.loads(run(*arguments, "--json", "-").out)["features"]) == 1
    schema.write_text("{")
    result = run(*arguments)
    assert result.code == 2
    assert "schema.json cannot be read as JSON" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.parquet", "nothing.csv"], "nothing.csv: there is no such file"),
        (["nothing.driftline", "same.csv"], "nothing.driftline: there is no such file"),
        (["train.parquet", "same.csv", "--exclude", "amuont"], "did you mean 'amount'?"),
        (["train.parquet", "same.csv", "--task", "banary"], "use binary, multiclass"),
        (["train.parquet", "same.csv", "--schema", "nothing.json"], "nothing.json: there is no such file"),
        (["train.parquet", "same.csv", "--html", "no/such/folder.html"], "No such file or directory"),
        (["train.parquet", "same.csv", "--fail-on", "everything"], "'everything' is not one of"),
        (["train.parquet"], "Missing argument"),
    ],
)
def test_errors_say_the_fix_in_a_line(run, files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    result = run("compare", *arguments)
    assert result.code == 2
    assert message in " ".join(result.err.replace("│", " ").split())
    assert "Traceback" not in result.err


def test_our_own_bugs_keep_their_traceback(run, files, monkeypatch):
    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("driftline.report.compare.compare", fail)
    with pytest.raises(ZeroDivisionError):
        run("compare", files / "train.parquet", files / "same.csv")


def test_version_and_help(run):
    assert run("version").out.strip() == driftline.__version__
    text = run("--help").out
    for command in ("compare", "reference", "up", "demo", "migrate", "version"):
        assert command in text
    assert "driftline compare train.parquet today.csv --html report.html" in run("compare", "--help").out


def test_help_loads_nothing_heavy():
    heavy = ("numpy", "numba", "pyarrow", "scipy", "pandas", "fastapi", "psycopg", "jinja2")
    code = (
        "import sys\nfrom driftline.cli.app import main\nsys.argv = ['driftline', 'compare', '--help']\n"
        f"try: main()\nfinally: print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == "[]"


def test_the_installed_command_works(files):
    command = [sys.executable, "-c", "from driftline.cli.app import main; main()", "compare"]
    paths = [str(files / "train.parquet"), str(files / "drifted.parquet"), "--fail-on", "drift"]
    result = subprocess.run([*command, *paths], capture_output=True, text=True, encoding="utf-8", check=False)
    assert result.returncode == 1
    assert result.stdout.startswith("1 of 5 features drifted: amount.")
    assert result.stderr.strip() == "Exit code 1: 1 drifted."


def test_a_terminal_without_unicode_still_gets_its_table(files):
    command = [sys.executable, "-c", "from driftline.cli.app import main; main()", "compare"]
    paths = [str(files / "train.parquet"), str(files / "drifted.parquet")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "90"}
    result = subprocess.run([*command, *paths], capture_output=True, env=environment, check=True)
    lines = result.stdout.decode("ascii").splitlines()
    assert lines[0] == "1 of 5 features drifted: amount."
    assert max(map(len, lines)) <= 90


def test_a_terminal_is_told_what_is_being_done(files):
    """On a pseudo-terminal standard error shows progress; standard output stays clean."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from driftline.cli.app import main; main()", "compare"]
    paths = [str(files / "train.parquet"), str(files / "same.csv"), "--json", "-"]
    result = subprocess.run([*command, *paths], stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    assert b"same.csv" in os.read(ours, 100_000)
    os.close(ours)
    assert json.loads(result.stdout)["counts"]["features"] == 5

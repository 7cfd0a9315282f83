"""Every example runs, and what it predicted is counted by a real `driftline up`.

Those whose libraries are among the development tools run in this environment, the others in one of their own:
`.venv-examples/NAME`, made from the example's requirements.txt. Beside each name stands how much it predicts.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
HERE = {"batch": 169, "fastapi": 50, "sklearn": 169}
ELSEWHERE = {"bentoml": 50, "feast": 100, "kserve": 50, "lightgbm": 169, "mlflow": 169, "xgboost": 169}
SPARK = {"spark": 1_000}
"""Needs Java, and takes a gigabyte."""

PATIENCE_S = 60


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of `driftline up` in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("examples")
    command = [sys.executable, "-m", "driftline", "up", "--port", str(port), "--data-dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"DRIFTLINE_FLUSH_INTERVAL_S": "0.2", "DRIFTLINE_LOG_LEVEL": "error"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until_up(address, server)
            yield address
        finally:
            server.terminate()


def wait_until_up(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            httpx.get(f"{address}/models").raise_for_status()
        except httpx.HTTPError:
            assert server.poll() is None, "driftline has ended"
            assert time.monotonic() < deadline, "driftline is not up"
            time.sleep(0.1)
        else:
            return


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_examples_of_this_environment(name: str, url: str) -> None:
    run(name, Path(sys.executable), url)
    assert counted(name, url, HERE[name]) == HERE[name]


@pytest.mark.examples
@pytest.mark.parametrize("name", ELSEWHERE)
def test_examples_of_environments_of_their_own(name: str, url: str) -> None:
    run(name, make_environment(name), url)
    assert counted(name, url, ELSEWHERE[name]) == ELSEWHERE[name]


@pytest.mark.spark
@pytest.mark.parametrize("name", SPARK)
def test_examples_on_spark(name: str, url: str) -> None:
    run(name, make_environment(name), url)
    assert counted(name, url, SPARK[name]) == SPARK[name]


def test_no_example_is_left_out() -> None:
    folders = {path.parent.name for path in (ROOT / "examples").glob("*/main.py")}
    assert folders == {*HERE, *ELSEWHERE, *SPARK}


def test_snippets_in_the_docs_are_lines_of_the_examples() -> None:
    text = (ROOT / "docs" / "integrations.md").read_text()
    snippets = re.findall(r"<!-- (examples/\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert len(snippets) == text.count("```") / 2
    for path, snippet in snippets:
        lines = {"", *map(str.strip, (ROOT / path).read_text().splitlines())}
        assert set(map(str.strip, snippet.splitlines())) <= lines, path


def run(name: str, python: Path, url: str) -> None:
    """Run an example as its README says."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DRIFTLINE_")}
    done = subprocess.run(
        [python, "main.py"],
        cwd=ROOT / "examples" / name,
        env=environment | {"DRIFTLINE_URL": url, "BENTOML_DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def counted(name: str, url: str, expected: int) -> int:
    """Wait until as many predictions are counted as expected, or long enough; gives their number."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = httpx.get(f"{url}/models/{name}/drift", params={"from": "-3h", "to": "now"})
        rows = sum(answer.raise_for_status().json()["rows"])
        if rows >= expected or time.monotonic() > deadline:
            return int(rows)
        time.sleep(0.1)


def make_environment(name: str) -> Path:
    """Make the example's environment, unless it was made of the same requirements; gives its Python."""
    folder = ROOT / ".venv-examples" / name
    python = folder / "bin" / "python"
    requirements = ROOT / "examples" / name / "requirements.txt"
    made = folder / "made-of.txt"
    wanted = requirements.read_text() + (ROOT / "pyproject.toml").read_text()
    if not made.exists() or made.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", requirements, "-e", ROOT], check=True)
        made.write_text(wanted)
    return python

"""docs/api.md: every example is run, in order, and answers what the page says."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from driftline.api.meters import make_meters
from driftline.api.problem import KINDS
from driftline.api.series import DEFAULT_METRICS, METRIC_NAMES
from driftline.core.window import Window
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.performance import PerformanceResult, upsert_performance
from tests.api.alerts import fire
from tests.api.examples import HOUR, NOON, make_frame, to_parquet, write_window

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
QUARTER = HOUR // 4


@dataclass(frozen=True)
class Example:
    """A curl command of the page, and the status and part of the answer that it shows."""

    command: str
    status: int
    answer: Any


def read_examples() -> list[Example | str]:
    """Give the examples in order, and between them the comments that say what happens meanwhile."""
    found: list[Example | str] = []
    for comment, block in re.findall(r"<!-- (.*?) -->|^```console\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.M):
        if comment:
            found.append(comment)
        for command, status, answer in re.findall(r"^\$ (.*?)\n(\d{3}) (.*?)(?=^\$ |\Z)", block, re.DOTALL | re.M):
            found.append(Example(command, int(status), json.loads(answer)))
    return found


def run(client: httpx.Client, command: str, folder: Path) -> httpx.Response:
    """Run a curl command; of its options those that the page uses."""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    method, url, headers, body = "GET", "", {}, b""
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                method, body = "POST" if method == "GET" else method, next(words).encode()
            case "--data-binary":
                method, body = "POST", (folder / next(words).removeprefix("@")).read_bytes()
            case "-T":
                method, body = "PUT", (folder / next(words)).read_bytes()
            case _:
                url = word.removeprefix("localhost:8420")
    return client.request(method, url, content=body, headers=headers)


def check_part(shown: Any, real: Any, where: str = "answer") -> None:
    """Check that what the page shows is part of the real answer."""
    if isinstance(shown, Mapping):
        for name, value in shown.items():
            assert name in real, f"{where} has no {name}"
            check_part(value, real[name], f"{where}.{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), where
        for i, (value, other) in enumerate(zip(shown, real, strict=True)):
            check_part(value, other, f"{where}[{i}]")
    elif isinstance(shown, float):
        assert real == pytest.approx(shown, rel=1e-4), where
    else:
        assert shown == real, where


def make_data(seed: int, rows: int, shift: float = 0.0) -> Any:
    return make_frame(rows, seed=seed, shift=shift).drop(columns=["age", "member"])


def write_performance(database: Database) -> None:
    """Write a window whose labels have come, and one whose labels have not."""
    nan = float("nan")
    numbers = (
        (700, 0.7777778, 0.8, [0.81, 0.7], [0.78, 0.6], [0.84, 0.8], [0.83, 0.7], [0.8, 0.6], [0.86, 0.8], "ok"),
        (0, 0.0, 0.05, [nan, nan], [nan, nan], [nan, nan], [0.82, 0.7], [0.79, 0.6], [0.85, 0.8], "too_few"),
    )
    with database.transaction() as conn:
        for k, (labeled, coverage, maturity, *arrays, status) in enumerate(numbers):
            value, lower, upper, estimate, below, above = map(np.array, arrays)
            start = NOON + k * QUARTER
            result = PerformanceResult(
                "fraud", "3", "", start, start + QUARTER, 900, labeled, float(labeled), coverage, maturity,
                ("roc_auc", "accuracy"), value, lower, upper, (status, status), estimate, below, above,
                ("ok", "ok"), ("within", "within"), ("within", "within"), ("confirmed", "confirmed"), {},
                start + HOUR,
            )  # fmt: skip
            upsert_performance(conn, [result])


def test_every_example_answers_what_the_page_says(
    client: httpx.Client, database: Database, tmp_path: Path
) -> None:
    training = make_data(0, 20_000)
    training["label"] = np.random.default_rng(1).random(20_000) < training["score"]
    (tmp_path / "training.parquet").write_bytes(to_parquet(training))
    (tmp_path / "predictions.parquet").write_bytes(to_parquet(make_data(9, 500)))
    examples = read_examples()
    assert sum(isinstance(example, Example) for example in examples) >= 15
    for example in examples:
        if isinstance(example, str):
            if example == "performance of two windows":
                write_performance(database)
                continue
            if example == "an alert":
                fire(
                    database,
                    rule_id="fraud.psi.amount",
                    metric_value=3.25,
                    severity="HIGH",
                    windows=(Window(NOON + 2 * QUARTER, NOON + 3 * QUARTER),),
                )
                continue
            assert example == "three windows"
            for k, (seed, shift) in enumerate(((1, 0.0), (3, 0.0), (2, 2.0))):
                write_window(database, make_data(seed, 900, shift), NOON + k * QUARTER, step=QUARTER)
            continue
        answer = run(client, example.command, tmp_path)
        assert answer.status_code == example.status, (example.command, answer.text)
        check_part(example.answer, answer.json(), example.command)


def test_the_page_names_everything(client: httpx.Client, database: Database) -> None:
    text = PAGE.read_text()
    for name in (*METRIC_NAMES, *DEFAULT_METRICS):
        assert f"`{name}`" in text
    for kind, (status, _) in KINDS.items():
        assert f"`{kind}`" in text
        assert str(status) in text
    for family in make_meters(database, PostgresLog(database)).registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in text
    assert f"`max_body_mb` ({Settings().max_body_mb})" in text

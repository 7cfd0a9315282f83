"""docs/notifications.md shows what is sent."""

import json
import re
import time
import tomllib
from pathlib import Path

import pytest

from driftline.notify import alertmanager, jira, pagerduty, slack, webhook
from driftline.notify.destination import read_destinations
from driftline.notify.secret import Secret
from driftline.notify.tables import TABLES
from tests.notify.notices import FIRED, make_notice

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "notifications.md").read_text()
ROWS = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \| (.*?) \|", DOCS, re.MULTILINE)
BLOCKS = dict(re.findall(r"<!-- (\w+) -->\n```\w+\n(.*?)```", DOCS, re.DOTALL))
MADE = {
    "pagerduty": pagerduty.payload,
    "slack": slack.payload,
    "jira": lambda notice: jira.payload(notice, jira.Jira("https://jira.example.com", "ML", Secret("token"))),
    "webhook": webhook.payload,
    "alertmanager": lambda notice: alertmanager.payload(notice, now=FIRED),
}


@pytest.mark.parametrize("name", MADE)
def test_the_payload_that_is_shown_is_the_one_that_is_made(name):
    assert json.loads(BLOCKS[name]) == MADE[name](make_notice())


def test_the_receiver_that_is_shown_works():
    names: dict = {}
    exec(BLOCKS["receiver"], names)
    now = str(int(time.time()))
    headers = {"Driftline-Timestamp": now, "Driftline-Signature": webhook.sign(Secret("key"), now, b"{}")}
    assert names["is_authentic"](b"key", headers, b"{}")
    assert not names["is_authentic"](b"other", headers, b"{}")


class Anything(dict):
    """An environment in which every variable is set."""

    def get(self, name: str, default: str = "") -> str:
        return "json://localhost/secret"


def read_example(text: str, tmp_path: Path) -> list[str]:
    """Read the tables of an example with credentials that are there; gives their types."""
    (tmp_path / "token").write_text("secret")
    text = text.replace("file:/run/secrets/slack-token", f"file:{tmp_path}/token")
    return [each.type for each in read_destinations(tomllib.loads(text)["destinations"], Anything())]


def test_the_example_can_be_read(tmp_path):
    assert set(read_example(BLOCKS["example"], tmp_path)) == set(TABLES)


def test_the_example_settings_can_be_read(tmp_path):
    example = (ROOT / "driftline.example.toml").read_text()
    lines = example.partition("[destinations]")[2].partition("[actions]")[0].splitlines()
    tables = [line.removeprefix("# ") for line in lines if re.match(r"# (\[|\w+ = )", line)]
    assert set(read_example("\n".join(tables), tmp_path)) == set(TABLES)


def test_every_field_is_described_with_its_default():
    shown = {(name, default) for first, second, default in ROWS for name in (first, second) if name}
    for table in TABLES.values():
        for name, field in table.model_fields.items():
            defaults = {default for shown_name, default in shown if shown_name == name}
            assert defaults, f"{name} of {table.__name__} is not described"
            if not field.is_required() and isinstance(field.default, str | int):
                assert f"`{json.dumps(field.default)}`" in defaults, f"{name}: {defaults}"
            if field.is_required():
                assert any(default.startswith("required") for default in defaults), name

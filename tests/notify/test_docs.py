"""docs/notifications.md shows what is sent."""

import json
import re
import time
from pathlib import Path

import pytest

from driftline.notify import alertmanager, jira, pagerduty, slack, webhook
from driftline.notify.secret import Secret
from tests.notify.notices import FIRED, make_notice

DOCS = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
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

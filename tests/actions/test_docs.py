"""docs/actions.md shows what is sent, and every default."""

import json
import re
import time
from importlib.resources import files
from pathlib import Path
from threading import Thread

import httpx

from driftline.actions import webhook
from driftline.actions.action import Purpose
from driftline.actions.configured import read_actions
from driftline.actions.request import Request
from driftline.actions.tables import DEFAULTS, TABLES
from driftline.notify.secret import Secret
from tests.log.json_schema import valid

DOCS = (Path(__file__).parents[2] / "docs" / "actions.md").read_text()
BLOCKS = dict(re.findall(r"<!-- (\w+) -->\n```\w+\n(.*?)```", DOCS, re.DOTALL))
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCS.splitlines() if line[:3] == "| `"]


def test_every_default_is_in_the_table() -> None:
    table = {row[0].strip("`"): row[1:4] for row in ROWS if len(row) == 5}
    purposes = (Purpose.RETRAIN, Purpose.FALLBACK, Purpose.TELL)
    for name in DEFAULTS[Purpose.RETRAIN]:
        assert table[name] == [str(DEFAULTS[purpose][name]).lower() for purpose in purposes], name
    policy = read_actions({"a": {"type": "fallback_flag"}}, {})[0].policy
    for name, value in {
        "models": '`["*"]`',
        "approval_within": "72h",
        "min_labels": "0",
        "dry_run": "false",
    }.items():
        assert table[name] == [value] * 3
    assert policy.approval_within == 72 * 3600 * 1_000_000


def test_every_type_is_in_a_table() -> None:
    documented = {name for row in ROWS if len(row) == 3 for name in re.findall(r"`(\w+)`", row[0])}
    assert set(TABLES) <= documented


def test_the_request_that_is_shown_follows_the_schema() -> None:
    schema = json.loads(files("driftline.actions").joinpath("action.schema.json").read_text())
    assert valid(json.loads(BLOCKS["request"]), schema, schema)


def test_the_receiver_that_is_shown_takes_each_request_once(client: httpx.Client) -> None:
    from http.server import ThreadingHTTPServer

    names: dict = {}
    exec(BLOCKS["receiver"], names)
    content = json.loads(BLOCKS["request"])
    names["Trainer"].log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), names["Trainer"]) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = Secret(f"http://127.0.0.1:{server.server_port}/")
        request = Request(content["run_id"], content, Secret("t0ken"))
        for _ in range(2):
            webhook.start(client, webhook.Webhook(url, Secret("signing-key")), request)
        bad = client.post(
            url.reveal(), content=b"{}", headers={"Driftline-Timestamp": str(int(time.time()))} | BAD
        )
        server.shutdown()
        thread.join()
    assert bad.status_code == 401
    (taken,) = names["taken"].values()
    assert taken["model_id"] == "fraud"
    assert taken["callback"]["token"] == "t0ken"


BAD = {"Driftline-Signature": "v1=0"}

"""GitHub Actions: a dispatch that answers without an id, found again by the run's name."""

import json

import pytest

from driftline.actions.github import Github, find, payload, poll, start
from driftline.actions.progress import State
from driftline.notify.delivery import Result, Undelivered
from driftline.notify.secret import Secret
from tests.actions.requests import RUN, make_request
from tests.notify.provider import Reply, Request, run_provider

BASE = "/repos/acme/fraud/actions"


class Server:
    """A repository whose workflow declares four inputs and shows a run only when it is asked a second time."""

    def __init__(self) -> None:
        self.runs: list[dict] = []
        self.shown = 0

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("Authorization") != "Bearer ghp_token" or "User-Agent" not in request.headers:
            return Reply(401, {"message": "Bad credentials"})
        path, _, query = request.path.partition("?")
        if (request.method, path) == ("POST", f"{BASE}/workflows/retrain.yml/dispatches"):
            return self.dispatch(request.content)
        if path == f"{BASE}/workflows/retrain.yml/runs" and "event=workflow_dispatch" in query:
            self.shown += 1
            return Reply(200, {"workflow_runs": self.runs if self.shown > 1 else []})
        found = [run for run in self.runs if path == f"{BASE}/runs/{run['id']}"]
        return Reply(200, found[0]) if found else Reply(404, {"message": "Not Found"})

    def dispatch(self, body: dict) -> Reply:
        inputs = body.get("inputs", {})
        if body.get("ref") != "main" or not all(isinstance(value, str) for value in inputs.values()):
            return Reply(422, {"message": "Invalid request"})
        if not set(inputs) <= {"run_id", "model_id", "model_version", "request"}:
            return Reply(422, {"message": "Unexpected inputs provided"})
        if sum(map(len, inputs.values())) > 65_535:
            return Reply(422, {"message": "inputs are too large"})
        title = f"retrain {inputs['run_id']}"
        self.runs.insert(
            0, {"id": 100 + len(self.runs), "display_title": title, "status": "queued", "conclusion": None}
        )
        return Reply(204)


@pytest.fixture
def server() -> Server:
    return Server()


def github(url: str) -> Github:
    return Github("acme/fraud", "retrain.yml", Secret("ghp_token"), url=url)


def test_a_dispatch_is_found_by_the_name_of_its_run_and_followed(client, server):
    with run_provider(server) as provider:
        workflow = github(provider.url)
        assert start(client, workflow, make_request()).state is State.RUNNING
        assert poll(client, workflow, make_request()).detail == "GitHub does not show the run yet"
        named = poll(client, workflow, make_request())
        assert (named.external_id, named.state) == ("100", State.RUNNING)
        server.runs[0] |= {"status": "completed", "conclusion": "success"}
        assert poll(client, workflow, make_request("100")).state is State.SUCCEEDED
        server.runs[0] |= {"conclusion": "timed_out"}
        ended = poll(client, workflow, make_request("100"))
        assert (ended.state, ended.detail) == (State.FAILED, "GitHub: timed_out")


def test_a_run_that_was_started_before_a_kill_is_found(client, server):
    with run_provider(server) as provider:
        workflow = github(provider.url)
        start(client, workflow, make_request())
        server.shown = 1
        found = find(client, workflow, make_request())
    assert found is not None
    assert found.external_id == "100"


def test_a_long_request_loses_its_alerts_before_github_refuses_it(client, server):
    with run_provider(server) as provider:
        start(client, github(provider.url), make_request(alerts=1000))
    request = json.loads(payload(github(""), make_request(alerts=1000))["inputs"]["request"])
    assert (request["alerts"], len(request["drifted_features"]), request["run_id"]) == ([], 100, RUN)


def test_a_run_that_is_gone_is_refused(client, server):
    with run_provider(server) as provider, pytest.raises(Undelivered) as caught:
        poll(client, github(provider.url), make_request("999"))
    assert (caught.value.delivery.result, caught.value.status) == (Result.REFUSED, 404)

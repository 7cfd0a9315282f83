"""Kubeflow Pipelines: a run under a name of ours, looked up before it is started again."""

import json
from urllib.parse import parse_qs, urlsplit

from driftline.actions.kubeflow import Kubeflow, find, poll, start
from driftline.actions.progress import State
from driftline.notify.secret import Secret
from tests.actions.requests import RUN, make_request
from tests.notify.provider import Reply, Request, run_provider

NAME = f"driftline-{RUN}"
FIELDS = {
    "display_name",
    "description",
    "experiment_id",
    "service_account",
    "pipeline_version_reference",
    "runtime_config",
}


class Server:
    def __init__(self) -> None:
        self.runs: list[dict] = []

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("Authorization") != "Bearer kfp-token":
            return Reply(401, {"error": "unauthorised"})
        parts = urlsplit(request.path)
        if request.method == "POST" and parts.path == "/apis/v2beta1/runs":
            return self.create(request.content)
        if parts.path == "/apis/v2beta1/runs":
            (predicate,) = json.loads(parse_qs(parts.query)["filter"][0])["predicates"]
            assert (predicate["key"], predicate["operation"]) == ("name", "EQUALS")
            found = [run for run in self.runs if run["display_name"] == predicate["string_value"]]
            return Reply(200, {"runs": found, "total_size": len(found)} if found else {})
        found = [run for run in self.runs if parts.path == f"/apis/v2beta1/runs/{run['run_id']}"]
        return Reply(200, found[0]) if found else Reply(404, {"error": "not found"})

    def create(self, body: dict) -> Reply:
        if not set(body) <= FIELDS or not body["pipeline_version_reference"].get("pipeline_id"):
            return Reply(400, {"error": "invalid run"})
        run = {"run_id": f"kfp-{len(self.runs)}", "state": "PENDING", **body}
        self.runs.append(run)
        return Reply(200, run)


def test_a_run_is_started_found_and_followed(client):
    server = Server()
    with run_provider(server) as provider:
        kubeflow = Kubeflow(provider.url, "pipeline-1", Secret("kfp-token"), parameters={"epochs": 3})
        assert find(client, kubeflow, make_request()) is None
        begun = start(client, kubeflow, make_request())
        assert (begun.state, begun.external_id) == (State.RUNNING, "kfp-0")
        parameters = server.runs[0]["runtime_config"]["parameters"]
        assert (parameters["epochs"], parameters["driftline"]["run_id"]) == (3, RUN)
        found = find(client, kubeflow, make_request())
        assert found is not None
        assert found.external_id == "kfp-0"
        for state, expected in (
            ("SUCCEEDED", State.SUCCEEDED),
            ("CANCELED", State.FAILED),
            ("PAUSED", State.RUNNING),
        ):
            server.runs[0]["state"] = state
            assert poll(client, kubeflow, make_request("kfp-0")).state is expected

"""Argo Workflows: a template submitted under a name of ours, which can be taken once."""

import json
import re

from driftline.actions.argo import Argo, find, poll, start
from driftline.actions.progress import State
from driftline.notify.secret import Secret
from tests.actions.requests import RUN, make_request
from tests.notify.provider import Reply, Request, run_provider

NAME = f"driftline-{RUN}"
LABEL = re.compile(r"[a-z0-9./-]+=[A-Za-z0-9_.-]{1,63}")
DNS = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class Server:
    def __init__(self) -> None:
        self.workflows: dict[str, dict] = {}

    def __call__(self, request: Request) -> Reply:
        path = request.path.partition("?")[0]
        if request.headers.get("Authorization") != "Bearer argo-token":
            return Reply(401, {"message": "token not valid"})
        if (request.method, path) == ("POST", "/api/v1/workflows/ml/submit"):
            return self.submit(request.content)
        name = path.removeprefix("/api/v1/workflows/ml/")
        found = self.workflows.get(name)
        return (
            Reply(200, {"status": found["status"]}) if found else Reply(404, {"code": 5, "message": "not found"})
        )

    def submit(self, body: dict) -> Reply:
        options = body["submitOptions"]
        assert body["resourceKind"] == "WorkflowTemplate"
        assert DNS.fullmatch(options["name"])
        assert LABEL.fullmatch(options["labels"])
        assert all("=" in parameter for parameter in options["parameters"])
        if options["name"] in self.workflows:
            return Reply(409, {"code": 6, "message": "already exists"})
        self.workflows[options["name"]] = {"status": {}, "options": options}
        return Reply(200, {"metadata": {"name": options["name"]}})


def test_a_workflow_is_submitted_once_and_followed(client):
    server = Server()
    with run_provider(server) as provider:
        argo = Argo(provider.url, "ml", "retrain", Secret("argo-token"))
        assert find(client, argo, make_request()) is None
        for _ in range(2):
            assert start(client, argo, make_request()).external_id == NAME
        assert list(server.workflows) == [NAME]
        (parameter,) = server.workflows[NAME]["options"]["parameters"]
        assert json.loads(parameter.removeprefix("driftline="))["run_id"] == RUN
        assert poll(client, argo, make_request(NAME)).detail == "Argo: Pending"
        server.workflows[NAME]["status"] = {"phase": "Failed", "message": "no data"}
        failed = poll(client, argo, make_request(NAME))
        assert (failed.state, failed.detail) == (State.FAILED, "Argo: Failed: no data")
        server.workflows[NAME]["status"] = {"phase": "Succeeded"}
        found = find(client, argo, make_request())
    assert found is not None
    assert found.state is State.SUCCEEDED

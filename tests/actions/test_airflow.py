"""Airflow 2 and 3: a DAG run under an id of ours, so that a repeated start makes no second one."""

import base64

import pytest

from driftline.actions.airflow import Airflow, find, poll, start
from driftline.actions.progress import State
from driftline.notify.delivery import Result, Undelivered
from driftline.notify.secret import Secret
from tests.actions.requests import RUN, make_request
from tests.notify.provider import HANG_UP, Reply, Request, run_provider

NAME = f"driftline__{RUN}"


class Server:
    """Airflow: of 2 the API v1 with basic authentication, of 3 v2 with a token that user and password buy."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.runs: dict[str, dict] = {}

    def __call__(self, request: Request) -> Reply:
        if self.version == 3 and request.path == "/auth/token":
            known = request.content == {"username": "driftline", "password": "pw"}
            return Reply(201, {"access_token": "jwt"}) if known else Reply(401, {"detail": "Invalid credentials"})
        basic = base64.b64encode(b"driftline:pw").decode()
        if request.headers.get("Authorization") != ("Bearer jwt" if self.version == 3 else f"Basic {basic}"):
            return Reply(401, {"detail": "Unauthorized"})
        base = f"/api/v{self.version - 1}/dags/retrain%20fraud/dagRuns"
        if request.path == base and request.method == "POST":
            return self.trigger(request.content)
        name = request.path.removeprefix(f"{base}/")
        return Reply(200, self.runs[name]) if name in self.runs else Reply(404, {"detail": "not found"})

    def trigger(self, body: dict) -> Reply:
        fields = {"dag_run_id", "conf", "note"} | ({"logical_date"} if self.version == 3 else set())
        if set(body) != fields or not isinstance(body["conf"], dict) or body.get("logical_date") is not None:
            return Reply(422, {"detail": "unexpected fields"})
        if body["dag_run_id"] in self.runs:
            return Reply(409, {"detail": "DAGRun already exists"})
        self.runs[body["dag_run_id"]] = {"dag_run_id": body["dag_run_id"], "state": "queued", "conf": body["conf"]}
        return Reply(200, self.runs[body["dag_run_id"]])


@pytest.fixture(params=[2, 3])
def version(request: pytest.FixtureRequest) -> int:
    return request.param


def airflow(url: str, version: int, password: str = "pw") -> Airflow:
    return Airflow(f"{url}/", "retrain fraud", version, "driftline", Secret(password))


def test_a_dag_run_is_started_once_and_followed(client, version):
    server = Server(version)
    with run_provider(server) as provider:
        dag = airflow(provider.url, version)
        assert find(client, dag, make_request()) is None
        assert start(client, dag, make_request()).external_id == NAME
        assert start(client, dag, make_request()).state is State.RUNNING
        assert list(server.runs) == [NAME]
        assert server.runs[NAME]["conf"]["run_id"] == RUN
        assert poll(client, dag, make_request(NAME)).detail == "Airflow: queued"
        found = find(client, dag, make_request())
        assert found is not None
        assert found.external_id == NAME
        for state, expected in (
            ("running", State.RUNNING),
            ("success", State.SUCCEEDED),
            ("failed", State.FAILED),
        ):
            server.runs[NAME]["state"] = state
            assert poll(client, dag, make_request(NAME)).state is expected


def test_a_wrong_password_is_refused_and_not_shown(client, version):
    with run_provider(Server(version)) as provider, pytest.raises(Undelivered) as caught:
        start(client, airflow(provider.url, version, "wr0ng-password"), make_request())
    assert (caught.value.delivery.result, caught.value.status) == (Result.REFUSED, 401)
    assert "wr0ng" not in str(caught.value)


def test_troubles_are_tried_again(client, version):
    server = Server(version)
    with run_provider(server) as provider:
        for trouble in (HANG_UP, Reply(503), Reply(200, "<html>login</html>")):
            provider.troubles = [trouble]
            with pytest.raises(Undelivered) as caught:
                poll(client, airflow(provider.url, version), make_request())
            assert caught.value.delivery.result is Result.RETRY

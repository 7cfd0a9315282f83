"""KServe: traffic goes to the revision before, and comes back."""

import pytest

from driftline.actions.kserve import Kserve, end, start
from driftline.notify.delivery import Result, Undelivered
from driftline.notify.secret import Secret
from tests.actions.requests import make_request
from tests.notify.provider import Reply, Request, run_provider

PATH = "/apis/serving.kserve.io/v1beta1/namespaces/ml/inferenceservices/fraud?fieldManager=driftline"


class Server:
    def __init__(self) -> None:
        self.percents: list[int] = []

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("Authorization") != "Bearer kube-token":
            return Reply(403, {"kind": "Status", "message": "forbidden"})
        if (request.method, request.path) != ("PATCH", PATH):
            return Reply(404, {"kind": "Status", "message": "not found"})
        if request.headers["Content-Type"] != "application/merge-patch+json":
            return Reply(415, {"kind": "Status", "message": "unsupported media type"})
        self.percents.append(request.content["spec"]["predictor"]["canaryTrafficPercent"])
        return Reply(200, request.content)


def test_traffic_goes_away_and_comes_back(client):
    server = Server()
    with run_provider(server) as provider:
        kserve = Kserve(provider.url, "ml", "fraud", Secret("kube-token"))
        assert start(client, kserve, make_request()).external_id == "ml/fraud"
        end(client, kserve, make_request())
    assert server.percents == [0, 100]


def test_a_token_that_may_not_patch_is_refused(client):
    with run_provider(Server()) as provider, pytest.raises(Undelivered) as caught:
        start(client, Kserve(provider.url, "ml", "fraud", Secret("wr0ng-token")), make_request())
    assert (caught.value.delivery.result, "wr0ng" in str(caught.value)) == (Result.REFUSED, False)

"""A ticket is made once, however often it is started."""

from driftline.actions.progress import State
from driftline.actions.ticket import make_notice, start
from driftline.core.rules import Severity
from driftline.notify.jira import Jira, make_label
from driftline.notify.secret import Secret
from tests.actions.requests import RUN, make_alert, make_request
from tests.notify.provider import Reply, Request, run_provider


class Server:
    """Jira Data Center, with a search by label."""

    def __init__(self) -> None:
        self.issues: dict[str, dict] = {}

    def __call__(self, request: Request) -> Reply:
        if request.path.startswith("/rest/api/2/search"):
            found = [key for key, fields in self.issues.items() if fields["labels"][1] in request.content["jql"]]
            status = {"status": {"statusCategory": {"key": "new"}}}
            return Reply(200, {"issues": [{"key": key, "fields": status} for key in found]})
        self.issues["ML-1"] = request.content["fields"]
        return Reply(201, {"id": "1", "key": "ML-1"})


def test_a_ticket_is_made_once(client):
    server = Server()
    with run_provider(server) as provider:
        jira = Jira(provider.url, "ML", Secret("personal-token"))
        made = [start(client, jira, make_request()) for _ in range(2)]
    assert [(each.state, each.external_id) for each in made] == [(State.SUCCEEDED, "ML-1")] * 2
    fields = server.issues["ML-1"]
    assert fields["summary"] == "retrain: fraud 3"
    assert fields["labels"] == ["driftline", make_label(f"driftline/action/{RUN}")]
    assert "psi 0.417" in fields["description"]


def test_what_a_ticket_says():
    alerts = [make_alert(value=None), make_alert("country", severity="CRITICAL", segment="channel=web")]
    notice = make_notice(make_request(alerts=1))
    assert (notice.severity, notice.windows[0][0]) == (Severity.HIGH, 1_767_560_400_000_000)
    notice = make_notice(make_request(windows=None))
    assert notice.windows == ()
    request = make_request()
    request.content["alerts"][:] = alerts  # type: ignore[index]
    notice = make_notice(request)
    assert (notice.severity, notice.breaches[1].segment) == (Severity.CRITICAL, "channel=web")
    assert notice.breaches[0].value != notice.breaches[0].value

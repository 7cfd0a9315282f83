"""Jira's contract, Cloud (v3) and Data Center (v2): a small Jira with a workflow."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings

from driftline.core.notice import Kind
from driftline.core.rules import Severity
from driftline.notify.delivery import Result
from driftline.notify.jira import Jira, make_label, payload, send
from driftline.notify.jira_text import MOST_CHARACTERS, write_adf, write_wiki
from driftline.notify.secret import Secret
from tests.notify.notices import make_huge, make_notice, notices
from tests.notify.provider import HANG_UP, Reply, Request, run_provider, units

TOKEN, USER = "ATATT-0123456789", "bot@example.com"
JQL = re.compile(r'project = "(\w+)" AND labels = "([\w-]+)" ORDER BY created DESC')
NODES = {
    "doc": {"paragraph", "bulletList"},
    "bulletList": {"listItem"},
    "listItem": {"paragraph"},
    "paragraph": {"text"},
}


def is_adf(node: Any) -> bool:
    """Check a document against the part of ADF's schema that its nodes belong to."""
    if node["type"] == "text":
        return bool(node["text"]) and all(
            mark["type"] == "link" and mark["attrs"]["href"] for mark in node.get("marks", [])
        )
    inside = {child["type"] for child in node["content"]}
    return bool(inside) and inside <= NODES[node["type"]] and all(map(is_adf, node["content"]))


@dataclass
class SmallJira:
    """Cloud or Data Center: what it refuses is what the real one refuses."""

    is_cloud: bool
    issues: list[dict[str, Any]] = field(default_factory=list)
    transitions: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"id": "11", "name": "Start", "to": {"statusCategory": {"key": "indeterminate"}}},
            {"id": "31", "name": "Close", "to": {"statusCategory": {"key": "done"}}},
            {"id": "41", "name": "Won't do", "to": {"statusCategory": {"key": "done"}}},
        ]
    )

    def __call__(self, request: Request) -> Reply:
        basic = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != (f"Basic {basic}" if self.is_cloud else f"Bearer {TOKEN}"):
            return Reply(401, {"errorMessages": ["You are not authenticated."]})
        prefix, search = ("/rest/api/3", "/search/jql") if self.is_cloud else ("/rest/api/2", "/search")
        if not request.path.startswith(prefix):
            return Reply(404, "no such version")
        path = request.path.removeprefix(prefix)
        if path in ("/search", "/search/jql"):
            return self.search(request.content) if path == search else Reply(410, {"errorMessages": ["removed"]})
        _, _, key, *part = [*path.split("/"), ""]
        return self.create(request.content) if not key else self.change(request, key, part[0])

    def search(self, query: dict[str, Any]) -> Reply:
        project, label = JQL.fullmatch(query["jql"]).groups()
        found = [issue for issue in reversed(self.issues) if label in issue["labels"] and project == "ML"]
        described = [
            {"key": issue["key"], "fields": {"status": {"statusCategory": {"key": issue["status"]}}}}
            for issue in found
        ]
        return Reply(200, {"issues": described[: query["maxResults"]]})

    def create(self, content: dict[str, Any]) -> Reply:
        fields = content["fields"]
        errors = {}
        if fields["project"] != {"key": "ML"}:
            errors["project"] = "valid project is required"
        if not 0 < units(fields["summary"]) <= 255 or "\n" in fields["summary"]:
            errors["summary"] = "The summary is invalid because it contains newline characters or is too long."
        if any(not label or " " in label or len(label) > 255 for label in fields["labels"]):
            errors["labels"] = "The label contains spaces which is invalid."
        if not self.is_text(fields["description"]):
            errors["description"] = "Operation value must be an Atlassian Document"
        if errors:
            return Reply(400, {"errorMessages": [], "errors": errors})
        key = f"ML-{len(self.issues) + 1}"
        self.issues.append(fields | {"key": key, "status": "new", "comments": []})
        return Reply(201, {"id": "1", "key": key})

    def is_text(self, text: Any) -> bool:
        if self.is_cloud:
            return (
                isinstance(text, dict)
                and text["version"] == 1
                and is_adf(text)
                and units(json.dumps(text, ensure_ascii=False)) <= MOST_CHARACTERS
            )
        return isinstance(text, str) and 0 < units(text) <= MOST_CHARACTERS

    def change(self, request: Request, key: str, part: str) -> Reply:
        issue = next(issue for issue in self.issues if issue["key"] == key)
        if part == "comment":
            if not self.is_text(request.content["body"]):
                return Reply(400, {"errorMessages": ["Comment body is not valid!"]})
            issue["comments"].append(request.content["body"])
            return Reply(201, {"id": "1"})
        if request.method == "GET":
            return Reply(200, {"transitions": [] if issue["status"] == "done" else self.transitions})
        wanted = [its for its in self.transitions if its["id"] == request.content["transition"]["id"]]
        issue["status"] = wanted[0]["to"]["statusCategory"]["key"]
        return Reply(204)


@pytest.fixture(params=[True, False], ids=["cloud", "data center"])
def small(request) -> SmallJira:
    return SmallJira(request.param)


def jira_at(url: str, small: SmallJira, **changes: Any) -> Jira:
    return Jira(
        **(
            {"url": f"{url}/", "project": "ML", "token": Secret(TOKEN), "user": USER if small.is_cloud else ""}
            | changes
        )
    )


def send_all(client, small: SmallJira, *kinds: Kind, make: Callable = make_notice, **changes: Any):
    with run_provider(small) as provider:
        return [send(client, jira_at(provider.url, small, **changes), make(kind=kind)) for kind in kinds]


@pytest.mark.parametrize("make", [make_notice, make_huge])
def test_one_issue_from_trigger_to_resolve(client, small, make):
    ends = send_all(client, small, *Kind, make=make)
    assert [(end.result, end.reference, end.detail) for end in ends] == [(Result.SENT, "ML-1", "")] * 4
    (issue,) = small.issues
    assert (issue["status"], len(issue["comments"])) == ("done", 3)
    assert make_label(make().dedup_key) in issue["labels"]


def test_a_repeated_trigger_creates_nothing(client, small):
    ends = send_all(client, small, Kind.TRIGGER, Kind.TRIGGER)
    assert {end.reference for end in ends} == {"ML-1"}
    assert len(small.issues) == 1
    assert not small.issues[0]["comments"]


def test_a_trigger_whose_answer_was_lost_creates_one_issue(client, small):
    with run_provider(small) as provider:
        jira = jira_at(provider.url, small)

        def lose_answers(request: Request) -> Reply:
            small(request)
            return HANG_UP if request.path.endswith("/issue") else Reply(200, {"issues": []})

        provider.answer = lose_answers
        lost = send(client, jira, make_notice())
        provider.answer = small
        found = send(client, jira, make_notice())
    assert (lost.result, found.result, found.reference) == (Result.RETRY, Result.SENT, "ML-1")
    assert len(small.issues) == 1


def test_an_alert_that_fires_again_gets_a_new_issue(client, small):
    ends = send_all(client, small, Kind.TRIGGER, Kind.RESOLVE, Kind.TRIGGER, Kind.RESOLVE)
    assert [end.reference for end in ends] == ["ML-1", "ML-1", "ML-2", "ML-2"]
    assert [issue["status"] for issue in small.issues] == ["done", "done"]


def test_what_is_over_gets_no_issue(client, small):
    ends = send_all(client, small, Kind.RESOLVE, Kind.ACKNOWLEDGE)
    assert [end.result for end in ends] == [Result.SKIPPED, Result.SKIPPED]
    assert not small.issues


def test_an_update_without_an_issue_creates_it(client, small):
    assert send_all(client, small, Kind.UPDATE)[0].reference == "ML-1"


def test_other_alerts_have_other_issues(client, small):
    with run_provider(small) as provider:
        jira = jira_at(provider.url, small)
        ends = [send(client, jira, make_notice(dedup_key=key)) for key in ("a", "b", "a")]
    assert [end.reference for end in ends] == ["ML-1", "ML-2", "ML-1"]


def test_a_transition_can_be_named(client, small):
    small.transitions.reverse()
    send_all(client, small, Kind.TRIGGER, Kind.RESOLVE, resolve_transition="Close")
    assert small.issues[0]["status"] == "done"


def test_a_workflow_without_an_end_is_said(client, small):
    small.transitions = small.transitions[:1]
    end = send_all(client, small, Kind.TRIGGER, Kind.RESOLVE)[1]
    assert end.result == Result.SENT
    assert end.detail == "the issue stays open: it has no transition to a done status (it has: Start)"
    assert len(small.issues[0]["comments"]) == 1


def test_a_resolution_that_failed_half_way_ends_once(client, small):
    with run_provider(small) as provider:
        jira = jira_at(provider.url, small)
        send(client, jira, make_notice())

        def fail_comments(request: Request) -> Reply:
            return Reply(500) if request.path.endswith("/comment") else small(request)

        provider.answer = fail_comments
        half = send(client, jira, make_notice(kind=Kind.RESOLVE))
        provider.answer = small
        whole = send(client, jira, make_notice(kind=Kind.RESOLVE))
    assert (half.result, whole.result) == (Result.RETRY, Result.SENT)
    assert (small.issues[0]["status"], len(small.issues[0]["comments"])) == ("done", 1)


def test_what_jira_refuses_is_said(client, small):
    end = send_all(client, small, Kind.TRIGGER, project="OPS")[0]
    assert end.result == Result.REFUSED
    assert "valid project is required" in end.detail
    end = send_all(client, small, Kind.TRIGGER, token=Secret("wr0ng-token"))[0]
    assert (end.result, "You are not authenticated" in end.detail) == (Result.REFUSED, True)


def test_slow_down(client, small):
    with run_provider(small) as provider:
        provider.troubles = [Reply(429, None, {"Retry-After": "12"})]
        end = send(client, jira_at(provider.url, small), make_notice())
    assert (end.result, end.retry_after_s) == (Result.RETRY, 12)


@pytest.mark.parametrize("content", ["<html>Log in</html>", {"issues": None}, {"issues": [{"key": "ML-1"}]}, []])
def test_an_answer_that_is_not_jiras_is_no_success(client, small, content):
    with run_provider(lambda _: Reply(200, content)) as provider:
        end = send(client, jira_at(provider.url, small), make_notice())
    assert end.result == Result.RETRY
    assert end.detail.startswith("not an answer of Jira: ")


def test_priorities_are_named_or_left_out():
    jira = jira_at("https://jira.example.com", SmallJira(False), priorities={"CRITICAL": "Highest"})
    assert payload(make_notice(), jira)["fields"]["priority"] == {"name": "Highest"}
    assert "priority" not in payload(make_notice(severity=Severity.LOW), jira)["fields"]


def test_markup_in_names_is_only_text():
    text = write_wiki(make_notice(summary="{code} [x|http://evil] *b* a\\b"))
    assert r"\{code\} \[x\|http://evil\] \*b\* a&#92;b" in text


@given(notices)
@settings(max_examples=100)
def test_every_notice_is_a_text(notice):
    assert SmallJira(True).is_text(write_adf(notice))
    assert SmallJira(False).is_text(write_wiki(notice))
    summary = payload(notice, jira_at("https://jira.example.com", SmallJira(True)))["fields"]["summary"]
    assert 0 < units(summary) <= 255
    assert "\n" not in summary

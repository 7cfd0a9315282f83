"""Jira: one issue per alert, found again by a label, commented, and moved to a done status when it is over.

Cloud: REST v3, https://developer.atlassian.com/cloud/jira/platform/rest/v3/; Data Center: REST v2,
https://developer.atlassian.com/server/jira/platform/rest/.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from driftline.core.notice import Kind, Notice
from driftline.notify.call import Answer, call, describe, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.jira_text import write_adf, write_wiki
from driftline.notify.secret import Secret
from driftline.notify.text import clean_line, cut

_MOST_SUMMARY = 255


@dataclass(frozen=True, slots=True)
class Jira:
    """A project of Jira Cloud (`user` is the e-mail address that the API token belongs to) or of Data Center.

    On Data Center `user` is "" and the token a personal access token. `priorities` names the priority of a
    severity; it is left out where none is named, since projects may not have the field. `resolve_transition` is
    the name of the transition that ends an issue; "" takes the first one that leads to a done status.
    """

    url: str  # of the site, such as https://example.atlassian.net
    project: str
    token: Secret
    user: str = ""
    issue_type: str = "Task"
    priorities: Mapping[str, str] = field(default_factory=dict)
    resolve_transition: str = ""

    @property
    def is_cloud(self) -> bool:
        """Whether it is Jira Cloud: only there tokens belong to a user."""
        return bool(self.user)


def payload(notice: Notice, jira: Jira) -> dict[str, Any]:
    """Make the fields of a new issue.

    >>> from driftline.core.rules import Severity
    >>> notice = Notice(Kind.TRIGGER, Severity.MEDIUM, "fraud", "3", "2 features\\ndrifted", "", "k", 0)
    >>> payload(notice, Jira("https://jira.example.com", "ML", Secret("pat")))["fields"]["summary"]
    '2 features drifted'
    """
    fields: dict[str, Any] = {
        "project": {"key": jira.project},
        "issuetype": {"name": jira.issue_type},
        "summary": cut(clean_line(notice.title) or "driftline", _MOST_SUMMARY),
        "description": _write(notice, jira),
        "labels": ["driftline", make_label(notice.dedup_key)],
    }
    if priority := jira.priorities.get(notice.severity):
        fields["priority"] = {"name": priority}
    return {"fields": fields}


def make_label(dedup_key: str) -> str:
    """Give the label by which an alert's issue is found again: no spaces, nothing that JQL would have to quote.

    >>> make_label("fraud/3/drift/17")
    'driftline-7dd8203cb7f74d30'
    """
    return f"driftline-{hashlib.sha256(dedup_key.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def send(client: httpx.Client, jira: Jira, notice: Notice) -> Delivery:
    """Send a notice: create, comment on, or end the issue of its alert. `reference` is the issue's key.

    A trigger that is repeated creates nothing new, as soon as Jira's search shows the issue (seconds, on Cloud).
    An alert that fires again after its issue was ended gets a new one; one that is over and has none gets none.
    """
    try:
        issue = _find(client, jira, notice)
        if notice.kind == Kind.RESOLVE:
            return _resolve(client, jira, notice, issue)
        if notice.kind == Kind.ACKNOWLEDGE and issue is None:
            return Delivery(Result.SKIPPED, "there is no issue to comment on")
        if issue is None or (notice.kind == Kind.TRIGGER and issue.is_done):
            return _create(client, jira, notice)
        if notice.kind != Kind.TRIGGER:
            _comment(client, jira, notice, issue.key)
        return Delivery(Result.SENT, reference=issue.key)
    except Undelivered as end:
        return end.delivery


@dataclass(frozen=True, slots=True)
class _Issue:
    key: str
    is_done: bool


def _find(client: httpx.Client, jira: Jira, notice: Notice) -> _Issue | None:
    """Find the newest issue of an alert; the old search is gone from Cloud, the new one is not on Data Center."""
    label, project = make_label(notice.dedup_key), jira.project.replace("\\", "").replace('"', "")
    query = {
        "jql": f'project = "{project}" AND labels = "{label}" ORDER BY created DESC',
        "fields": ["status"],
        "maxResults": 1,
    }
    answer = _ask(client, jira, "POST", "search/jql" if jira.is_cloud else "search", query)
    issues = _read(answer, jira, "issues", list)
    if not issues:
        return None
    try:
        done = issues[0]["fields"]["status"]["statusCategory"]["key"] == "done"
        return _Issue(str(issues[0]["key"]), done)
    except (KeyError, TypeError):
        raise _unexpected(answer, jira) from None


def _create(client: httpx.Client, jira: Jira, notice: Notice) -> Delivery:
    answer = _ask(client, jira, "POST", "issue", payload(notice, jira))
    return Delivery(Result.SENT, reference=_read(answer, jira, "key", str))


def _comment(client: httpx.Client, jira: Jira, notice: Notice, key: str) -> None:
    _ask(client, jira, "POST", f"issue/{quote(key, safe='')}/comment", {"body": _write(notice, jira)})


def _resolve(client: httpx.Client, jira: Jira, notice: Notice, issue: _Issue | None) -> Delivery:
    """End the issue first: repeated after a failure in between, it comments once and does not end it twice."""
    if issue is None:
        return Delivery(Result.SKIPPED, "there is no issue to end")
    detail = "" if issue.is_done else _end(client, jira, issue.key)
    _comment(client, jira, notice, issue.key)
    return Delivery(Result.SENT, detail, reference=issue.key)


def _end(client: httpx.Client, jira: Jira, key: str) -> str:
    """Move an issue to a done status; says why where the workflow does not let it."""
    path = f"issue/{quote(key, safe='')}/transitions"
    answer = _ask(client, jira, "GET", path)
    transitions = [its for its in _read(answer, jira, "transitions", list) if isinstance(its, dict)]
    fitting = [its["id"] for its in transitions if _ends(its, jira.resolve_transition)]
    if fitting:
        _ask(client, jira, "POST", path, {"transition": {"id": str(fitting[0])}})
        return ""
    names = ", ".join(str(its.get("name")) for its in transitions) or "none"
    wanted = f"called {jira.resolve_transition!r}" if jira.resolve_transition else "to a done status"
    return cut(f"the issue stays open: it has no transition {wanted} (it has: {clean_line(names)})", 500)


def _ends(transition: dict[str, Any], name: str) -> bool:
    if name:
        return transition.get("name") == name and "id" in transition
    status = transition.get("to") or {}
    return (status.get("statusCategory") or {}).get("key") == "done" and "id" in transition


def _write(notice: Notice, jira: Jira) -> Any:
    return write_adf(notice) if jira.is_cloud else write_wiki(notice)


def _ask(client: httpx.Client, jira: Jira, method: str, path: str, content: Any = None) -> Answer:
    url = f"{jira.url.rstrip('/')}/rest/api/{3 if jira.is_cloud else 2}/{path}"
    body = None if content is None else encode(content)
    headers = {"Authorization": _authorise(jira), "Accept": "application/json"}
    return call(client, method, url, body=body, headers=headers, secrets=_secrets(jira))


def _authorise(jira: Jira) -> str:
    if not jira.is_cloud:
        return f"Bearer {jira.token.reveal()}"
    return f"Basic {base64.b64encode(f'{jira.user}:{jira.token.reveal()}'.encode()).decode()}"


def _secrets(jira: Jira) -> list[Secret]:
    return [jira.token, Secret(_authorise(jira).partition(" ")[2])]


def _read(answer: Answer, jira: Jira, name: str, kind: type) -> Any:
    value = answer.content.get(name) if isinstance(answer.content, dict) else None
    if isinstance(value, kind):
        return value
    raise _unexpected(answer, jira)


def _unexpected(answer: Answer, jira: Jira) -> Undelivered:
    """Not Jira that answered, a proxy or a login page, say: it may be there again later."""
    return Undelivered(Delivery(Result.RETRY, f"not an answer of Jira: {describe(answer, _secrets(jira))}"))

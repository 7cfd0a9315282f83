"""GitHub Actions: a workflow dispatch, found again by the run id in the workflow run's name.

https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event. The dispatch answers without an
id, so the workflow must put the run id into its name: `run-name: retrain ${{ inputs.run_id }}`.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.notify.call import Answer, call, describe, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret

_MOST_INPUTS = 65_000  # GitHub takes 65,535 characters of all inputs together
_ENDS = {"success": State.SUCCEEDED, "neutral": State.SUCCEEDED}


@dataclass(frozen=True, slots=True)
class Github:
    """A workflow of a repository, by its file's name, on a branch or tag."""

    repository: str  # owner/name
    workflow: str
    token: Secret
    ref: str = "main"
    url: str = "https://api.github.com"


def payload(github: Github, request: Request) -> dict[str, Any]:
    """Make the body of a dispatch: the workflow declares these inputs.

    The whole request is in `request`, without the list of alerts where it would be too long.

    >>> github = Github("acme/fraud", "retrain.yml", Secret("token"))
    >>> payload(github, Request("r1", {"model_id": "fraud"}, Secret("t")))["inputs"]["run_id"]
    'r1'
    """
    content = request.write()
    text = encode(content).decode()
    if len(text) > _MOST_INPUTS:
        text = encode(
            {**content, "alerts": [], "drifted_features": content.get("drifted_features", [])[:100]}
        ).decode()
    return {
        "ref": github.ref,
        "inputs": {
            "run_id": request.run_id,
            "model_id": request.model_id,
            "model_version": str(content.get("model_version", "")),
            "request": text,
        },
    }


def start(client: httpx.Client, github: Github, request: Request) -> Progress:
    """Dispatch the workflow; GitHub has no idempotency key, so look with `find` first. Raises Undelivered."""
    _ask(
        client,
        github,
        request,
        "POST",
        f"workflows/{_quote(github.workflow)}/dispatches",
        payload(github, request),
    )
    return Progress(State.RUNNING)


def find(client: httpx.Client, github: Github, request: Request) -> Progress | None:
    """Find the workflow run whose name has the run's id, among the newest hundred. Raises Undelivered."""
    path = f"workflows/{_quote(github.workflow)}/runs?event=workflow_dispatch&per_page=100"
    answer = _ask(client, github, request, "GET", path)
    runs = answer.content.get("workflow_runs") if isinstance(answer.content, dict) else None
    if not isinstance(runs, list):
        raise _unexpected(answer)
    named = (run for run in runs if isinstance(run, dict) and request.run_id in str(run.get("display_title", "")))
    run = next(named, None)
    return None if run is None else _read(run)


def poll(client: httpx.Client, github: Github, request: Request) -> Progress:
    """Ask for the state of the workflow run, which may take seconds to appear. Raises Undelivered."""
    if not request.external_id:
        return find(client, github, request) or Progress(State.RUNNING, detail="GitHub does not show the run yet")
    answer = _ask(client, github, request, "GET", f"runs/{_quote(request.external_id)}")
    if not isinstance(answer.content, dict):
        raise _unexpected(answer)
    return _read(answer.content)


def _read(run: dict[str, Any]) -> Progress:
    name, status, conclusion = str(run.get("id", "")), run.get("status"), run.get("conclusion")
    if status != "completed":
        return Progress(State.RUNNING, name, f"GitHub: {status}")
    return Progress(_ENDS.get(str(conclusion), State.FAILED), name, f"GitHub: {conclusion}")


def _ask(
    client: httpx.Client, github: Github, request: Request, method: str, path: str, content: Any = None
) -> Answer:
    repository = "/".join(_quote(part) for part in github.repository.split("/"))
    return call(
        client,
        method,
        f"{github.url.rstrip('/')}/repos/{repository}/actions/{path}",
        body=None if content is None else encode(content),
        headers={
            "Authorization": f"Bearer {github.token.reveal()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "driftline",
        },
        secrets=[github.token, request.token],
    )


def _quote(text: str) -> str:
    return quote(text, safe="")


def _unexpected(answer: Answer) -> Undelivered:
    return Undelivered(Delivery(Result.RETRY, f"not an answer of GitHub: {describe(answer, [])}"))

"""Argo Workflows, server API v1: a template is submitted under a name made of our run's id.

https://argo-workflows.readthedocs.io/en/latest/rest-api/
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.notify.call import Answer, call, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret

_ENDS = {"Succeeded": State.SUCCEEDED, "Failed": State.FAILED, "Error": State.FAILED}


@dataclass(frozen=True, slots=True)
class Argo:
    """A workflow template, or with `cluster` a cluster template; its parameter `driftline` is the request."""

    url: str
    namespace: str
    template: str
    token: Secret | None = None
    cluster: bool = False
    service_account: str = ""


def make_name(run_id: str) -> str:
    """Make the name of the workflow: a repeated start finds it taken.

    >>> make_name("5e0b")
    'driftline-5e0b'
    """
    return f"driftline-{run_id}"


def payload(argo: Argo, request: Request) -> dict[str, Any]:
    """Make the body of a submission."""
    options = {
        "name": make_name(request.run_id),
        "labels": f"driftline.io/run={request.run_id}",
        "parameters": [f"driftline={request.encode().decode()}"],
        "serviceAccount": argo.service_account,
    }
    return {
        "namespace": argo.namespace,
        "resourceKind": "ClusterWorkflowTemplate" if argo.cluster else "WorkflowTemplate",
        "resourceName": argo.template,
        "submitOptions": {name: value for name, value in options.items() if value},
    }


def start(client: httpx.Client, argo: Argo, request: Request) -> Progress:
    """Submit the workflow; one that is there already is a success. Raises Undelivered."""
    try:
        _ask(client, argo, request, "POST", "/submit", encode(payload(argo, request)))
    except Undelivered as end:
        if end.status != httpx.codes.CONFLICT:
            raise
    return Progress(State.RUNNING, make_name(request.run_id))


def find(client: httpx.Client, argo: Argo, request: Request) -> Progress | None:
    """Find a workflow that may have been submitted. Raises Undelivered."""
    try:
        return poll(client, argo, request)
    except Undelivered as end:
        if end.status == httpx.codes.NOT_FOUND:
            return None
        raise


def poll(client: httpx.Client, argo: Argo, request: Request) -> Progress:
    """Ask for the phase of a workflow. Raises Undelivered."""
    name = make_name(request.run_id)
    answer = _ask(client, argo, request, "GET", f"/{quote(name, safe='')}?fields=status.phase,status.message")
    if not isinstance(answer.content, dict):
        raise Undelivered(Delivery(Result.RETRY, "not an answer of Argo Workflows"))
    status = answer.content.get("status") or {}
    phase = str(status.get("phase") or "Pending")
    message = f": {status['message']}" if status.get("message") else ""
    return Progress(_ENDS.get(phase, State.RUNNING), name, f"Argo: {phase}{message}"[:500])


def _ask(
    client: httpx.Client, argo: Argo, request: Request, method: str, path: str, body: bytes | None = None
) -> Answer:
    url = f"{argo.url.rstrip('/')}/api/v1/workflows/{quote(argo.namespace, safe='')}{path}"
    token = argo.token
    return call(
        client,
        method,
        url,
        body=body,
        headers={"Authorization": f"Bearer {token.reveal()}"} if token else {},
        secrets=[request.token, *([token] if token else [])],
    )

"""Kubeflow Pipelines, REST API v2beta1: a run of a pipeline version, found again by its name.

https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.notify.call import Answer, call, describe, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret

_ENDS = {
    "SUCCEEDED": State.SUCCEEDED,
    "SKIPPED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "CANCELED": State.FAILED,
}


@dataclass(frozen=True, slots=True)
class Kubeflow:
    """A version of a pipeline, the newest unless `pipeline_version_id` names one. `parameters` are passed on.

    The pipeline has a parameter `driftline` of type STRUCT, which gets the request.
    """

    url: str
    pipeline_id: str
    token: Secret | None = None
    pipeline_version_id: str = ""
    experiment_id: str = ""
    service_account: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


def make_name(run_id: str) -> str:
    """Make the name by which a run is found again.

    >>> make_name("5e0b")
    'driftline-5e0b'
    """
    return f"driftline-{run_id}"


def payload(kubeflow: Kubeflow, request: Request) -> dict[str, Any]:
    """Make the body of a new run."""
    reference = {"pipeline_id": kubeflow.pipeline_id, "pipeline_version_id": kubeflow.pipeline_version_id}
    body = {
        "display_name": make_name(request.run_id),
        "description": str(request.content.get("reason", ""))[:1000],
        "experiment_id": kubeflow.experiment_id,
        "service_account": kubeflow.service_account,
        "pipeline_version_reference": {name: value for name, value in reference.items() if value},
        "runtime_config": {"parameters": {**kubeflow.parameters, "driftline": request.write()}},
    }
    return {name: value for name, value in body.items() if value}


def start(client: httpx.Client, kubeflow: Kubeflow, request: Request) -> Progress:
    """Start a run; names need not be unique there, so look with `find` first. Raises Undelivered."""
    return _read(_ask(client, kubeflow, request, "POST", "", payload(kubeflow, request)).content)


def find(client: httpx.Client, kubeflow: Kubeflow, request: Request) -> Progress | None:
    """Find the run by its name. Raises Undelivered."""
    name = make_name(request.run_id)
    predicate = {"key": "name", "operation": "EQUALS", "string_value": name}
    query = {"page_size": 1, "filter": json.dumps({"predicates": [predicate]})}
    if kubeflow.experiment_id:
        query["experiment_id"] = kubeflow.experiment_id
    answer = _ask(client, kubeflow, request, "GET", f"?{urlencode(query)}")
    runs = answer.content.get("runs") if isinstance(answer.content, dict) else None
    if not isinstance(answer.content, dict) or not isinstance(runs, list | None):
        raise Undelivered(Delivery(Result.RETRY, f"not an answer of Kubeflow Pipelines: {describe(answer, [])}"))
    named = [run for run in runs or [] if isinstance(run, dict) and run.get("display_name") == name]
    return _read(named[0]) if named else None


def poll(client: httpx.Client, kubeflow: Kubeflow, request: Request) -> Progress:
    """Ask for the state of a run. Raises Undelivered."""
    return _read(_ask(client, kubeflow, request, "GET", f"/{quote(request.external_id, safe='')}").content)


def _read(run: Any) -> Progress:
    if not isinstance(run, dict) or not isinstance(run.get("run_id"), str):
        raise Undelivered(Delivery(Result.RETRY, "not an answer of Kubeflow Pipelines"))
    state = str(run.get("state", "PENDING"))
    return Progress(_ENDS.get(state, State.RUNNING), run["run_id"], f"Kubeflow: {state.lower()}")


def _ask(
    client: httpx.Client, kubeflow: Kubeflow, request: Request, method: str, path: str, content: Any = None
) -> Answer:
    token = kubeflow.token
    return call(
        client,
        method,
        f"{kubeflow.url.rstrip('/')}/apis/v2beta1/runs{path}",
        body=None if content is None else encode(content),
        headers={"Authorization": f"Bearer {token.reveal()}"} if token else {},
        secrets=[request.token, *([token] if token else [])],
    )

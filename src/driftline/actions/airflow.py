"""Apache Airflow, stable REST API: v1 (Airflow 2) and v2 (Airflow 3). The DAG run's id is made of our run's id.

https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.notify.call import Answer, call, describe, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret

_STATES = {"success": State.SUCCEEDED, "failed": State.FAILED}


@dataclass(frozen=True, slots=True)
class Airflow:
    """A DAG. On Airflow 3 `user` and `password` buy a token at /auth/token; on Airflow 2 they are sent.

    A `token`, if given, is sent as it is on both.
    """

    url: str
    dag: str
    version: int = 3
    user: str = ""
    password: Secret | None = None
    token: Secret | None = None


def make_run_id(run_id: str) -> str:
    """Make the id of the DAG run: a repeated start finds it taken.

    >>> make_run_id("5e0b")
    'driftline__5e0b'
    """
    return f"driftline__{run_id}"


def payload(airflow: Airflow, request: Request) -> dict[str, Any]:
    """Make the body of a start. Airflow 3 wants a logical date, which may be null: a run of no data interval."""
    body = {
        "dag_run_id": make_run_id(request.run_id),
        "conf": request.write(),
        "note": f"driftline: {request.content.get('reason', '')}"[:1000],
    }
    return body if airflow.version == 2 else {**body, "logical_date": None}


def start(client: httpx.Client, airflow: Airflow, request: Request) -> Progress:
    """Start a DAG run; one that is there already is a success. Raises Undelivered."""
    try:
        _ask(client, airflow, request, "POST", "", encode(payload(airflow, request)))
    except Undelivered as end:
        if end.status != httpx.codes.CONFLICT:
            raise
    return Progress(State.RUNNING, make_run_id(request.run_id))


def find(client: httpx.Client, airflow: Airflow, request: Request) -> Progress | None:
    """Find a DAG run that may have been started. Raises Undelivered."""
    try:
        return poll(client, airflow, request)
    except Undelivered as end:
        if end.status == httpx.codes.NOT_FOUND:
            return None
        raise


def poll(client: httpx.Client, airflow: Airflow, request: Request) -> Progress:
    """Ask for the state of a DAG run. Raises Undelivered."""
    name = make_run_id(request.run_id)
    answer = _ask(client, airflow, request, "GET", f"/{quote(name, safe='')}")
    state = _read(answer, "state")
    return Progress(_STATES.get(state, State.RUNNING), name, f"Airflow: {state}")


def _ask(
    client: httpx.Client, airflow: Airflow, request: Request, method: str, path: str, body: bytes | None = None
) -> Answer:
    secrets = [each for each in (airflow.password, airflow.token, request.token) if each is not None]
    authorisation = _authorise(client, airflow, secrets)
    secrets.append(Secret(authorisation.partition(" ")[2]))
    api = f"{airflow.url.rstrip('/')}/api/v{1 if airflow.version == 2 else 2}"
    url = f"{api}/dags/{quote(airflow.dag, safe='')}/dagRuns{path}"
    headers = {"Authorization": authorisation, "Accept": "application/json"}
    return call(client, method, url, body=body, headers=headers, secrets=secrets)


def _authorise(client: httpx.Client, airflow: Airflow, secrets: list[Secret]) -> str:
    if airflow.token is not None:
        return f"Bearer {airflow.token.reveal()}"
    password = airflow.password.reveal() if airflow.password is not None else ""
    if airflow.version == 2:
        return f"Basic {base64.b64encode(f'{airflow.user}:{password}'.encode()).decode()}"
    body = encode({"username": airflow.user, "password": password})
    answer = call(client, "POST", f"{airflow.url.rstrip('/')}/auth/token", body=body, secrets=secrets)
    return f"Bearer {_read(answer, 'access_token', secret=True)}"


def _read(answer: Answer, name: str, *, secret: bool = False) -> str:
    value = answer.content.get(name) if isinstance(answer.content, dict) else None
    if isinstance(value, str):
        return value
    said = "" if secret else f": {describe(answer, [])}"
    raise Undelivered(Delivery(Result.RETRY, f"not an answer of Airflow{said}"))

"""What can be asked of any provider: to start a run, to find one that may have started, to follow and end one."""

from collections.abc import Callable
from typing import Any

import httpx

from driftline.actions import airflow, argo, github, kserve, kubeflow, ticket, webhook
from driftline.actions.action import Provider
from driftline.actions.progress import Progress
from driftline.actions.request import Request
from driftline.notify.jira import Jira

_START: dict[type, Callable[[httpx.Client, Any, Request], Progress]] = {
    webhook.Webhook: webhook.start,
    Jira: ticket.start,
    kserve.Kserve: kserve.start,
    airflow.Airflow: airflow.start,
    github.Github: github.start,
    kubeflow.Kubeflow: kubeflow.start,
    argo.Argo: argo.start,
}
_FIND: dict[type, Callable[[httpx.Client, Any, Request], Progress | None]] = {
    airflow.Airflow: airflow.find,
    github.Github: github.find,
    kubeflow.Kubeflow: kubeflow.find,
    argo.Argo: argo.find,
}
_POLL: dict[type, Callable[[httpx.Client, Any, Request], Progress]] = {
    airflow.Airflow: airflow.poll,
    github.Github: github.poll,
    kubeflow.Kubeflow: kubeflow.poll,
    argo.Argo: argo.poll,
}
_END: dict[type, Callable[[httpx.Client, Any, Request], None]] = {
    webhook.Webhook: webhook.end,
    kserve.Kserve: kserve.end,
}


def start(client: httpx.Client, provider: Provider, request: Request) -> Progress:
    """Start a run. Raises Undelivered."""
    return _START[type(provider)](client, provider, request)


def find(client: httpx.Client, provider: Provider, request: Request) -> Progress | None:
    """Find a run that may have been started; None when it was not, or cannot be looked up. Raises Undelivered."""
    look = _FIND.get(type(provider))
    return None if look is None else look(client, provider, request)


def poll(client: httpx.Client, provider: Provider, request: Request) -> Progress | None:
    """Ask how far a run is; None where it reports by itself. Raises Undelivered."""
    ask = _POLL.get(type(provider))
    return None if ask is None else ask(client, provider, request)


def end(client: httpx.Client, provider: Provider, request: Request) -> None:
    """End a run that lasts. Raises Undelivered."""
    _END[type(provider)](client, provider, request)

"""What can be asked of any provider: to start a run, to find one that may have started, to follow and end one."""

from collections.abc import Callable
from typing import Any

import httpx

from driftline.actions import webhook
from driftline.actions.action import Provider
from driftline.actions.progress import Progress
from driftline.actions.request import Request

_START: dict[type, Callable[[httpx.Client, Any, Request], Progress]] = {
    webhook.Webhook: webhook.start,
}
_FIND: dict[type, Callable[[httpx.Client, Any, Request], Progress | None]] = {}
_POLL: dict[type, Callable[[httpx.Client, Any, Request], Progress]] = {}
_END: dict[type, Callable[[httpx.Client, Any, Request], None]] = {
    webhook.Webhook: webhook.end,
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

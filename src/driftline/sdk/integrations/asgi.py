"""Middleware for FastAPI, Starlette and any other ASGI app: predictions are logged from what passes by."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from driftline.sdk.ids import make_id

if TYPE_CHECKING:
    from driftline.sdk.monitor import Monitor

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Read: TypeAlias = Callable[[Any, Any], Mapping[str, Any]]
"""Makes the arguments of `Monitor.log`, but for the id, from the decoded bodies of a request and of its answer."""

MAX_BODY = 1 << 20
"""Requests and answers of more bytes are passed on unseen."""

_LAST_S = 5.0
_HEADER = b"x-prediction-id"
_ASKED = ("entity_id", "timestamp", "segments", "group_id", "rank")
_logger = logging.getLogger("driftline")


class MonitorMiddleware:
    """Logs every successful JSON answer of some routes, under the id in its header `X-Prediction-Id`.

    `routes` are exact paths, below the app's root path, that answer POST; in a mapping each has a function that
    reads what to log (`read_prediction` is the usual one). Other routes pass untouched, and so do streams: answers
    without a Content-Length. An answer is logged once it is out; what the app raises is raised. Where the app sets
    the header itself, that is the prediction's id. Anything that compresses answers belongs outside of this. The
    last rows are delivered when the app shuts down.
    """

    def __init__(self, app: App, monitor: "Monitor", routes: Iterable[str] | Mapping[str, Read]) -> None:
        self._app = app
        self._monitor = monitor
        self._routes = dict(routes) if isinstance(routes, Mapping) else dict.fromkeys(routes, read_prediction)
        self._warned: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and watch it when its route is one of those that are logged."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._deliver_before(send))
            return
        path = _path_below_root(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        read = self._routes.get(path) if path is not None else None
        if path is None or read is None:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(receive, send)
        await self._app(scope, exchange.receive, exchange.send_and(lambda: self._log(path, exchange, read)))

    def _deliver_before(self, send: Send) -> Send:
        """Deliver the last rows when the app shuts down: servers that end by a signal run no exit functions."""

        async def deliver_and_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                self._monitor.flush(_LAST_S)  # no request is left that it could keep waiting
            await send(message)

        return deliver_and_send

    def _log(self, path: str, exchange: "Exchange", read: Read) -> None:
        prediction_id = exchange.prediction_id
        try:
            if not self._monitor.may_keep(prediction_id):
                self._monitor.log((), prediction_id=prediction_id)  # it is counted; its features are not looked at
                return
            asked, answered = msgspec.json.decode(exchange.asked), msgspec.json.decode(exchange.answered)
            self._monitor.log(**{**read(asked, answered), "prediction_id": prediction_id})
        except Exception as error:  # the answer is out: what cannot be read is no fault of the service
            self._warn(path, error)

    def _warn(self, path: str, error: Exception) -> None:
        if path in self._warned:
            return
        self._warned.add(path)
        _logger.warning(
            "driftline: what passes at %s cannot be read as a prediction (%s: %s); say how: routes={%r: read}",
            *(path, type(error).__name__, error, path),
        )


def read_prediction(asked: Any, answered: Any) -> dict[str, Any]:
    """Read the usual bodies: features, or an object with them in `features`; and an object with the `prediction`.

    Beside `features` the request may have an `entity_id`, a `timestamp` or `segments`; beside the prediction
    there may be a `score`. Raises KeyError or TypeError for other bodies.

    >>> read_prediction({"amount": 12.5}, {"prediction": 1, "score": 0.83})
    {'features': {'amount': 12.5}, 'prediction': 1, 'score': 0.83}
    >>> read_prediction({"features": [12.5], "entity_id": "c-17"}, {"prediction": 1})
    {'features': [12.5], 'entity_id': 'c-17', 'prediction': 1, 'score': None}
    """
    given = {"features": asked}
    if isinstance(asked, Mapping) and isinstance(asked.get("features"), Mapping | list):
        given = {name: asked[name] for name in ("features", *_ASKED) if name in asked}
    return {**given, "prediction": answered["prediction"], "score": answered.get("score")}


class Exchange:
    """A request and its answer, noted while they pass; `asked` and `answered` are their bodies."""

    __slots__ = ("_answer", "_receive", "_request", "_send", "_watched", "answered", "asked", "prediction_id")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._request: list[bytes] = []
        self._answer: list[bytes] = []
        self._watched = False
        self.asked = self.answered = b""
        self.prediction_id = ""

    async def receive(self) -> Message:
        """Give the app the next part of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._request.append(message.get("body", b""))
        return message

    def send_and(self, done: Callable[[], None]) -> Send:
        """Make the way out for the app's answer; `done` is called when a whole one that can be read is out."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._begin(message)
            is_last = False
            if self._watched and message["type"] == "http.response.body":
                self._answer.append(message.get("body", b""))  # before others outside change the message
                is_last = not message.get("more_body")
            await self._send(message)
            if is_last:
                self.asked, self.answered = b"".join(self._request), b"".join(self._answer)
                done()

        return send

    def _begin(self, start: Message) -> None:
        """Decide whether the answer is watched, and give it the header if so."""
        given = {name.lower(): value for name, value in start.get("headers", ())}
        is_json = given.get(b"content-type", b"").partition(b";")[0].strip() == b"application/json"
        size = given.get(b"content-length", b"")
        self._watched = (
            200 <= start["status"] < 300
            and is_json
            and b"content-encoding" not in given
            and size.isdigit()
            and max(int(size), sum(map(len, self._request))) <= MAX_BODY
        )
        if not self._watched:
            return
        self.prediction_id = given.get(_HEADER, b"").decode("latin-1") or make_id()
        if _HEADER not in given:
            start["headers"] = [*start.get("headers", ()), (_HEADER, self.prediction_id.encode())]


def _path_below_root(scope: Scope) -> str:
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path

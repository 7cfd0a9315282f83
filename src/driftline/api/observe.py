"""Around every request: counted, timed, and answered with a problem document when the code fails."""

import time
import uuid

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftline.api.meters import Meters
from driftline.api.problem import make_problem

_GONE = 499  # what web servers write in their logs when a client hung up

logger = structlog.get_logger("driftline.api")


class Observe:
    """Counts and times requests by route; logs an exception nobody expected, and answers without internals."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0
        begun = time.perf_counter()

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except ClientDisconnect:
            status = _GONE  # nobody is there to be answered
        except Exception:
            incident = uuid.uuid4().hex
            logger.exception("request failed", incident=incident, method=scope["method"], path=scope["path"])
            if status:  # half an answer is out already: only the connection's end can tell
                raise
            answer = make_problem(
                "internal-error",
                f"something went wrong here, not in your request; the log of the server says what, at {incident}",
                instance=scope["path"],
            )
            await answer(scope, receive, send_noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._meters.requests.labels(route, scope["method"], str(status)).inc()
            self._meters.seconds.labels(route).observe(time.perf_counter() - begun)

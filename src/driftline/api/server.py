"""The HTTP server, in a thread of its own, so that the main thread can wait for signals or drive a demo."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

_STOP_S = 10


class PortTaken(OSError):
    """The address cannot be listened on; the message says which, and the fix."""


@contextmanager
def serve(app: FastAPI, host: str, port: int) -> Iterator[str]:
    """Serve an app until the block is left, then finish the requests that have begun; gives its URL.

    Port 0 takes a free one. Raises PortTaken.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_STOP_S
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http", daemon=True)
    thread.start()
    address = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{address}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(_STOP_S + 1)  # a daemon: what does not end by then ends with the process
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio then sets TCP_NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"cannot listen on {host}:{port} ({error.strerror}); stop what uses it or choose another --port"
        ) from error
    return listener

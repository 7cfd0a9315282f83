"""A local provider: it refuses what the real one refuses, and has the real one's bad days."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Reply:
    status: int
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


HANG_UP = Reply(0)  # no answer at all
HALF = Reply(-1)  # the head and half of a body
SILENT = Reply(-2)  # no answer until the client has gone


@dataclass
class Provider:
    """Answers with `answer(request)`, after the `troubles` that come first."""

    answer: Callable[[Request], Reply]
    url: str = ""
    troubles: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        return self.troubles.pop(0) if self.troubles else self.answer(request)


@contextmanager
def run_provider(answer: Callable[[Request], Reply], port: int = 0) -> Iterator[Provider]:
    provider = Provider(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: the second would wait for the first one's acknowledgement

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:  # the client was killed while it wrote
                return
            reply = provider.reply(Request(self.command, self.path, dict(self.headers), body))
            self.close_connection = reply.status <= 0
            if reply in (HANG_UP, SILENT):
                provider.over.wait(0 if reply == HANG_UP else 30)
                return
            text = reply.content if isinstance(reply.content, str) else json.dumps(reply.content)
            content = b"" if reply.content is None else text.encode()
            self.send_response(200 if reply == HALF else reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "100" if reply == HALF else str(len(content)))
            self.end_headers()
            self.wfile.write(b'{"ok": tr' if reply == HALF else content)

        do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815  the names that http.server calls

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # clients hang up, or are killed
            assert isinstance(sys.exception(), ConnectionError)

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield provider
        finally:
            provider.over.set()
            server.shutdown()
            thread.join()


def units(text: str) -> int:
    """Characters as the strictest provider counts them; fails for text that cannot be sent."""
    return len(text.encode("utf-16-le")) // 2

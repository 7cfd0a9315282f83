"""A server that does to an SDK what a real one does only on bad days."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from driftline.core.schema import Schema


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    status: int = 202
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Any = field(default_factory=dict)


def problem(status: int, kind: str, detail: str, **headers: str) -> Reply:
    return Reply(status, headers, {"type": f"urn:driftline:problem:{kind}", "detail": detail})


@dataclass
class Stub:
    """Answers GET from `settings`, POST from `replies` and then with 202; a reply None hangs up without a word."""

    url: str = ""
    settings: Reply = field(default_factory=lambda: problem(404, "not-found", "there is no such version"))
    replies: list[Reply | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def posts(self, path: str = "/predictions") -> list[Request]:
        return [request for request in self.requests if request.method == "POST" and request.path == path]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        with self.arrived:
            return self.arrived.wait_for(condition, timeout)

    def serve_schema(self, schema: Schema, *, n: int = 1, label_n: int = 1, fallback: bool = False) -> None:
        content = {
            "schema": schema.to_dict(),
            "sampling_n": n,
            "label_n": label_n,
            "fallback_active": fallback,
        }
        self.settings = Reply(200, {"ETag": f'"{hash(json.dumps(content))}"'}, content)

    def answer(self, request: Request) -> Reply | None:
        with self.arrived:
            self.requests.append(request)
            reply = self.replies.pop(0) if request.method == "POST" and self.replies else Reply()
            self.arrived.notify_all()
        if request.method == "GET":
            reply = self.settings
            if reply.status == 200 and request.headers.get("If-None-Match") == reply.headers["ETag"]:
                return Reply(304, reply.headers)
        return reply


@contextmanager
def run_stub(port: int = 0) -> Iterator[Stub]:
    """Serve a stub in a thread until the block is left."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = stub.answer(Request(self.command, self.path, dict(self.headers), body))
            if reply is None:
                self.close_connection = True
                return
            content = b"" if reply.status == 304 else json.dumps(reply.content).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815  the names that http.server calls

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        stub.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()

"""The inbox: a small receiver of notices on this machine, which takes what a team's own receiver would."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Notice = dict[str, Any]


@dataclass(slots=True)
class Inbox:
    """The notices that came, each once, in order; `url` is where they are sent, signed with `key`."""

    key: str
    url: str = ""
    notices: list[Notice] = field(default_factory=list)
    _keys: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, idempotency_key: str, notice: Notice) -> bool:
        """Keep a notice; False when it came before."""
        with self._lock:
            if idempotency_key in self._keys:
                return False
            self._keys.add(idempotency_key)
            self.notices.append(notice)
            return True

    def is_authentic(self, timestamp: str, signature: str, body: bytes) -> bool:
        """Tell whether a body was signed with the key."""
        signed = hmac.new(self.key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(f"v1={signed}", signature)


@contextmanager
def open_inbox(key: str, show: Callable[[Notice], None]) -> Iterator[Inbox]:
    """Receive notices until the block is left, and show each as it comes."""
    inbox = Inbox(key)

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            timestamp, signature = (self.headers.get(f"Driftline-{it}", "") for it in ("Timestamp", "Signature"))
            authentic = inbox.is_authentic(timestamp, signature, body)
            self.send_response(204 if authentic else 401)
            self.end_headers()
            if authentic and inbox.take(self.headers.get("Idempotency-Key", ""), notice := json.loads(body)):
                show(notice)

        def log_message(self, *_: object) -> None:
            """Say nothing: the notices are shown."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    inbox.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, name="inbox", daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

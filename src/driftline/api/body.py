"""Request bodies: bounded while they arrive, and while they are decompressed."""

import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Annotated

import pyarrow as pa
from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftline.api.problem import Refusal
from driftline.settings import Settings

_MIB = 1 << 20
_BLOCK = 1 << 20
_DRAINED = 1 << 30
"""So much of a body that is too large is read and thrown away: most clients read an answer only after that."""


class LimitBody:
    """Refuses bodies over the limit (413) while they arrive, before anything holds them in memory."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with a `receive` that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name, limit = limit_of(scope["method"], scope["path"], self._settings)
        declared, waits = _read_length(scope)
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            if declared > limit and waits:  # the client asked first: it need not send the body at all
                raise make_refusal(name, limit)
            message = await receive()
            received += len(message.get("body", b""))
            if max(received, declared) > limit and message["type"] == "http.request":
                await _drain(receive, message, received)
                raise make_refusal(name, limit)
            return message

        await self._app(scope, receive_bounded, send)


def limit_of(method: str, path: str, settings: Settings) -> tuple[str, int]:
    """Give the setting that bounds a request's body, and the bound in bytes."""
    if method == "PUT" and path.endswith("/reference"):
        return "max_reference_mb", settings.max_reference_mb * _MIB
    return "max_body_mb", settings.max_body_mb * _MIB


def make_refusal(name: str, limit: int) -> Refusal:
    """Make the 413 of a body over the limit that the setting `name` gives."""
    fix = (
        "send a sample of the rows, or build the reference locally with `driftline reference build`"
        if name == "max_reference_mb"
        else "send the rows in several requests"
    )
    return Refusal(
        "body-too-large",
        f"the body is larger than {limit // _MIB} MiB, decompressed; {fix}, or raise the setting {name}",
        field="body",
    )


def decompress(source: IO[bytes], encoding: str, name: str, limit: int) -> Iterator[bytes]:
    """Give the content of a body in blocks, as its Content-Encoding says; never more than `limit` bytes.

    Raises Refusal for another encoding, bytes that are not in it, or more than `limit` bytes.
    """
    total = 0
    try:
        with _open(source, encoding) as stream:
            while block := stream.read(_BLOCK):
                total += len(block)
                if total > limit:
                    raise make_refusal(name, limit)
                yield block
    except (OSError, pa.ArrowException) as error:
        raise Refusal(
            "invalid-request",
            f"the body is not {encoding}, as its Content-Encoding says: {error}",
            field="Content-Encoding",
        ) from error


def encoding_of(request: Request) -> str:
    """Give the Content-Encoding of a body, '' for none. Refusal for one that driftline does not read."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "zstd"):
        raise Refusal(
            "unsupported-media-type",
            f"Content-Encoding {encoding!r} is not known; use gzip or zstd, or send the body as it is",
            field="Content-Encoding",
            headers={"Accept-Encoding": "gzip, zstd"},
        )
    return "" if encoding == "identity" else encoding.removeprefix("x-")


async def _spool(request: Request) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="driftline-upload-") as folder:
        path = Path(folder) / "body"
        with path.open("wb") as file:
            waiting = bytearray()
            async for chunk in request.stream():
                waiting += chunk
                if len(waiting) >= _BLOCK:
                    await run_in_threadpool(file.write, bytes(waiting))
                    waiting.clear()
            file.write(waiting)
        yield path


async def _read_whole(request: Request) -> bytes:
    return await request.body()


WholeBody = Annotated[bytes, Depends(_read_whole)]
"""The body as it came."""


def unpack_body(request: Request, body: bytes, settings: Settings) -> bytes:
    """Decompress a body as its Content-Encoding says. Raises Refusal."""
    encoding = encoding_of(request)
    if not encoding:
        return body
    name, limit = limit_of(request.method, request.url.path, settings)
    return b"".join(decompress(io.BytesIO(body), encoding, name, limit))


SpooledBody = Annotated[Path, Depends(_spool)]
"""The body in a temporary file, which is gone after the answer."""


async def _drain(receive: Receive, message: Message, received: int) -> None:
    while message.get("more_body", False) and received < _DRAINED:
        message = await receive()
        received += len(message.get("body", b""))


def _read_length(scope: Scope) -> tuple[int, bool]:
    """Give the declared length of the body (0: not declared), and whether the client waits for a go-ahead."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0, headers.get(b"expect", b"").lower() == b"100-continue"


def _open(source: IO[bytes], encoding: str) -> pa.NativeFile:
    file = pa.PythonFile(source, mode="r")
    return pa.CompressedInputStream(file, encoding) if encoding else file

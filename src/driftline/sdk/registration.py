"""A version made known to driftline from where it was trained: registered, with what it was trained on."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from driftline.sdk.client import Client
from driftline.sdk.options import InvalidOption, read_options

REFERENCE_TYPE = "application/vnd.driftline.reference"
_MEDIA_TYPES = {
    ".driftline": REFERENCE_TYPE,
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".feather": "application/vnd.apache.arrow.file",
    ".csv": "text/csv",
}


def register(model: str, version: str, *, url: str | None = None, timeout_s: float = 60.0, **fields: Any) -> None:
    """Register a version, and with its first version the model; what is there already stays.

    `fields` are those of `POST /models`, such as `window="15m"`, `task="binary"` or `schema={"features": […]}`;
    `url` defaults to `DRIFTLINE_URL`. Raises Unavailable when the server does not answer, Refused when it is
    there with other fields.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    _send(url, timeout_s, "POST", "/models", {"model_id": model, "version": version, **given})


def upload_reference(
    model: str,
    version: str,
    data: str | Path | bytes,
    *,
    url: str | None = None,
    timeout_s: float = 300.0,
    **fields: Any,
) -> dict[str, Any]:
    """Register a version and send what it was trained on; gives what the server made of it.

    `data` is the path of training data (Parquet, CSV, Arrow, read into memory as a whole) or of a reference that
    `driftline reference build` made, or the bytes of such a reference. `fields` are those of `register`, and so
    are the errors. Sent again, the same data change nothing.
    """
    body, media_type = (data, REFERENCE_TYPE) if isinstance(data, bytes) else _read(Path(data))
    register(model, version, url=url, timeout_s=timeout_s, **fields)
    path = f"/models/{quote(model, safe='')}/versions/{quote(version, safe='')}/reference"
    return _send(url, timeout_s, "PUT", path, body, media_type)


def _read(path: Path) -> tuple[bytes, str]:
    media_type = _MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise InvalidOption(f"{path} has none of the endings {', '.join(_MEDIA_TYPES)}; rename or convert it")
    return path.read_bytes(), media_type


def _send(
    url: str | None,
    timeout_s: float,
    method: str,
    path: str,
    content: Mapping[str, Any] | bytes,
    media_type: str = "application/json",
) -> dict[str, Any]:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    with closing(Client(_find_url(url), timeout_s)) as client:
        reply = client.request(method, path, body=body, headers={"Content-Type": media_type})
    return msgspec.json.decode(reply.body, type=dict[str, Any])


def _find_url(url: str | None) -> str:
    found = read_options({"url": url}).url
    if found is None:
        raise InvalidOption("there is no url; give url=, or set DRIFTLINE_URL to that of the driftline server")
    return found

"""CloudEvents 1.0 over HTTP: binary (attributes in headers), structured (one JSON object) and batched."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from driftline.core.errors import InvalidPayload
from driftline.log.json_body import JSON

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
MAX_EVENTS = 10_000
_PREFIX = "ce-"
_REQUIRED = ("id", "type")
_T = TypeVar("_T")

_one = msgspec.json.Decoder(dict[str, msgspec.Raw])
_several = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """One event: its attributes by name, `id` and `type` among them, and its data as sent."""

    attributes: Mapping[str, str]
    data: bytes


def read_events(headers: Mapping[str, str], body: bytes) -> list[CloudEvent]:
    """Read the events of a request; `headers` by lower-case name. Raises InvalidPayload.

    >>> read_events({"ce-id": "a", "ce-type": "t", "content-type": "text/plain"}, b"x")
    [CloudEvent(attributes={'id': 'a', 'type': 't', 'datacontenttype': 'text/plain'}, data=b'x')]
    """
    content_type = headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == STRUCTURED:
        return [_read_structured(_decode(_one, body))]
    if media_type == BATCHED:
        events = _decode(_several, body)
        if len(events) > MAX_EVENTS:
            raise InvalidPayload(f"{len(events):,} events; send at most {MAX_EVENTS:,} at a time", field="body")
        return [_read_structured(event) for event in events]
    attributes = {
        name.removeprefix(_PREFIX): unquote(value) for name, value in headers.items() if name.startswith(_PREFIX)
    }
    return [CloudEvent(_check(attributes) | {"datacontenttype": content_type}, body)]


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPayload(f"no CloudEvents in JSON: {error}", field="body") from None


def _read_structured(event: dict[str, msgspec.Raw]) -> CloudEvent:
    attributes = {
        name.lower(): value
        for name, raw in event.items()
        if name not in ("data", "data_base64") and isinstance(value := msgspec.json.decode(raw), str)
    }
    return CloudEvent({"datacontenttype": JSON} | _check(attributes), _read_data(event))


def _read_data(event: Mapping[str, msgspec.Raw]) -> bytes:
    if "data_base64" in event:
        try:
            return base64.b64decode(msgspec.json.decode(event["data_base64"], type=str), validate=True)
        except (msgspec.MsgspecError, binascii.Error) as error:
            raise InvalidPayload(f"data_base64 is not base64: {error}", field="data_base64") from None
    raw = bytes(event.get("data", b"null"))
    if raw[:1] == b'"':  # data that is a text, such as JSON within JSON
        return str(msgspec.json.decode(raw)).encode(errors="replace")
    return raw


def _check(attributes: dict[str, str]) -> dict[str, str]:
    for name in _REQUIRED:
        if not attributes.get(name):
            raise InvalidPayload(
                f"this is no CloudEvent: {name} is missing; send it as header {_PREFIX}{name}, or as a field of "
                f"{STRUCTURED}",
                field=f"{_PREFIX}{name}",
            )
    return attributes

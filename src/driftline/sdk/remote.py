"""What the server says of a model version: its schema, its N, and whether the fallback is active."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from driftline.core.errors import InvalidSchema
from driftline.core.sampling import MAX_N
from driftline.core.schema import Schema
from driftline.sdk.client import Client
from driftline.sdk.notices import Notices
from driftline.sdk.parcel import Refused, Unavailable
from driftline.sdk.pauses import backoff, spread

_ADVICE = {
    "not-found": "predictions wait until it is registered",
    "no-schema": "predictions wait until it has one",
}


@dataclass(frozen=True, slots=True)
class VersionSettings:
    """What holds for a model version: one prediction in `sampling_n` is kept, one label in `label_n` sent."""

    schema: Schema
    sampling_n: int
    label_n: int
    fallback_active: bool


class Remote:
    """The settings of a version, asked for every `refresh_s` seconds (± 20 %, so that workers spread out).

    `settings` is None until the server has answered. While it does not, it is asked less and less often.
    """

    def __init__(self, client: Client, model: str, version: str, refresh_s: float, notices: Notices) -> None:
        self.settings: VersionSettings | None = None
        self.due = 0.0
        self._client = client
        self._path = f"/models/{quote(model, safe='')}/versions/{quote(version, safe='')}/settings"
        self._refresh_s = refresh_s
        self._notices = notices
        self._etag: str | None = None
        self._failures = 0

    def refresh(self, now: float, *, hurry: bool = False) -> bool:
        """Ask the server if it is time to, or in a hurry; tells whether the settings changed.

        `now` is monotonic seconds.
        """
        if now < self.due and not hurry:
            return False
        pause = self._refresh_s
        try:
            return self._ask()
        except Unavailable as error:
            self._failures += 1
            pause = max(error.retry_after_s, backoff(self._failures + 1))
            self._notices.warn("settings-unavailable", f"the settings cannot be read yet: {error}")
        except Refused as refusal:
            advice = f" ({_ADVICE[refusal.kind]})" if refusal.kind in _ADVICE else ""
            self._notices.warn(refusal.kind, f"the settings cannot be read: {refusal}{advice}")
        finally:
            self.due = now + spread(pause, 0.2)
        return False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self) -> bool:
        headers = {} if self._etag is None else {"If-None-Match": self._etag}
        reply = self._client.request("GET", self._path, headers=headers)
        self._failures = 0
        if reply.status == 304:
            return False
        self.settings = read_settings(reply.body)
        self._etag = reply.headers.get("etag")
        return True


def read_settings(body: bytes) -> VersionSettings:
    """Read a reply of the settings endpoint. Raises Refused for anything else."""
    try:
        content: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        return VersionSettings(
            schema=Schema.from_dict(content["schema"]),
            sampling_n=_read_n(content["sampling_n"]),
            label_n=_read_n(content["label_n"]),
            fallback_active=content["fallback_active"] is True,
        )
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, InvalidSchema) as error:
        raise Refused(
            f"the answer cannot be read ({type(error).__name__}: {error}); is DRIFTLINE_URL that of a driftline "
            "server of this version?",
            kind="settings",
        ) from None


def _read_n(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= MAX_N:
        raise ValueError(f"N is {value!r}")
    return value

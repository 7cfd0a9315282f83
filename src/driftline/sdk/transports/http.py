"""Parcels to a driftline server over HTTP."""

from typing import Any

import msgspec

from driftline.sdk.client import Client
from driftline.sdk.notices import Notices
from driftline.sdk.parcel import BATCH_TYPE, NDJSON_TYPE, Content, Parcel, Refused, Unavailable

_PLACES = {
    Content.PREDICTIONS: ("/predictions", BATCH_TYPE),
    Content.LABELS: ("/labels", NDJSON_TYPE),
}
_NOT_ITS_OWN = frozenset({"401", "403", "404"})
"""Refusals without a problem of driftline's: a proxy answers so for a server that is being started again."""


class HttpTransport:
    """POST /predictions and /labels, with the parcel's id as `Idempotency-Key`: sent twice, it counts once."""

    def __init__(self, client: Client, notices: Notices) -> None:
        self._client = client
        self._notices = notices

    def send(self, parcel: Parcel) -> int:
        """Send a parcel; 202 means that it is durable. Gives how many of its rows are dead letters.

        Raises Unavailable, and Refused only when it is driftline that refuses.
        """
        path, media_type = _PLACES[parcel.content]
        headers = {"Content-Type": media_type, "Idempotency-Key": parcel.parcel_id}
        try:
            reply = self._client.request("POST", path, body=parcel.data, headers=headers)
        except Refused as refusal:
            if refusal.kind in _NOT_ITS_OWN:
                raise Unavailable(f"no driftline answers there: {refusal}; check DRIFTLINE_URL") from None
            raise
        letters = _dead_letters(reply.body)
        if letters:
            self._notices.warn(
                f"dead-letter-{letters[0].get('reason_code')}",
                f"the server keeps {parcel.content} rows as dead letters: {letters[0].get('reason')}",
            )
        return min(len(letters), parcel.rows)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _dead_letters(body: bytes) -> list[dict[str, Any]]:
    try:
        content = msgspec.json.decode(body, type=dict[str, Any])
        return [letter for letter in content.get("dead_lettered", ()) if isinstance(letter, dict)]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return []

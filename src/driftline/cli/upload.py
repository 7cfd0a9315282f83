"""Pieces sent to a driftline over HTTP: again while it is away, smaller where it says so."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from driftline.cli.pieces import LABELS, Piece, halve
from driftline.cli.server import ServerAway, read_detail
from driftline.core.errors import InvalidInput
from driftline.core.schema import Schema

PATIENCE_S = 60.0
"""So long a server that is away is asked again."""
_TOO_LARGE = 413
_AWAY = frozenset({429, 502, 503, 504})


@dataclass(slots=True)
class Tally:
    """What became of a file's rows; `problem` is why the rest of the file was not sent, None when all was."""

    accepted: int = 0
    duplicates: int = 0
    not_sampled: int = 0
    dead_lettered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    problem: str | None = None

    def add(self, answer: dict[str, Any]) -> None:
        """Count the answer to one request."""
        self.accepted += answer["accepted"]
        self.duplicates += answer.get("duplicates", 0)
        self.not_sampled += answer.get("not_sampled", 0)
        listed = answer["dead_lettered"]
        self.reasons.update(row["reason_code"] for row in listed)
        self.dead_lettered += len(listed) + answer.get("dead_lettered_more", 0)


def send_pieces(client: httpx.Client, pieces: Iterable[Piece], advance: Callable[[int], None]) -> Tally:
    """Send the pieces of a file in order, and stop where it is damaged or one is refused as a whole.

    Raises ServerAway.
    """
    tally = Tally()
    try:
        for piece in pieces:
            tally.problem = _send_piece(client, piece, tally)
            if tally.problem is not None:
                break
            advance(piece.share)
    except InvalidInput as error:
        tally.problem = str(error)
    return tally


def find_schema(client: httpx.Client, model_id: str, version: str) -> tuple[Schema | None, str | None]:
    """Ask for the schema of a version: it, or why there is none. Raises ServerAway."""
    answer = _ask(client, "GET", f"/models/{model_id}/versions/{version}/settings")
    if answer.is_success:
        return Schema.from_dict(answer.json()["schema"]), None
    return None, read_detail(answer)


def _send_piece(client: httpx.Client, piece: Piece, tally: Tally) -> str | None:
    answer = _ask(
        client,
        "POST",
        piece.target,
        content=piece.body,
        params=dict(piece.query) if piece.target != LABELS else _model_only(piece),
        headers={"Content-Type": piece.media_type, "Idempotency-Key": piece.key},
    )
    if answer.status_code == _TOO_LARGE and (smaller := halve(piece)):
        problems = (_send_piece(client, part, tally) for part in smaller)
        return next((problem for problem in problems if problem is not None), None)
    if not answer.is_success:
        return read_detail(answer)
    tally.add(answer.json())
    return None


def _model_only(piece: Piece) -> dict[str, str]:
    return {name: value for name, value in piece.query.items() if name in ("model_id", "import_id")}


def _ask(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """Send a request, again with growing pauses while the server is away."""
    deadline = time.monotonic() + PATIENCE_S
    pause = 0.25
    while True:
        try:
            answer = client.request(method, path, **request)
        except httpx.InvalidURL as error:
            raise ServerAway(f"{client.base_url} is no URL: {error}; check --url or DRIFTLINE_URL") from None
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
        else:
            if answer.status_code not in _AWAY:
                return answer
            why = read_detail(answer)
        if time.monotonic() + pause > deadline:
            raise ServerAway(
                f"{client.base_url} does not answer ({why}); check --url or DRIFTLINE_URL, then run the same "
                "command again: what was taken in is not counted twice"
            )
        time.sleep(pause)
        pause = min(2 * pause, 8.0)

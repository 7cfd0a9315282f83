"""The header Idempotency-Key: a request that has one is taken in once in 24 hours."""

from typing import Annotated

from fastapi import Depends, Header

from driftline.api.problem import Refusal

_MAX_KEY = 255


async def _check_key(
    idempotency_key: Annotated[str | None, Header(description="Names the request: taken in once in 24 h.")] = None,
) -> str | None:
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= _MAX_KEY:
        raise Refusal(
            "invalid-request",
            f"Idempotency-Key has {len(idempotency_key)} characters; use 1 to {_MAX_KEY}, e.g. a UUID",
            field="Idempotency-Key",
        )
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(_check_key)]


def refuse_reuse(key: str | None) -> Refusal:
    """Make the 409 of a key, or of a batch id that stands for one, that was used for another body."""
    what = "the batch_id" if key is None else f"the Idempotency-Key {key[:40]!r}"
    return Refusal(
        "conflict",
        f"{what} was used for another body in the last 24 hours; nothing of this one was kept: send it with a new "
        "one, or send the first body unchanged",
        field="Idempotency-Key",
    )

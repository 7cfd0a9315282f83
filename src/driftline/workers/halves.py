"""Halves of logged calls as dead letters: the server failed, or the other half never came."""

from driftline.core.moment import from_micros
from driftline.store.dead_letters import Refused
from driftline.store.event_halves import Half, Side

CLOUD_EVENTS = "cloudevents"
"""What stands for a topic in dead letters of events; they cannot be replayed."""


def refuse_half(half: Half, code: str, reason: str) -> Refused:
    """Refuse half of a call that a serving platform logged."""
    headers = {"side": str(half.side), "timestamp": from_micros(half.event_time).isoformat()}
    return Refused(
        CLOUD_EVENTS, code, reason, half.payload, half.model_id, half.model_version, half.event_id, headers=headers
    )


def refuse_unpaired(half: Half) -> Refused:
    """Say that the other half of a call never came."""
    other = "response" if half.side == Side.REQUEST else "request"
    reason = (
        f"no {other} with the id {half.event_id!r} came within an hour of the {half.side}: the call failed, or "
        "the logger's mode is not all"
    )
    return refuse_half(half, "unpaired", reason)

"""What a look at an incident decides: whom to tell what, or why to tell nothing."""

from dataclasses import dataclass
from enum import StrEnum

from driftline.core.alert import Alert
from driftline.core.incident import Told
from driftline.core.notice import Kind
from driftline.core.rules import Severity


class Reason(StrEnum):
    """Why a destination is told nothing."""

    NO_DESTINATION = "no_destination"  # none takes the severity, or a less severe one
    SILENCED = "silenced"
    INHIBITED = "inhibited"  # broken data explain it
    QUIET_HOURS = "quiet_hours"
    TOO_SOON = "too_soon"  # after the last notice: it joins the next one
    ALREADY_TOLD = "already_told"
    ACKNOWLEDGED = "acknowledged"  # somebody is on it: neither repeated nor escalated
    RESOLVED_BEFORE_TOLD = "resolved_before_told"
    DESTINATION_REMOVED = "destination_removed"  # the settings do not name it any more


class Cause(StrEnum):
    """Why a notice is sent."""

    NEW = "new"  # alerts that the destination was not told of
    REPEATED = "repeated"  # still firing
    ESCALATED = "escalated"  # nobody acknowledged
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for a destination ("" for all), of one alert or (None) of the incident as a whole."""

    destination: str
    alert_id: int | None
    outcome: Kind | Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What a destination is to be told: of `alerts`, `news` of which it was not told before.

    `reopens`: it is news after the last acknowledgement that it was told of.
    """

    destination: str
    kind: Kind
    cause: Cause
    severity: Severity
    alerts: tuple[Alert, ...]
    news: tuple[Alert, ...] = ()
    reopens: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an incident decides. `told` are the destinations' new states, those that changed.

    `due_at` is when to look again at the latest, microseconds; None: when something happens. `is_over` says that
    the incident ends with this look, `escalated` that its next higher severity was told.
    """

    messages: tuple[Message, ...]
    decisions: tuple[Decision, ...]
    told: tuple[Told, ...]
    due_at: int | None
    is_over: bool
    escalated: bool = False

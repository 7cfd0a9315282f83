"""An incident, and what a destination was told of it, as those see it who decide what is told next."""

from collections.abc import Mapping
from dataclasses import dataclass

from driftline.core.alert import Alert
from driftline.core.rules import Severity


@dataclass(frozen=True, slots=True)
class Incident:
    """Alerts that belong together: of a model, or of models of a team that share a source. Times are microseconds.

    Model and version are those of its first alert. `acknowledged_at` is the last acknowledgement, None for none;
    `acknowledged_alert_id` the newest alert that there was then, 0 for none.
    """

    incident_id: int
    model_id: str
    model_version: str
    team: str
    opened_at: int
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    acknowledged_alert_id: int = 0

    def is_acknowledged(self, alert: Alert) -> bool:
        """Tell whether an alert was there at the acknowledgement: neither stored later nor opened again later."""
        if self.acknowledged_at is None:
            return False
        return alert.alert_id <= self.acknowledged_alert_id and alert.fired_at <= self.acknowledged_at


@dataclass(frozen=True, slots=True)
class Told:
    """What a destination was told of an incident.

    `severity` is the worst so far, `alerts` says when it was told of which alert (by `alert_id`, microseconds),
    `told_at` when it was last told that something fires, `acknowledged_at` the acknowledgement it was told of.
    `escalated` are the alerts (ids) that concern it since nobody acknowledged them. `resolved_at` is when it was
    told that all that concerned it is over; what concerns it later begins anew.
    """

    destination: str
    severity: Severity
    alerts: Mapping[int, int]
    told_at: int
    acknowledged_at: int | None = None
    escalated: frozenset[int] = frozenset()
    resolved_at: int | None = None

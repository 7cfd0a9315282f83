"""Escalation: what nobody acknowledges goes to the destinations of the next higher severity as well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from driftline.core.alert import Alert, worst_severity
from driftline.core.incident import Incident, Told
from driftline.core.routing import Route, find_routes
from driftline.core.rules import Severity

NEXT_HIGHER = {Severity.HIGH: Severity.CRITICAL}
"""From which severities it goes where: there is nothing above CRITICAL, and MEDIUM and LOW can wait."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """Which destinations (their names) would be told as well, and when, microseconds; None: they will not be.

    `alerts` are those (ids) for whose sake they would be told.
    """

    targets: frozenset[str]
    at: int | None
    is_due: bool
    alerts: frozenset[int] = frozenset()


_NOWHERE = Escalation(frozenset(), None, False)


def decide_escalation(
    incident: Incident,
    audible: Sequence[Alert],
    told: Mapping[str, Told],
    routes: Sequence[Route],
    now: int,
) -> Escalation:
    """Decide whether an incident is to be escalated: so long after somebody was told of its audible alerts.

    Alerts that were there at the last acknowledgement do not count.
    """
    if not audible:
        return _NOWHERE
    worst = worst_severity({alert.severity for alert in audible})
    higher = NEXT_HIGHER.get(worst)
    if higher is None:
        return _NOWHERE
    names = frozenset(route.name for route in find_routes(routes, incident.team, higher))
    fresh = [alert for alert in audible if not incident.is_acknowledged(alert)]
    urgent = frozenset(alert.alert_id for alert in fresh if alert.severity is worst)
    waiting = [
        told[route.name].alerts[alert.alert_id] + route.escalate_after
        for route in routes
        if route.escalate_after is not None and route.name in told
        for alert in fresh
        if alert.alert_id in told[route.name].alerts
    ]
    if not waiting or not urgent:
        return Escalation(names, None, False)
    return Escalation(names, min(waiting), min(waiting) <= now, urgent)

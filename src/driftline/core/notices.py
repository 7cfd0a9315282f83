"""From alerts to notices: at one look at an incident, what each destination is told, or why it is told nothing.

Small deciders, one after the other, each with its reason: silenced, inhibited, no destination; then for each
destination quiet hours, too soon after the last notice, told already, acknowledged. The clock is an argument, and
all memory is in what the destinations were told: the same look after a restart decides the same.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from driftline.core.alert import Alert, is_worse, worst_severity
from driftline.core.decision import Cause, Decision, Look, Message, Reason
from driftline.core.escalation import decide_escalation
from driftline.core.incident import Incident, Told
from driftline.core.inhibition import find_inhibitors
from driftline.core.moment import format_time
from driftline.core.notice import Kind
from driftline.core.routing import Route, find_routes
from driftline.core.rules import Severity
from driftline.core.silence import Silence, find_silence
from driftline.core.window import MICROSECONDS


@dataclass(frozen=True, slots=True)
class _Mute:
    reason: Reason
    detail: str
    until: int | None = None  # None: until the alert that mutes it is over, which is looked at anyway


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all destinations have in common at a look."""

    incident: Incident
    standing: tuple[Alert, ...]  # open alerts
    audible: tuple[Alert, ...]  # those of them that are not muted
    mutes: Mapping[int, _Mute]
    told: Mapping[str, Told]  # by destination, those as well that were told that it is over
    is_acknowledged: bool
    now: int
    update_interval: int


@dataclass(slots=True)
class _Said:
    """What is being decided, destination by destination."""

    messages: list[Message] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    dues: list[int] = field(default_factory=list)

    def record(self, destination: str, alerts: Sequence[Alert], outcome: Kind | Reason, detail: str) -> None:
        """Say what was decided of alerts, or (of none) of the incident as a whole."""
        ids: list[int | None] = [alert.alert_id for alert in alerts] or [None]
        self.decisions += [Decision(destination, each, outcome, detail) for each in ids]

    def hold(
        self, destination: str, alerts: Sequence[Alert], reason: Reason, detail: str, until: int | None
    ) -> None:
        """Say why a destination is not told, and when to look again."""
        self.record(destination, alerts, reason, detail)
        self.dues += [] if until is None else [until]


def look_at_incident(
    incident: Incident,
    alerts: Sequence[Alert],
    told: Mapping[str, Told],
    routes: Sequence[Route],
    silences: Sequence[Silence],
    now: int,
    *,
    update_interval: int = 60 * MICROSECONDS,
) -> Look:
    """Decide what the destinations are told of an incident now. `alerts` are all of it, `told` by destination.

    New alerts of no worse severity wait for `update_interval` (microseconds) after a notice, and come together.

    >>> incident = Incident(17, "fraud", "3", "", opened_at=0)
    >>> alert = Alert(1, "auc", "fraud", "3", "performance_roc_auc", 0.7, 0.8, Severity.CRITICAL, fired_at=0)
    >>> look = look_at_incident(incident, [alert], {}, [Route("pager")], [], now=5)
    >>> [(message.destination, message.kind.value) for message in look.messages]
    [('pager', 'trigger')]
    >>> told = {each.destination: each for each in look.told}
    >>> again = look_at_incident(incident, [alert], told, [Route("pager")], [], now=6)
    >>> [decision.outcome.value for decision in again.decisions]
    ['already_told']
    """
    standing = tuple(alert for alert in alerts if alert.is_open)
    audience = {
        severity: {route.name for route in find_routes(routes, incident.team, severity)}
        for severity in {alert.severity for alert in alerts}
    }
    said = _Said()
    _explain_missed(alerts, told, audience, said)
    active = {name: each for name, each in told.items() if each.resolved_at is None}
    if not standing:
        _resolve(alerts, active, routes, now, said)
        return Look(tuple(said.messages), tuple(said.decisions), tuple(said.told), None, is_over=True)
    mutes = _find_mutes(standing, audience, silences, now)
    scene = _see(incident, standing, mutes, told, now, update_interval)
    said.dues += [mute.until for mute in mutes.values() if mute.until is not None]
    escalation = decide_escalation(incident, scene.audible, active, routes, now)
    for route in routes:
        before = active.get(route.name)
        meant = {alert.alert_id for alert in standing if route.name in audience[alert.severity]}
        raised = route.name in escalation.targets
        added = escalation.alerts - meant if raised and escalation.is_due else frozenset()
        escalated = _find_escalated(scene, before) | added
        if concern := meant | escalated:
            _decide(scene, route, before, concern, escalated, said)
        elif before is not None:
            known = tuple(alert for alert in alerts if alert.alert_id in before.alerts)
            said.told.append(_tell_over(tuple(a for a in known if not a.is_open) or known, before, now, said))
        elif raised and scene.is_acknowledged:
            said.hold(route.name, (), Reason.ACKNOWLEDGED, _name_acknowledgement(incident), None)
    _await_escalation(scene, active, audience, routes, said)
    for name in sorted(set(active) - {route.name for route in routes}):
        said.hold(name, (), Reason.DESTINATION_REMOVED, "", None)
    return Look(
        tuple(said.messages),
        tuple(said.decisions),
        tuple(said.told),
        min(said.dues, default=None),
        is_over=False,
        escalated=any(message.cause is Cause.ESCALATED for message in said.messages),
    )


def _see(
    incident: Incident,
    standing: tuple[Alert, ...],
    mutes: Mapping[int, _Mute],
    told: Mapping[str, Told],
    now: int,
    update_interval: int,
) -> _Scene:
    audible = tuple(alert for alert in standing if alert.alert_id not in mutes)
    return _Scene(
        incident=incident,
        standing=standing,
        audible=audible,
        mutes=mutes,
        told=told,
        is_acknowledged=incident.acknowledged_at is not None and all(map(incident.is_acknowledged, audible)),
        now=now,
        update_interval=update_interval,
    )


def _find_escalated(scene: _Scene, before: Told | None) -> frozenset[int]:
    """Find the alerts that a destination was told of since nobody acknowledged them, and that still stand."""
    return frozenset() if before is None else before.escalated & {alert.alert_id for alert in scene.standing}


def _await_escalation(
    scene: _Scene,
    active: Mapping[str, Told],
    audience: Mapping[Severity, set[str]],
    routes: Sequence[Route],
    said: _Said,
) -> None:
    """Look again when an alert comes to concern destinations that it does not concern yet."""
    after = {**active, **{each.destination: each for each in said.told}}
    after = {name: each for name, each in after.items() if each.resolved_at is None}
    later = decide_escalation(scene.incident, scene.audible, after, routes, scene.now)
    urgent = [alert for alert in scene.audible if alert.alert_id in later.alerts]
    if (
        later.at is not None
        and not later.is_due
        and any(
            name not in audience[alert.severity] and alert.alert_id not in _find_escalated(scene, after.get(name))
            for name in later.targets
            for alert in urgent
        )
    ):
        said.dues.append(later.at)


def _find_mutes(
    standing: Sequence[Alert], audience: Mapping[Severity, set[str]], silences: Sequence[Silence], now: int
) -> dict[int, _Mute]:
    """Find what is not told for now, and why. What nobody would be told of mutes nothing."""
    inhibitors = find_inhibitors(alert for alert in standing if audience[alert.severity])
    mutes = {}
    for alert in standing:
        if silence := find_silence(alert, silences, now):
            until = format_time(silence.ends_at)
            detail = f"silence {silence.silence_id} of {silence.author} until {until}: {silence.comment}"
            mutes[alert.alert_id] = _Mute(Reason.SILENCED, detail, silence.ends_at)
        elif by := inhibitors.get(alert.alert_id):
            detail = f"alert {by.alert_id}: {by.metric} of {by.feature or by.worst}"
            mutes[alert.alert_id] = _Mute(Reason.INHIBITED, detail)
    return mutes


def _explain_missed(
    alerts: Sequence[Alert], told: Mapping[str, Told], audience: Mapping[Severity, set[str]], said: _Said
) -> None:
    """Say of which alerts nobody is told: there is no destination, or they were over too soon."""
    for alert in alerts:
        names = audience[alert.severity]
        if alert.is_open and not names:
            said.hold("", [alert], Reason.NO_DESTINATION, f"nobody takes {alert.severity}", None)
        elif not alert.is_open:
            for name in sorted(names) or [""]:
                if name not in told or alert.alert_id not in told[name].alerts:
                    said.hold(name, [alert], Reason.RESOLVED_BEFORE_TOLD, "", None)


def _decide(
    scene: _Scene,
    route: Route,
    before: Told | None,
    concern: Set[int],
    escalated: frozenset[int],
    said: _Said,
) -> None:
    """Decide what one destination is told: first of new alerts, then of an acknowledgement, else again.

    `concern` are the standing alerts that are for it, `escalated` those that are since nobody acknowledged them.
    """
    known: Mapping[int, int] = {} if before is None else before.alerts
    waiting = [
        alert
        for alert in scene.standing
        if alert.alert_id not in known and (before is not None or alert.alert_id in concern)
    ]
    for alert in waiting:
        if mute := scene.mutes.get(alert.alert_id):
            said.hold(route.name, [alert], mute.reason, mute.detail, mute.until)
    news = [alert for alert in waiting if alert.alert_id not in scene.mutes]
    after, wants = before, bool(news) or _is_due_again(scene, route, before, concern)
    if wants:
        cause = Cause.ESCALATED if escalated and before is None else Cause.NEW
        after = _tell(scene, route, before, news, concern, cause, said)
    if after is None:
        return
    if after.escalated != escalated:
        after = replace(after, escalated=escalated)
    if scene.is_acknowledged and after.acknowledged_at != scene.incident.acknowledged_at:
        after = _tell_acknowledged(scene, after, said)
    elif not wants:
        _explain_quiet(scene, route, after, concern, said)
    if after is not before:
        said.told.append(after)
    if (again := _find_repeat(scene, route, after, concern)) is not None and again > scene.now:
        said.dues.append(again)


def _find_repeat(scene: _Scene, route: Route, before: Told | None, concern: Set[int]) -> int | None:
    """Give when a destination is to be told again of what concerns it and still fires; None for never."""
    if (
        before is None
        or route.repeat_interval is None
        or scene.is_acknowledged
        or not concern - scene.mutes.keys()
    ):
        return None
    return before.told_at + route.repeat_interval


def _is_due_again(scene: _Scene, route: Route, before: Told | None, concern: Set[int]) -> bool:
    again = _find_repeat(scene, route, before, concern)
    return again is not None and again <= scene.now


def _tell(
    scene: _Scene,
    route: Route,
    before: Told | None,
    news: Sequence[Alert],
    concern: Set[int],
    cause: Cause,
    said: _Said,
) -> Told | None:
    """Tell of all that is audible, because of new alerts or because it is time, unless it must wait."""
    is_again = _is_due_again(scene, route, before, concern)
    worst = worst_severity({alert.severity for alert in (scene.audible if is_again else news)})
    if (until := route.quiet_until(worst, scene.now)) is not None:
        said.hold(route.name, news, Reason.QUIET_HOURS, f"until {format_time(until)}", until)
        return before
    if before is not None and not is_again and not is_worse(worst, before.severity):
        earliest = before.told_at + scene.update_interval
        if scene.now < earliest:
            said.hold(route.name, news, Reason.TOO_SOON, f"until {format_time(earliest)}", earliest)
            return before
    known: Mapping[int, int] = {} if before is None else before.alerts
    kind = Kind.TRIGGER if before is None else Kind.UPDATE
    fresh = tuple(alert for alert in scene.audible if alert.alert_id not in known)
    why = cause if fresh else Cause.REPEATED
    severity = _find_severity(scene, before)
    calmed = before is not None and before.acknowledged_at is not None
    reopens = calmed and bool(fresh) and not scene.is_acknowledged
    said.messages.append(Message(route.name, kind, why, severity, scene.audible, fresh, reopens))
    said.record(route.name, fresh, kind, str(why))
    return Told(
        route.name,
        severity,
        {**_recall(scene, route), **{alert.alert_id: scene.now for alert in fresh}},
        scene.now,
        None if before is None or reopens else before.acknowledged_at,
    )


def _recall(scene: _Scene, route: Route) -> Mapping[int, int]:
    """Give what a destination was told of; where it was told the end, what still stands is new again."""
    if (past := scene.told.get(route.name)) is None:
        return {}
    standing = {alert.alert_id for alert in scene.standing} if past.resolved_at is not None else set()
    return {alert_id: at for alert_id, at in past.alerts.items() if alert_id not in standing}


def _tell_acknowledged(scene: _Scene, before: Told, said: _Said) -> Told:
    """Tell of an acknowledgement, whatever the hour: it calms."""
    alerts = scene.audible or scene.standing
    message = Message(before.destination, Kind.ACKNOWLEDGE, Cause.ACKNOWLEDGED, before.severity, alerts)
    said.messages.append(message)
    said.record(before.destination, (), Kind.ACKNOWLEDGE, _name_acknowledgement(scene.incident))
    return replace(before, acknowledged_at=scene.incident.acknowledged_at)


def _explain_quiet(scene: _Scene, route: Route, before: Told, concern: Set[int], said: _Said) -> None:
    """Say why a destination that knows everything is not told again."""
    if not concern - scene.mutes.keys():
        mute = scene.mutes[min(concern)]
        said.hold(route.name, (), mute.reason, mute.detail, None)
    elif scene.is_acknowledged:
        said.hold(route.name, (), Reason.ACKNOWLEDGED, _name_acknowledgement(scene.incident), None)
    else:
        again = _find_repeat(scene, route, before, concern)
        detail = "it is not told again" if again is None else f"until {format_time(again)}"
        said.hold(route.name, (), Reason.ALREADY_TOLD, detail, None)


def _tell_over(alerts: tuple[Alert, ...], before: Told, now: int, said: _Said) -> Told:
    """Tell a destination, whatever the hour, that all that concerned it is over, and begin anew with it."""
    said.messages.append(Message(before.destination, Kind.RESOLVE, Cause.RESOLVED, before.severity, alerts))
    said.record(before.destination, (), Kind.RESOLVE, "")
    return replace(before, resolved_at=now)


def _resolve(
    alerts: Sequence[Alert], active: Mapping[str, Told], routes: Sequence[Route], now: int, said: _Said
) -> None:
    """Tell those who were told, whatever the hour and the silences, that it is over."""
    names = {route.name for route in routes}
    for name, before in sorted(active.items()):
        if name not in names:
            said.hold(name, (), Reason.DESTINATION_REMOVED, "", None)
            continue
        known = tuple(alert for alert in alerts if alert.alert_id in before.alerts)
        said.told.append(_tell_over(known, before, now, said))


def _find_severity(scene: _Scene, before: Told | None) -> Severity:
    """Give the worst that is audible or was told to a destination since what concerned it was over last."""
    return worst_severity(
        {alert.severity for alert in scene.audible} | ({before.severity} if before is not None else set())
    )


def _name_acknowledgement(incident: Incident) -> str:
    return f"by {incident.acknowledged_by or 'somebody'}"

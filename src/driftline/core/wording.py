"""The words of a notice: title, summary, and the alerts ranked, the worst first."""

from collections import Counter
from collections.abc import Sequence

from driftline.core.alert import Alert, rank_alerts
from driftline.core.decision import Cause, Message
from driftline.core.incident import Incident
from driftline.core.moment import format_time
from driftline.core.notice import Breach, Notice
from driftline.core.notice import Kind as NoticeKind
from driftline.core.rule_metric import ESTIMATED, PERFORMANCE, Kind, find_metric
from driftline.core.rules import Severity

_MOST_NAMES = 5
_MOST_WINDOWS = 100
_PHRASES = {
    "data_age": "the newest data are {span} old",
    "consumer_lag": "the {name} is {span} behind",
    "cycle_delay": "windows have waited {span} for the {name}",
    "delivery_failures": "{name} does not take notices ({value:.0f} failed)",
    "reference_missing": "no reference; samples have waited {span} for it",
    "reference_outdated": "its reference is {span} older than the version",
    "failed_windows": "the drift of {value:.0f} windows could not be computed",
}


def compose_notice(
    incident: Incident, message: Message, url: str = "", approvals: Sequence[tuple[str, str]] = ()
) -> Notice:
    """Write the notice of a message; `url` is the incident's, `approvals` are actions and their addresses.

    >>> alert = Alert(1, "auc", "fraud", "3", "performance_roc_auc", 0.81, 0.86, Severity.CRITICAL, fired_at=0)
    >>> message = Message("pager", NoticeKind.TRIGGER, Cause.NEW, Severity.CRITICAL, (alert,), (alert,))
    >>> compose_notice(Incident(17, "fraud", "3", "risk", opened_at=0), message).title
    'fraud 3: roc_auc dropped to 0.81 (threshold 0.86)'
    """
    ranked = rank_alerts(message.alerts)
    windows = sorted({window for alert in ranked for window in alert.windows})
    is_over = message.cause is Cause.RESOLVED
    news = message.news if message.kind is NoticeKind.UPDATE else ()
    ends = [alert.resolved_at for alert in ranked if alert.resolved_at is not None]
    return Notice(
        kind=message.kind,
        severity=message.severity,
        model_id=incident.model_id,
        model_version=incident.model_version,
        title=write_title(ranked),
        summary=_summarise(incident, message, ranked),
        dedup_key=f"driftline/{incident.incident_id}",
        fired_at=max((alert.fired_at for alert in news), default=incident.opened_at),
        resolved_at=max(ends, default=None) if is_over else None,
        breaches=tuple(_describe(incident, alert) for alert in ranked),
        windows=tuple(windows[-_MOST_WINDOWS:]),
        url=url,
        runbook=next((alert.runbook for alert in ranked if alert.runbook), ""),
        owner=next((alert.owner for alert in ranked if alert.owner), ""),
        team=incident.team,
        approvals=() if is_over else tuple(approvals),
        reopens=message.reopens,
    )


def write_title(ranked: Sequence[Alert]) -> str:
    """Write one line about ranked alerts: the worst one, and what else there is."""
    lead, others = ranked[0], ranked[1:]
    drifted = {_subject(alert) for alert in ranked if alert.kind is Kind.DRIFT}
    if len(drifted) > 1 and lead.kind is Kind.DRIFT:
        said = f"{len(drifted)} features drifted"
        others = [alert for alert in others if alert.kind is not Kind.DRIFT]
        rest = f" and {len(others)} more" if others else ""
    elif others and all(alert.kind is Kind.DRIFT for alert in others):
        said = _say(lead)
        rest = f", {len(drifted)} feature{'s' if len(drifted) > 1 else ''} drifted"
    else:
        said, rest = _say(lead), f" and {len(others)} more" if others else ""
    return f"{_name_models(ranked)}: {said}{rest}"


def _say(alert: Alert) -> str:
    kind, name = alert.kind, alert.feature or alert.worst
    where = f" [{alert.segment}]" if alert.segment else ""
    against = f" (threshold {alert.threshold:.3g})"
    if kind is Kind.DRIFT:
        return f"{name}{where} drifted ({alert.metric} {alert.value:.3g})"
    if kind is Kind.SHARE:
        return f"{alert.value:.0%} of the features drifted{where}"
    if alert.metric == "volume" and alert.value == 0:
        return f"no predictions{where}"
    if kind in (Kind.LABELS, Kind.ESTIMATE):
        shown = alert.metric.removeprefix(PERFORMANCE)
        shown = f"estimated {shown.removeprefix(ESTIMATED)}" if kind is Kind.ESTIMATE else shown
        verb = "rose" if find_metric(alert.metric).higher_is_worse else "dropped"
        return f"{shown}{where} {verb} to {alert.value:.3g}{against}"
    if alert.metric in _PHRASES:
        return _PHRASES[alert.metric].format(name=name, value=alert.value, span=_format_span(alert.value))
    subject = f"{name}{where}: " if name or where else ""
    return f"{subject}{alert.metric} {alert.value:.3g}{against}"


def _format_span(seconds: float) -> str:
    """Write a time span in its largest unit of which there are two or more.

    >>> _format_span(300), _format_span(7_200), _format_span(31 * 86_400)
    ('5 minutes', '2 hours', '31 days')
    """
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _name_models(ranked: Sequence[Alert]) -> str:
    versions = dict.fromkeys((alert.model_id, alert.model_version) for alert in ranked)
    first = " ".join(filter(None, next(iter(versions))))
    return f"{first} and {len(versions) - 1} more" if len(versions) > 1 else first


def _summarise(incident: Incident, message: Message, ranked: Sequence[Alert]) -> str:
    who = incident.acknowledged_by or "Somebody"
    counted = Counter(alert.severity for alert in ranked)
    alerts = f"{len(ranked)} alert{'s' if len(ranked) != 1 else ''}"
    state = f"{alerts}: {', '.join(f'{counted[each]} {each}' for each in Severity if counted[each])}."
    since = format_time(incident.opened_at)
    match message.cause:
        case Cause.RESOLVED:
            return f"It is over: {_list_names(ranked)}."
        case Cause.ACKNOWLEDGED:
            return f"{who} acknowledged it. {state}"
        case Cause.REPEATED:
            return f"It still fires, since {since}, and nobody has acknowledged it. {state}"
        case Cause.ESCALATED:
            return f"Nobody has acknowledged it since {since}. {state}"
    if len(message.news) < len(ranked):
        return f"New: {_list_names(rank_alerts(message.news))}. {state}"
    return state


def _list_names(ranked: Sequence[Alert]) -> str:
    """Name alerts by what they are of, each once."""
    names = list(dict.fromkeys(f"{alert.feature or alert.worst or 'model'} ({alert.metric})" for alert in ranked))
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _describe(incident: Incident, alert: Alert) -> Breach:
    whose = (alert.model_id, alert.model_version)
    other = "" if whose == (incident.model_id, incident.model_version) else " ".join(filter(None, whose))
    return Breach(alert.feature or alert.worst, alert.metric, alert.value, alert.threshold, alert.segment, other)


def _subject(alert: Alert) -> tuple[str, str, str]:
    return alert.model_id, alert.model_version, alert.feature

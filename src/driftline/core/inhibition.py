"""Inhibition: an alert that explains another one mutes it. Broken data explain drift."""

from collections.abc import Iterable, Mapping

from driftline.core.alert import Alert
from driftline.core.rule_metric import Kind

_Subject = tuple[str, str, str]  # model, version, feature


def find_inhibitors(alerts: Iterable[Alert]) -> dict[int, Alert]:
    """Find for each open drift alert that is muted, by `alert_id`, an open data-quality alert that mutes it.

    That is one (`missing_rate`, `new_category_rate`, `out_of_range_rate`) of the same feature of the same model
    version, or one of the model whose worst feature it is. One of a segment says nothing of other segments.

    >>> from driftline.core.rules import Severity
    >>> broken = Alert(1, "r", "fraud", "3", "missing_rate", 0.4, 0.1, Severity.HIGH, 0, feature="amount")
    >>> drifted = Alert(2, "s", "fraud", "3", "psi", 0.4, 0.2, Severity.HIGH, 0, feature="amount")
    >>> {muted: by.alert_id for muted, by in find_inhibitors([broken, drifted]).items()}
    {2: 1}
    """
    standing = [alert for alert in alerts if alert.is_open]
    broken: dict[_Subject, list[Alert]] = {}
    for alert in standing:
        if alert.kind is Kind.QUALITY and (feature := alert.feature or alert.worst):
            broken.setdefault((alert.model_id, alert.model_version, feature), []).append(alert)
    muted = {alert.alert_id: _explain(alert, broken) for alert in standing if broken and alert.kind is Kind.DRIFT}
    return {alert_id: by for alert_id, by in muted.items() if by is not None}


def _explain(alert: Alert, broken: Mapping[_Subject, list[Alert]]) -> Alert | None:
    suspects = broken.get((alert.model_id, alert.model_version, alert.feature), [])
    fitting = [each for each in suspects if "" in (each.segment, alert.segment) or each.segment == alert.segment]
    return min(fitting, key=lambda each: each.alert_id, default=None)

"""An alert as those see it who decide whom to tell of it."""

from dataclasses import dataclass

from driftline.core.errors import InvalidInput
from driftline.core.rule_metric import Kind, find_metric
from driftline.core.rules import MODEL_LEVEL, Severity

_ORDER = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule's breach that fires, or did. Moments are microseconds; `resolved_at` is None while it is open.

    `value` passed `threshold` in the last of `windows`, [start, end) each, oldest first. `worst` is the feature
    that a number of the model is of, "" where it is of none.
    """

    alert_id: int
    rule_id: str
    model_id: str
    model_version: str
    metric: str
    value: float
    threshold: float
    severity: Severity
    fired_at: int
    resolved_at: int | None = None
    feature: str = MODEL_LEVEL
    segment: str = ""
    worst: str = ""
    windows: tuple[tuple[int, int], ...] = ()
    owner: str = ""
    runbook: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.resolved_at is None

    @property
    def kind(self) -> Kind | None:
        """What its metric says; None for one that rules do not know any more."""
        try:
            return find_metric(self.metric).kind
        except InvalidInput:
            return None


def worst_severity(severities: set[Severity]) -> Severity:
    """Give the worst of some severities.

    >>> worst_severity({Severity.LOW, Severity.HIGH})
    <Severity.HIGH: 'HIGH'>
    """
    return min(severities, key=_ORDER.__getitem__)


def is_worse(one: Severity, other: Severity) -> bool:
    """Tell whether a severity is worse than another."""
    return _ORDER[one] < _ORDER[other]


def rank_alerts(alerts: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """Rank alerts, the worst first: by severity, those of models before those of features, then by the excess.

    The excess is |value - threshold| / |threshold|; one that is not known comes last.

    >>> a = Alert(1, "r", "fraud", "3", "psi", 0.25, 0.2, Severity.HIGH, 0, feature="a")
    >>> b = Alert(2, "r", "fraud", "3", "psi", 0.40, 0.2, Severity.HIGH, 0, feature="b")
    >>> [alert.feature for alert in rank_alerts((a, b))]
    ['b', 'a']
    """
    return tuple(sorted(alerts, key=_rank))


def _rank(alert: Alert) -> tuple[int, bool, float, str, str, int]:
    excess = abs(alert.value - alert.threshold) / max(abs(alert.threshold), 1e-12)
    known = excess == excess  # noqa: PLR0124  NaN is not equal to itself
    place = _ORDER[alert.severity]
    return (
        place,
        alert.feature != MODEL_LEVEL,
        -excess if known else 1.0,
        alert.feature,
        alert.segment,
        alert.alert_id,
    )

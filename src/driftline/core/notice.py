"""A notice: what people are told about one alert, or several that belong together, wherever it is sent."""

from dataclasses import dataclass
from enum import StrEnum

from driftline.core.rules import Severity


class Kind(StrEnum):
    """What a notice says of its alert."""

    TRIGGER = "trigger"  # it fires
    UPDATE = "update"  # it still fires: other features, another severity, a reminder
    ACKNOWLEDGE = "acknowledge"  # somebody is on it
    RESOLVE = "resolve"  # it is over


@dataclass(frozen=True, slots=True)
class Breach:
    """A metric that went past its threshold.

    `feature` is a name, `__prediction__`, `__score__`, or "" for a metric of the model; `segment` is ""
    for all rows, `model` names model and version where it is not the notice's.

    >>> print(Breach("amount", "psi", 0.4172, 0.2, segment="country=DE"))
    amount [country=DE]: psi 0.417 (threshold 0.2)
    """

    feature: str
    metric: str
    value: float
    threshold: float
    segment: str = ""
    model: str = ""

    @property
    def subject(self) -> str:
        """What it was measured on: the feature (or "model"), and the segment and the other model, if any."""
        whose = f"{self.model}, " if self.model else ""
        return whose + (self.feature or "model") + (f" [{self.segment}]" if self.segment else "")

    def __str__(self) -> str:
        return f"{self.subject}: {self.metric} {self.value:.3g} (threshold {self.threshold:.3g})"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about the alerts of a model version. Moments are microseconds since the epoch.

    `dedup_key` is the same from trigger to resolve: by it a destination finds what it was told before. `breaches`
    are ranked, the worst first; `windows` are the half-open intervals [start, end) that led there, oldest first.
    `reopens` says that it is news after an acknowledgement that the destination was told of: it must wake people.

    >>> notice = Notice(
    ...     kind=Kind.TRIGGER,
    ...     severity=Severity.HIGH,
    ...     model_id="fraud",
    ...     model_version="3",
    ...     title="fraud 3: 2 features drifted",
    ...     summary="amount and country moved away from the training data.",
    ...     dedup_key="fraud/3/drift/17",
    ...     fired_at=1_700_000_000_000_000,
    ... )
    >>> notice.resolved_at is None
    True
    """

    kind: Kind
    severity: Severity
    model_id: str
    model_version: str
    title: str
    summary: str
    dedup_key: str
    fired_at: int
    resolved_at: int | None = None
    breaches: tuple[Breach, ...] = ()
    windows: tuple[tuple[int, int], ...] = ()
    url: str = ""  # of the alert in driftline
    runbook: str = ""
    owner: str = ""
    team: str = ""
    approvals: tuple[tuple[str, str], ...] = ()  # actions that wait for somebody, and where to approve each
    reopens: bool = False

"""Silences: which alerts nobody is told of for a while, who said so, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from driftline.core.alert import Alert
from driftline.core.errors import InvalidInput
from driftline.core.rules import Severity

_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which alerts are meant: each field is a name or a glob (`*`, `?`, `[abc]`); None means any, "" none.

    All fields that are given must match: a `feature` of "" means alerts of the model as a whole, a `segment` of ""
    those of all rows.

    >>> alert = Alert(1, "r", "fraud-eu", "3", "psi", 0.3, 0.2, Severity.HIGH, 0, feature="amount")
    >>> Matcher(model="fraud-*", metric="psi").matches(alert), Matcher(model="fraud-*", feature="").matches(alert)
    (True, False)
    """

    model: str | None = None
    version: str | None = None
    feature: str | None = None
    segment: str | None = None
    rule: str | None = None
    metric: str | None = None
    severity: str | None = None

    def matches(self, alert: Alert) -> bool:
        """Tell whether an alert is meant."""
        return (
            _fits(self.model, alert.model_id)
            and _fits(self.version, alert.model_version)
            and _fits(self.feature, alert.feature)
            and _fits(self.segment, alert.segment)
            and _fits(self.rule, alert.rule_id)
            and _fits(self.metric, alert.metric)
            and _fits(self.severity, str(alert.severity))
        )

    def to_dict(self) -> dict[str, str]:
        """Give the fields that are given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


_FIELDS = tuple(field.name for field in fields(Matcher))


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of the alerts that match, from `starts_at` to before `ends_at`, microseconds."""

    silence_id: int
    matcher: Matcher
    starts_at: int
    ends_at: int
    author: str
    comment: str


def read_matcher(content: Mapping[str, Any]) -> Matcher:
    """Read a matcher; InvalidInput names the field that cannot be used.

    >>> read_matcher({"modle": "fraud"})
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: a silence cannot match 'modle'; did you mean model?
    """
    for name, value in content.items():
        if name not in _FIELDS:
            close = get_close_matches(str(name), _FIELDS, 1)
            fix = f"did you mean {close[0]}?" if close else f"it can match {', '.join(_FIELDS)}"
            raise InvalidInput(f"a silence cannot match {name!r}; {fix}", field=str(name))
        if not isinstance(value, str) or len(value) > _LONGEST or "\x00" in value:
            raise InvalidInput(f"{name} is {value!r}; write a name or a glob, in quotes", field=name)
    if not content:
        raise InvalidInput(f"a silence must match something; give one of {', '.join(_FIELDS)}", field="matcher")
    severity = content.get("severity")
    if severity is not None and not any(fnmatchcase(known, severity) for known in Severity):
        raise InvalidInput(
            f"severity {severity!r} is none; use {', '.join(Severity)}, or a glob", field="severity"
        )
    return Matcher(**content)


def check_silence(starts_at: int, ends_at: int, author: str, comment: str, now: int) -> None:
    """Raise InvalidInput for a silence that is over before it begins, or that nobody answers for.

    >>> check_silence(0, 10, "ana", "new sensors", now=5)
    """
    if ends_at <= max(starts_at, now):
        raise InvalidInput("ends_at must be after starts_at, and in the future", field="ends_at")
    for name, text in (("author", author), ("comment", comment)):
        if not text.strip() or len(text) > _LONGEST or "\x00" in text:
            raise InvalidInput(f"{name} is needed: 1 to {_LONGEST:,} characters", field=name)


def find_silence(alert: Alert, silences: Iterable[Silence], now: int) -> Silence | None:
    """Find the silence that an alert is under; of several the one that lasts longest."""
    found = [each for each in silences if each.starts_at <= now < each.ends_at and each.matcher.matches(alert)]
    return max(found, key=lambda each: (each.ends_at, each.silence_id), default=None)


def _fits(pattern: str | None, name: str) -> bool:
    return pattern is None or pattern == name or (pattern != "" and fnmatchcase(name, pattern))

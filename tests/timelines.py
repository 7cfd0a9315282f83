"""Timelines: what happens to an incident, and what destinations are told, line by line.

    0m    fire HIGH amount            an alert of a feature; or of the `model`, `amount:missing_rate`, `amount@DE`
    0m    > chat trigger amount       what `chat` is told, and of which new alerts
    0m    = tickets amount no_destination          why `tickets` is not told of it (`incident`: of the incident)
    10m   ack ana
    20m   silence 1h feature=amount   for an hour
    30m   unsilence                   all of them
    5h    resolve amount

Time 0 is a Monday, 12:00 UTC. Lines with > are all that is told until the last line, those with = are among the
reasons. Between lines, looks are taken only when they are due.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from driftline.core.alert import Alert
from driftline.core.decision import Decision, Look
from driftline.core.incident import Incident, Told
from driftline.core.notices import look_at_incident
from driftline.core.routing import Route
from driftline.core.rules import Severity
from driftline.core.silence import Matcher, Silence

MINUTE = 60_000_000
HOUR = 60 * MINUTE
START = 1_767_614_400_000_000  # 2026-01-05T12:00:00Z, a Monday
ALL = frozenset(Severity)
_UNITS = {"s": MINUTE // 60, "m": MINUTE, "h": HOUR, "d": 24 * HOUR}
_QUALITY = 0.4

Heard = tuple[int, str, str, tuple[str, ...]]
"""When, which destination, what kind of notice, and the names of the new alerts."""


def route(name: str, *severities: Severity, **more: object) -> Route:
    fields = {"repeat_interval": 4 * HOUR, "escalate_after": 30 * MINUTE} | more
    return Route(name, frozenset(severities) or ALL, **fields)  # type: ignore[arg-type]


PAGER = route("pager", Severity.CRITICAL)
CHAT = route("chat", Severity.HIGH)
TICKETS = route("tickets", Severity.MEDIUM)
USUAL = (PAGER, CHAT, TICKETS)


class World(Protocol):
    """Where alerts fire, and what is decided of them."""

    def fire(self, name: str, severity: Severity, now: int) -> None: ...
    def resolve(self, name: str, now: int) -> None: ...
    def acknowledge(self, who: str, now: int) -> None: ...
    def silence(self, matcher: Matcher, now: int, until: int) -> None: ...
    def end_silences(self, now: int) -> None: ...
    def look(self, now: int) -> None: ...
    def next_due(self) -> int | None: ...
    def heard(self) -> list[Heard]: ...
    def reasons(self) -> set[tuple[int, str, str, str]]: ...


@dataclass
class PureWorld:
    """One incident in memory."""

    routes: Sequence[Route]
    team: str = ""
    alerts: list[Alert] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    silences: list[Silence] = field(default_factory=list)
    acknowledged: tuple[int, str, int] | None = None
    due: int | None = None
    incident_id: int = 1
    said: list[Heard] = field(default_factory=list)
    looks: list[tuple[int, Look]] = field(default_factory=list)
    decided: dict[tuple[int, str, int | None], tuple[str, str]] = field(default_factory=dict)
    changes: list[tuple[int, Decision]] = field(default_factory=list)

    def fire(self, name: str, severity: Severity, now: int) -> None:
        alert = make_alert(len(self.names) + 1, name, severity, now)
        self.names[alert.alert_id] = name
        self.alerts.append(alert)
        self.due = now

    def resolve(self, name: str, now: int) -> None:
        self.alerts = [
            replace(alert, resolved_at=now) if self.names[alert.alert_id] == name and alert.is_open else alert
            for alert in self.alerts
        ]
        self.due = now

    def acknowledge(self, who: str, now: int) -> None:
        self.acknowledged, self.due = (now, who, len(self.names)), now

    def silence(self, matcher: Matcher, now: int, until: int) -> None:
        self.silences.append(Silence(len(self.silences) + 1, matcher, now, until, "ana", "new sensors"))
        self._make_due(now)

    def end_silences(self, now: int) -> None:
        self.silences.clear()
        self._make_due(now)

    def look(self, now: int) -> None:
        self.due = None
        if not self.alerts:
            return
        look = self.decide(now)
        self.looks.append((now, look))
        for message in look.messages:
            names = tuple(self.names[alert.alert_id] for alert in message.news)
            self.said.append((now, message.destination, str(message.kind), names))
        for decision in look.decisions:
            key, what = (
                (self.incident_id, decision.destination, decision.alert_id),
                (str(decision.outcome), decision.detail),
            )
            if self.decided.get(key) != what:
                self.decided[key] = what
                self.changes.append((now, decision))
        self.told |= {each.destination: each for each in look.told}
        self.due = look.due_at
        if look.is_over:
            self.alerts, self.told, self.acknowledged = [], {}, None
            self.incident_id += 1

    def decide(self, now: int) -> Look:
        acknowledged = self.acknowledged or (None, None, 0)
        incident = Incident(self.incident_id, "fraud", "3", self.team, self.alerts[0].fired_at, *acknowledged)
        return look_at_incident(incident, self.alerts, self.told, self.routes, self.silences, now)

    def next_due(self) -> int | None:
        return self.due

    def heard(self) -> list[Heard]:
        return self.said

    def reasons(self) -> set[tuple[int, str, str, str]]:
        return {
            (now, each.destination, self.names.get(each.alert_id or 0, "incident"), str(each.outcome))
            for now, each in self.changes
        }

    def _make_due(self, now: int) -> None:
        self.due = now if self.alerts else None


def make_alert(alert_id: int, name: str, severity: Severity, now: int) -> Alert:
    feature, metric, segment = parse_name(name)
    of_model = feature == "model"
    return Alert(
        alert_id,
        f"rule.{name}",
        "fraud",
        "3",
        metric,
        _QUALITY,
        0.2,
        severity,
        now,
        feature="" if of_model else feature,
        segment=segment,
        worst="amount" if of_model and metric.endswith("_rate") else "",
        windows=((now - HOUR, now),),
    )


def parse_name(name: str) -> tuple[str, str, str]:
    """Split `feature:metric@segment`."""
    rest, _, segment = name.partition("@")
    feature, _, metric = rest.partition(":")
    return feature, metric or ("drifted_share" if feature == "model" else "psi"), segment


def play(world: World, text: str) -> None:
    """Play a timeline, and compare what was told with what is expected."""
    expected: list[Heard] = []
    reasons = set()
    steps: dict[int, list[list[str]]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        when, *words = line.split()
        now = START + read_span(when)
        happens = steps.setdefault(now, [])
        if words[0] == ">":
            expected.append((now, words[1], words[2], tuple(words[3:])))
        elif words[0] == "=":
            reasons.add((now, words[1] if words[1] != "-" else "", words[2], words[3]))
        else:
            happens.append(words)
    for now in sorted(steps):
        look_until(world, now)
        for words in steps[now]:
            _happen(world, words, now)
        if (due := world.next_due()) is not None and due <= now:
            world.look(now)
    heard = sorted((when, name, kind, tuple(sorted(news))) for when, name, kind, news in world.heard())
    wanted = sorted((when, name, kind, tuple(sorted(news))) for when, name, kind, news in expected)
    assert _show(heard) == _show(wanted)
    assert reasons <= world.reasons(), _show(sorted(world.reasons()))


def look_until(world: World, now: int) -> None:
    """Look whenever it is due before a moment."""
    for _ in range(10_000):
        due = world.next_due()
        if due is None or due >= now:
            return
        world.look(due)
    raise AssertionError("it is due again and again")


def read_span(text: str) -> int:
    """Read 90s, 10m, 5h or 1d1h30m."""
    parts = re.findall(r"(\d+)([smhd])", text)
    assert "".join(f"{count}{unit}" for count, unit in parts) == text.lstrip("+"), text
    return sum(int(count) * _UNITS[unit] for count, unit in parts)


def _happen(world: World, words: list[str], now: int) -> None:
    match words:
        case ["fire", severity, *names]:
            for name in names:
                world.fire(name, Severity(severity), now)
        case ["resolve", *names]:
            for name in names:
                world.resolve(name, now)
        case ["ack", who]:
            world.acknowledge(who, now)
        case ["silence", span, *pairs]:
            world.silence(Matcher(**dict(pair.split("=") for pair in pairs)), now, now + read_span(span))
        case ["unsilence"]:
            world.end_silences(now)
        case ["nothing"]:
            pass
        case _:
            raise AssertionError(f"cannot play {words}")


def _show(heard: Sequence[Sequence[object]]) -> list[str]:
    return [f"{(int(str(when)) - START) // (MINUTE // 60)}s {' '.join(map(str, rest))}" for when, *rest in heard]

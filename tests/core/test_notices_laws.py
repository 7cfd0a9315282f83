"""No sequence of firings, resolutions, looks, silences, acknowledgements loses an alert or tells one twice."""

from collections import defaultdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from driftline.core.alert import Alert, is_worse, worst_severity
from driftline.core.decision import Look, Message, Reason
from driftline.core.notice import Kind
from driftline.core.routing import QuietHours, Route, find_end, find_routes
from driftline.core.rules import Severity
from driftline.core.silence import Matcher
from tests.timelines import MINUTE, START, PureWorld, look_until, route

BERLIN = QuietHours(22 * 60, 7 * 60, "Europe/Berlin")
TOKYO = QuietHours(20 * 60, 6 * 60, "Asia/Tokyo")
ROUTES = (
    route("pager", Severity.CRITICAL),
    route("chat", Severity.HIGH, quiet_hours=BERLIN),
    route("mail", Severity.HIGH, Severity.CRITICAL, quiet_hours=TOKYO, holds_critical=True, repeat_interval=None),
    route("tickets", Severity.MEDIUM, escalate_after=None),
)
DAY = 24 * 60 * MINUTE


class Notices(RuleBasedStateMachine):
    """One world looks when it is due, another one far more often: both are told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.lazy, self.eager = PureWorld(ROUTES), PureWorld(ROUTES)
        self.now = START
        self.checked = 0
        self.known: dict[tuple[int, str], set[int]] = defaultdict(set)
        self.last: dict[tuple[int, str], Message] = {}
        self.last_at: dict[tuple[int, str], int] = {}
        self.incident = 1

    @initialize(hour=st.integers(0, 23))
    def begin(self, hour: int) -> None:
        self.now = START + hour * 60 * MINUTE

    @rule(
        feature=st.sampled_from(["a", "b", "model"]),
        metric=st.sampled_from(["psi", "missing_rate"]),
        severity=st.sampled_from(Severity),
    )
    def fire(self, feature: str, metric: str, severity: Severity) -> None:
        metric = "missing_rate" if feature == "model" and metric == "psi" else metric
        for world in self._worlds():
            world.fire(f"{feature}:{metric}", severity, self.now)
        self._look()

    @precondition(lambda self: any(alert.is_open for alert in self.lazy.alerts))
    @rule(data=st.data())
    def resolve(self, data: st.DataObject) -> None:
        names = sorted({self.lazy.names[alert.alert_id] for alert in self.lazy.alerts if alert.is_open})
        name = data.draw(st.sampled_from(names))
        for world in self._worlds():
            world.resolve(name, self.now)
        self._look()

    @precondition(lambda self: self.lazy.alerts)
    @rule()
    def acknowledge(self) -> None:
        for world in self._worlds():
            world.acknowledge("ana", self.now)
        self._look()

    @rule(
        matcher=st.sampled_from(
            [Matcher(feature="a"), Matcher(metric="*_rate"), Matcher(severity="HIGH"), Matcher(model="*")]
        ),
        minutes=st.integers(1, 900),
    )
    def silence(self, matcher: Matcher, minutes: int) -> None:
        for world in self._worlds():
            world.silence(matcher, self.now, self.now + minutes * MINUTE)
        self._look()

    @rule()
    def end_silences(self) -> None:
        for world in self._worlds():
            world.end_silences(self.now)
        self._look()

    @rule(minutes=st.integers(1, 600))
    def wait(self, minutes: int) -> None:
        self._wait(minutes)

    @rule(minutes=st.integers(1, 600))
    def be_away(self, minutes: int) -> None:
        """Nobody looks meanwhile."""
        self.now += minutes * MINUTE
        self._look()

    @invariant()
    def both_are_told_the_same(self) -> None:
        assert self.lazy.said == self.eager.said

    @invariant()
    def every_look_is_lawful(self) -> None:
        for now, look in self.lazy.looks[self.checked :]:
            self._check(now, look)
        self.checked = len(self.lazy.looks)

    @invariant()
    def everything_is_told_or_has_a_reason(self) -> None:
        for alert in self.lazy.alerts:
            routes = find_routes(ROUTES, "", alert.severity)
            for name in [each.name for each in routes] or [""]:
                outcome, _ = self.lazy.decided[self.lazy.incident_id, name, alert.alert_id]
                is_told = name in self.lazy.told and alert.alert_id in self.lazy.told[name].alerts
                assert is_told == (outcome in ("trigger", "update"))
                assert is_told or outcome in tuple(Reason)

    @invariant()
    def those_are_told_for_whom_something_stands(self) -> None:
        """Nobody else is reminded, and everybody else was told the end."""
        standing = {alert.severity for alert in self.lazy.alerts if alert.is_open}
        concerned = {each.name for severity in standing for each in find_routes(ROUTES, "", severity)}
        concerned |= {"pager", "mail"} if Severity.HIGH in standing else set()  # by escalation
        assert {name for name, each in self.lazy.told.items() if each.resolved_at is None} <= concerned

    def teardown(self) -> None:
        """In the end everything that is open is told, and once it is over, so is that."""
        self.end_silences()
        self._wait(2 * 24 * 60)
        self.everything_is_told_or_has_a_reason()
        inhibited = {
            decision.alert_id
            for _, look in self.lazy.looks[-1:]
            for decision in look.decisions
            if decision.outcome is Reason.INHIBITED
        }
        for alert in self.lazy.alerts:
            if alert.is_open and alert.alert_id not in inhibited:
                for each in find_routes(ROUTES, "", alert.severity):
                    assert alert.alert_id in self.lazy.told[each.name].alerts
        told = {name for name, each in self.lazy.told.items() if each.resolved_at is None}
        for name in sorted({self.lazy.names[alert.alert_id] for alert in self.lazy.alerts}):
            for world in self._worlds():
                world.resolve(name, self.now)
        begun = len(self.lazy.said)
        self._look()
        assert {(destination, kind) for _, destination, kind, _ in self.lazy.said[begun:]} == {
            (name, "resolve") for name in told
        }
        assert self.lazy.due is None
        self.both_are_told_the_same()
        self.every_look_is_lawful()

    def _worlds(self) -> tuple[PureWorld, PureWorld]:
        return self.lazy, self.eager

    def _look(self) -> None:
        for world in self._worlds():
            if world.due is not None and world.due <= self.now:
                world.look(self.now)

    def _wait(self, minutes: int) -> None:
        until = self.now + minutes * MINUTE
        for moment in range(self.now, until, 37 * MINUTE):
            look_until(self.eager, moment)
            self.eager.look(moment)
        for world in self._worlds():
            look_until(world, until)
        self.now = until
        self._look()

    def _check(self, now: int, look: Look) -> None:
        assert look.due_at is None or look.due_at > now  # it is never due again at once
        for message in look.messages:
            key = (self.incident, message.destination)
            assert (message.kind is Kind.TRIGGER) == (key not in self.last)
            news = {alert.alert_id for alert in message.news}
            assert not news & self.known[key]
            self.known[key] |= news
            if before := self.last.get(key):
                assert not is_worse(before.severity, message.severity)
            if message.kind in (Kind.TRIGGER, Kind.UPDATE):
                self._check_peace(now, message, _find_route(message.destination), key)
                self.last_at[key] = now
            self.last[key] = message
            if message.kind is Kind.RESOLVE:  # and what follows begins anew
                del self.last[key]
                self.last_at.pop(key, None)
                self.known[key].clear()
        if look.is_over:
            assert not [key for key in self.last if key[0] == self.incident]
            self.incident += 1

    def _check_peace(self, now: int, message: Message, to: Route, key: tuple[int, str]) -> None:
        is_again = to.repeat_interval is not None and now - self.last_at.get(key, now) >= to.repeat_interval
        told = message.alerts if is_again else message.news
        assert not any(_is_silenced(self.lazy, alert, now) for alert in message.alerts)
        worst = worst_severity({alert.severity for alert in told})
        assert to.quiet_until(worst, now) is None
        if (before := self.last.get(key)) and message.news and not is_worse(worst, before.severity):
            assert now - self.last_at[key] >= MINUTE


def _find_route(name: str) -> Route:
    return next(each for each in ROUTES if each.name == name)


def _is_silenced(world: PureWorld, alert: Alert, now: int) -> bool:
    return any(each.starts_at <= now < each.ends_at and each.matcher.matches(alert) for each in world.silences)


TestNotices = Notices.TestCase
TestNotices.settings = settings(max_examples=60, stateful_step_count=25)


def test_the_hours_of_the_laws_are_those_of_the_calendar() -> None:
    noon = datetime(2026, 1, 5, 23, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    end = find_end(BERLIN, int(noon.timestamp()) * 1_000_000)
    assert end == int(datetime(2026, 1, 6, 6, tzinfo=UTC).timestamp()) * 1_000_000

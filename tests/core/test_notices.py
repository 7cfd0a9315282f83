"""From alerts to notices, decided in memory."""

import pytest

from driftline.core.incident import Incident
from driftline.core.notice import Kind
from driftline.core.routing import QuietHours, Route
from driftline.core.rules import Severity
from driftline.core.silence import Matcher
from driftline.core.wording import compose_notice
from tests.notice_timelines import TIMELINES
from tests.timelines import HOUR, START, PureWorld, play, route


@pytest.mark.parametrize(("routes", "text"), TIMELINES.values(), ids=TIMELINES.keys())
def test_timeline(routes: tuple[Route, ...], text: str) -> None:
    play(PureWorld(routes), text)


def test_an_acknowledgement_names_what_is_audible() -> None:
    world = PureWorld((route("all"),))
    for name in ("a", "b"):
        world.fire(name, Severity.HIGH, START)
    world.look(START)
    world.silence(Matcher(feature="a"), START + 1, START + HOUR)
    world.acknowledge("ana", START + 2)
    world.look(START + 2)
    (message,) = world.looks[-1][1].messages
    assert (message.kind, [alert.feature for alert in message.alerts]) == (Kind.ACKNOWLEDGE, ["b"])
    world.silence(Matcher(feature="b"), START + 3, START + HOUR)
    world.acknowledge("bob", START + 4)
    world.look(START + 4)
    (message,) = world.looks[-1][1].messages
    assert [alert.feature for alert in message.alerts] == ["a", "b"]


def test_news_after_an_acknowledgement_wakes_people_again() -> None:
    world = PureWorld((route("all"),))
    world.fire("a", Severity.HIGH, START)
    world.look(START)
    world.acknowledge("ana", START + HOUR)
    world.look(START + HOUR)
    world.fire("b", Severity.MEDIUM, START + 2 * HOUR)
    world.look(START + 2 * HOUR)
    (message,) = world.looks[-1][1].messages
    notice = compose_notice(Incident(1, "fraud", "3", "", START), message)
    assert (notice.kind, notice.reopens, notice.fired_at) == (Kind.UPDATE, True, START + 2 * HOUR)
    world.look(START + 6 * HOUR)
    world.fire("c", Severity.MEDIUM, START + 7 * HOUR)
    world.look(START + 7 * HOUR)
    said = [message for _, look in world.looks for message in look.messages]
    assert [(str(message.kind), message.reopens) for message in said] == [
        ("trigger", False),
        ("acknowledge", False),
        ("update", True),
        ("update", False),  # a reminder
        ("update", False),  # the one that was opened anew is not acknowledged
    ]
    reminder = compose_notice(Incident(1, "fraud", "3", "", START), said[3])
    assert reminder.fired_at == START


def test_reasons_name_who_and_until_when() -> None:
    world = PureWorld((route("all", quiet_hours=QuietHours(13 * 60, 14 * 60)),))
    world.silence(Matcher(feature="a"), START, START + HOUR)
    world.fire("a", Severity.HIGH, START)
    world.fire("b:missing_rate", Severity.HIGH, START)
    world.fire("b", Severity.HIGH, START)
    world.look(START)
    world.look(START + 1)
    world.acknowledge("bob", START + 2)
    world.look(START + 2)
    world.look(START + 3)
    world.look(START + HOUR)
    assert [(each.alert_id, str(each.outcome), each.detail) for _, each in world.changes] == [
        (1, "silenced", "silence 1 of ana until 2026-01-05T13:00:00Z: new sensors"),
        (3, "inhibited", "alert 2: missing_rate of b"),
        (2, "trigger", "new"),
        (None, "already_told", "until 2026-01-05T16:00:00Z"),
        (None, "acknowledge", "by bob"),
        (None, "acknowledged", "by bob"),
        (1, "quiet_hours", "until 2026-01-05T14:00:00Z"),
    ]


def test_a_destination_that_the_settings_no_longer_name_is_not_told() -> None:
    world = PureWorld((route("all"), route("log")))
    world.fire("a", Severity.HIGH, START)
    world.look(START)
    world.routes = (route("log"),)
    world.resolve("a", START + 1)
    world.look(START + 1)
    assert [(name, kind) for _, name, kind, _ in world.said[2:]] == [("log", "resolve")]
    assert (START + 1, "all", "incident", "destination_removed") in world.reasons()


def test_who_was_not_told_of_something_worse_hears_of_what_it_knows() -> None:
    """What is held from it changes no severity: neither of the acknowledgement nor of the end."""
    night = QuietHours(13 * 60, 22 * 60)
    world = PureWorld((route("pager"), route("mail", quiet_hours=night, holds_critical=True)))
    world.fire("a", Severity.HIGH, START)
    world.look(START)
    world.fire("model", Severity.CRITICAL, START + HOUR)
    world.look(START + HOUR)
    world.acknowledge("ana", START + 2 * HOUR)
    world.look(START + 2 * HOUR)
    for name in ("a", "model"):
        world.resolve(name, START + 3 * HOUR)
    world.look(START + 3 * HOUR)
    messages = [message for _, look in world.looks for message in look.messages if message.destination == "mail"]
    assert [(str(message.kind), str(message.severity)) for message in messages] == [
        ("trigger", "HIGH"),
        ("acknowledge", "HIGH"),
        ("resolve", "HIGH"),
    ]

"""What driftline says of itself: consumers behind, windows that wait, notices that fail, references that lack."""

import re
import threading
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from driftline.core.notice import Kind, Notice
from driftline.core.rule_reading import read_rules, write_rules
from driftline.core.rules import Comparison, Rule, Severity
from driftline.core.silence import Matcher
from driftline.core.system_rules import SYSTEM_MODEL, SYSTEM_RULES
from driftline.log.errors import LogError
from driftline.log.offsets import advance_offset
from driftline.log.postgres import append
from driftline.log.record import NewRecord
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.alert_rules import upsert_rules
from driftline.store.alerts import Alert, AlertFilter, list_alerts
from driftline.store.clocks import RelayClock, advance_partition_clock, advance_relay_clock
from driftline.store.deliveries import NewDelivery, Status, add_deliveries, end_delivery, list_deliveries
from driftline.store.incidents import list_incidents, place_incident
from driftline.store.silences import add_silence
from driftline.store.versions import create_version
from driftline.workers import watch as watch_module
from driftline.workers.joiner import CONSUMER as JOINER
from driftline.workers.notices import Teller
from driftline.workers.up import read_clock
from driftline.workers.watch import Watch, run_watch
from tests.timelines import route
from tests.workers.plant import DAY, MINUTE, SECOND, Plant, make_batch, make_reference, wait_for


@pytest.fixture
def start(plant: Plant) -> int:
    """A minute that begins after the model was registered; until then the profiler has counted everything."""
    minute = (read_clock() // MINUTE + 2) * MINUTE
    count(plant, minute)
    return minute


def count(plant: Plant, until: int, topic: str = PREDICTION_SAMPLES) -> None:
    with plant.database.transaction() as conn:
        advance_partition_clock(conn, topic, 0, until)


def look(plant: Plant, now: int, watch: Watch | None = None) -> Watch:
    watch = watch or Watch(plant.database, plant.log, plant.settings, plant.stop)
    watch.look(now)
    return watch


def fired(plant: Plant, **which: object) -> list[Alert]:
    with plant.database.transaction() as conn:
        return list_alerts(conn, AlertFilter(**which))[::-1]  # type: ignore[arg-type]


def test_a_profiler_behind_for_three_minutes_is_an_alert_until_it_has_caught_up(plant: Plant, start: int) -> None:
    for minute in range(5):
        look(plant, start + minute * MINUTE)
    assert fired(plant) == []  # behind for 180 and 240 seconds, twice
    look(plant, start + 5 * MINUTE)
    (alert,) = fired(plant)
    assert (alert.model_id, alert.model_version, alert.feature_name) == (SYSTEM_MODEL, "", "profiler")
    assert (alert.rule_id, alert.metric_value, alert.severity) == ("driftline.consumer_lag", 300, "HIGH")
    with plant.database.transaction() as conn:
        (incident,) = list_incidents(conn)
    assert (incident.model_id, incident.team) == (SYSTEM_MODEL, "")
    count(plant, start + 20 * MINUTE)
    for minute in range(6, 9):
        look(plant, start + minute * MINUTE)
    assert [(each.alert_id, each.ended) for each in fired(plant)] == [(alert.alert_id, "recovered")]


def test_a_minute_is_judged_once_however_many_look(plant: Plant, start: int) -> None:
    for _ in range(10):
        look(plant, start + 5 * MINUTE)
    assert fired(plant) == []

    def work() -> None:
        watch = Watch(plant.database, plant.log, plant.settings, plant.stop)
        for minute in range(6, 12):
            watch.look(start + minute * MINUTE)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fired(plant)) == 1


def test_nobody_is_behind_without_a_model(bare: Plant) -> None:
    for minute in range(5):
        look(bare, read_clock() + minute * MINUTE)
    assert fired(bare) == []


def test_a_sampler_is_behind_when_something_waits_for_it(plant: Plant, start: int) -> None:
    with plant.database.transaction() as conn:
        clock = RelayClock(start, next_offset=0)
        advance_relay_clock(conn, PREDICTION_LOGS, 0, clock, output_time=start)
    count(plant, start + DAY)
    for minute in range(5):
        look(plant, start + minute * MINUTE)
    assert fired(plant) == []
    with plant.database.transaction() as conn:
        append(conn, PREDICTION_LOGS, 0, [NewRecord(b"k", b"{}", {})])
    for minute in range(5, 8):
        look(plant, start + minute * MINUTE)
    assert [(alert.feature_name, alert.metric_value) for alert in fired(plant)] == [("sampler", 420)]


def test_a_joiner_that_never_ran_is_behind_when_labels_wait(plant: Plant, start: int) -> None:
    count(plant, start + DAY)
    for minute in range(3, 6):
        look(plant, start + minute * MINUTE)
    assert fired(plant) == []
    with plant.database.transaction() as conn:
        append(conn, LABELS, 0, [NewRecord(b"k", b"{}", {})])
    for minute in range(6, 9):
        look(plant, start + minute * MINUTE)
    assert [alert.feature_name for alert in fired(plant)] == ["joiner"]
    count(plant, start + DAY, LABELS)
    with plant.database.transaction() as conn:
        advance_offset(conn, JOINER, LABELS, 0, expected=0, next_offset=1)
    for minute in range(9, 12):
        look(plant, start + minute * MINUTE)
    assert fired(plant, is_open=True) == []


def test_a_log_that_does_not_answer_is_seen_by_those_who_read_it(
    plant: Plant, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LogError("kafka does not answer")

    monkeypatch.setattr(plant.log, "end_offsets", fail)
    monkeypatch.setattr(plant.log, "count_partitions", fail)
    for minute in range(3, 6):
        look(plant, start + minute * MINUTE)
    assert [alert.feature_name for alert in fired(plant)] == ["profiler"]


def test_windows_that_wait_for_a_monitor_are_an_alert(plant: Plant) -> None:
    base = read_clock() // DAY * DAY - 2 * DAY
    plant.send(make_batch(range(200), base), make_batch(["last"], base + 3 * 60 * MINUTE))
    plant.drain()
    plant.let_pass(1_000)
    now = (read_clock() // MINUTE + 17) * MINUTE
    for minute in range(3):
        count(plant, now + minute * MINUTE)
        look(plant, now + minute * MINUTE)
    (alert,) = fired(plant, rule_id="driftline.cycle_delay")
    assert (alert.model_id, alert.feature_name) == (SYSTEM_MODEL, "monitor")
    assert alert.metric_value == pytest.approx(18 * 60, abs=120)  # since its rows came
    plant.cycle()
    for minute in range(3, 6):
        look(plant, now + minute * MINUTE)
    assert fired(plant, rule_id="driftline.cycle_delay")[0].ended == "recovered"


def deliver(plant: Plant, incident_id: int, destination: str, now: int, status: Status | None) -> UUID:
    notice = Notice(Kind.TRIGGER, Severity.HIGH, "fraud", "3", "it drifted", "", f"driftline/{incident_id}", now)
    with plant.database.transaction() as conn:
        (delivery_id,) = add_deliveries(conn, [NewDelivery(incident_id, destination, notice)], now)
        if status is not None:
            end_delivery(conn, delivery_id, status, now)
    return delivery_id


def with_destinations(plant: Plant, *names: str) -> None:
    plant.settings = Settings(destinations={name: {"type": "webhook"} for name in names})


def open_incident(plant: Plant, now: int) -> int:
    with plant.database.transaction() as conn:
        return place_incident(conn, "fraud", "", (), Severity.HIGH, now)


def test_a_destination_that_refuses_is_one_alert_until_something_gets_through(plant: Plant, start: int) -> None:
    with_destinations(plant, "chat", "pager")
    incident = open_incident(plant, start)
    deliver(plant, incident, "chat", start, Status.REFUSED)
    deliver(plant, incident, "pager", start, Status.SENT)
    look(plant, start + MINUTE)
    (alert,) = fired(plant)
    assert (alert.rule_id, alert.feature_name, alert.metric_value) == ("driftline.delivery_failures", "chat", 1)
    for minute in range(2, 30):  # that it fails is told to it as well, and is refused as well
        count(plant, start + minute * MINUTE)
        deliver(plant, alert.incident_id, "chat", start + minute * MINUTE, Status.REFUSED)
        look(plant, start + minute * MINUTE)
    assert fired(plant) == [alert]
    deliver(plant, alert.incident_id, "chat", start + 30 * MINUTE, Status.SENT)
    look(plant, start + 31 * MINUTE)
    assert [each.ended for each in fired(plant)] == ["recovered"]


def end_all(plant: Plant, destination: str, status: Status, now: int) -> int:
    """Let a destination answer all that waits for it; gives how many notices that were."""
    with plant.database.transaction() as conn:
        waiting = list_deliveries(conn, destination=destination, status=Status.PENDING)
        for delivery in waiting:
            end_delivery(conn, delivery.delivery_id, status, now)
    return len(waiting)


def test_the_notice_of_a_failing_destination_does_not_loop(plant: Plant, start: int) -> None:
    """With the worker of notices: a day in which the chat refuses all, and then takes all again."""
    with_destinations(plant, "chat", "pager")
    teller = Teller(plant.database, (route("chat"), route("pager")), plant.settings)
    count(plant, start + 5 * DAY)
    deliver(plant, open_incident(plant, start), "chat", start, Status.REFUSED)
    refused, paged = 0, 0
    for minute in range(1, 24 * 60, 40):
        now = start + minute * MINUTE
        look(plant, now)
        teller.look_at_all(now)
        refused += end_all(plant, "chat", Status.REFUSED, now)
        paged += end_all(plant, "pager", Status.SENT, now)
    (alert,) = fired(plant)
    assert alert.is_open
    assert 1 <= paged <= refused <= 24 / 4 + 1  # once, and repeated while nobody acknowledges it
    now += 40 * MINUTE
    deliver(plant, alert.incident_id, "chat", now, Status.SENT)
    look(plant, now + MINUTE)
    teller.look_at_all(now + MINUTE)
    assert (
        end_all(plant, "chat", Status.SENT, now + MINUTE)
        == end_all(plant, "pager", Status.SENT, now + MINUTE)
        == 1
    )
    for minute in range(2, 60, 8):
        look(plant, now + minute * MINUTE)
        teller.look_at_all(now + minute * MINUTE)
    assert [each.ended for each in fired(plant)] == ["recovered"]
    assert end_all(plant, "chat", Status.SENT, now) == end_all(plant, "pager", Status.SENT, now) == 0


def test_what_driftline_says_of_itself_can_be_silenced(plant: Plant, start: int) -> None:
    with plant.database.transaction() as conn:
        matcher = Matcher(model=SYSTEM_MODEL, rule="driftline.consumer_lag")
        add_silence(conn, matcher, start, start + DAY, "ana", "the profiler moves house", start)
    for minute in range(6):
        look(plant, start + minute * MINUTE)
    assert len(fired(plant)) == 1
    Teller(plant.database, (route("chat"),), plant.settings).look_at_all(start + 6 * MINUTE)
    with plant.database.transaction() as conn:
        assert list_deliveries(conn) == []


def test_a_notice_on_its_way_for_ten_minutes_has_failed(plant: Plant, start: int) -> None:
    with_destinations(plant, "chat")
    delivery_id = deliver(plant, open_incident(plant, start), "chat", start, None)
    count(plant, start + DAY)
    look(plant, start + 10 * MINUTE)
    assert fired(plant) == []
    look(plant, start + 11 * MINUTE)
    assert [alert.feature_name for alert in fired(plant)] == ["chat"]
    with plant.database.transaction() as conn:
        end_delivery(conn, delivery_id, Status.SENT, start + 11 * MINUTE + SECOND)
    look(plant, start + 12 * MINUTE)
    assert fired(plant, is_open=True) == []


def test_a_destination_that_is_gone_from_the_settings_is_not_watched_any_more(plant: Plant, start: int) -> None:
    with_destinations(plant, "chat", "pager")
    deliver(plant, open_incident(plant, start), "chat", start, Status.EXPIRED)
    look(plant, start + MINUTE)
    assert len(fired(plant, is_open=True)) == 1
    with_destinations(plant, "pager")
    look(plant, start + 2 * MINUTE)
    assert [alert.ended for alert in fired(plant)] == ["no longer watched"]


def test_samples_that_wait_an_hour_for_a_reference_are_an_alert_of_their_model(bare: Plant) -> None:
    bare.register()
    bare.send(make_batch(range(50), read_clock() - MINUTE))
    bare.drain()
    now = read_clock()
    look(bare, now + 50 * MINUTE)
    assert fired(bare, model_id="fraud") == []
    look(bare, now + 75 * MINUTE)
    (alert,) = fired(bare, model_id="fraud")
    assert (alert.rule_id, alert.model_version, alert.severity) == ("driftline.reference_missing", "3", "MEDIUM")
    assert alert.metric_value == pytest.approx(75 * 60, abs=60)
    bare.refer(make_reference())
    bare.drain()
    look(bare, now + 90 * MINUTE)
    assert fired(bare, model_id="fraud")[0].ended == "recovered"
    assert bare.execute("SELECT FROM alert_states WHERE model_id = 'fraud'") == []


def test_a_version_with_the_reference_of_an_old_one_is_told(plant: Plant) -> None:
    with plant.database.transaction() as conn:
        create_version(conn, "fraud", "4")
    plant.execute("UPDATE model_references SET computed_at = computed_at - interval '31 days'")
    plant.refer(make_reference(), version="4")
    plant.execute("INSERT INTO version_clocks VALUES ('fraud', '3', now(), now()), ('fraud', '4', now(), now())")
    plant.execute("UPDATE model_versions SET created_at = now() - interval '31 days' WHERE model_version = '3'")
    now = read_clock()
    look(plant, now)
    (alert,) = fired(plant, model_id="fraud")
    assert (alert.rule_id, alert.model_version, alert.severity) == ("driftline.reference_outdated", "4", "LOW")
    assert alert.metric_value == pytest.approx(31 * 86_400, abs=100)
    plant.refer(make_reference(seed=7), version="4", valid_from=1)
    look(plant, now + 10 * MINUTE)
    assert fired(plant, model_id="fraud")[0].ended == "recovered"


def test_windows_whose_drift_could_not_be_computed_are_told(plant: Plant) -> None:
    base = read_clock() // DAY * DAY - 2 * DAY
    plant.send(make_batch(range(200), base), make_batch(["last"], base + 3 * 60 * MINUTE))
    plant.drain()
    plant.let_pass(1_000)
    plant.cycle()
    plant.execute("UPDATE windows SET failed_at = now(), seq = seq + 1 WHERE row_count = 200")
    now = read_clock() + 60 * MINUTE
    look(plant, now)
    (alert,) = fired(plant, model_id="fraud")
    assert (alert.rule_id, alert.metric_value, alert.severity) == ("driftline.failed_windows", 1, "HIGH")
    plant.now = now + 70 * MINUTE
    plant.cycle()
    look(plant, now + 70 * MINUTE)
    assert fired(plant, model_id="fraud")[0].ended == "recovered"


def test_rules_of_ones_own_may_watch_the_same_numbers(plant: Plant, start: int) -> None:
    rule = Rule(
        "soon", "consumer_lag", Comparison.ABOVE, 30, SYSTEM_MODEL, feature="profiler", consecutive_windows=1
    )
    with plant.database.transaction() as conn:
        upsert_rules(conn, [rule], "api")
    look(plant, start + MINUTE)
    assert [alert.rule_id for alert in fired(plant)] == ["soon"]


def test_the_loop_looks_until_it_is_stopped(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_S", 0.01)
    stop, looks = threading.Event(), []

    def clock() -> int:
        looks.append(1)
        return read_clock()

    thread = threading.Thread(target=run_watch, args=(plant.database, plant.log, plant.settings, clock, stop))
    thread.start()
    wait_for(lambda: len(looks) > 3)
    stop.set()
    thread.join()
    assert fired(plant) == []


def test_built_in_rules_are_as_those_that_people_write() -> None:
    assert [rule.rule_id for rule in SYSTEM_RULES] == [f"driftline.{rule.metric}" for rule in SYSTEM_RULES]
    renamed = tuple(replace(rule, rule_id=rule.metric) for rule in SYSTEM_RULES)
    assert read_rules(write_rules(renamed)) == renamed


def test_the_page_has_every_built_in_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text("utf-8")
    table = page.partition("## What driftline says of itself")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(driftline\.\w+)` \|.*\| ([A-Z]+) \|", table, re.MULTILINE)
    assert told == [(rule.rule_id, str(rule.severity)) for rule in SYSTEM_RULES]

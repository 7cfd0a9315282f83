"""No data: windows without rows that should have had some, hour by hour, with a clock of the test's own."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from driftline.core.rule_presets import Preset, make_preset
from driftline.core.rules import Comparison, Rule
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.alert_rules import upsert_rules
from driftline.store.alerts import Alert, AlertFilter, list_alerts
from driftline.store.clocks import advance_version_clock
from driftline.store.incidents import list_incidents
from driftline.store.samples import SampleFile, SampleStatus, register_samples
from driftline.store.versions import create_version
from driftline.store.windows import WindowGrowth, close_window, grow_windows
from driftline.workers import watch as watch_module
from driftline.workers.gaps import INLET, REPLACED
from driftline.workers.up import read_clock
from driftline.workers.watch import Watch
from tests.workers.plant import DAY, HOUR, MINUTE, SECOND, Plant, at, hours, make_batch

SILENT = Rule("silent", "volume", Comparison.BELOW, 1, model="fraud")
WORK = range(8, 20)


@pytest.fixture
def quiet(bare: Plant) -> Plant:
    """A model with hourly windows and a rule that misses its data after three of them."""
    bare.register()
    write(bare, SILENT)
    return bare


def write(plant: Plant, *rules: Rule) -> None:
    with plant.database.transaction() as conn:
        upsert_rules(conn, rules, "api")


def serve(
    plant: Plant, windows: Iterable[int], *, model: str = "fraud", version: str = "3", late: int = 75 * SECOND
) -> None:
    """Let hours have rows, each closed so long after its end."""
    with plant.database.transaction() as conn:
        for hour in windows:
            start, end = at(hour), at(hour + 1)
            grow_windows(conn, [WindowGrowth(model, version, start, end, "g", 9, 9, start, end - 1, end + late)])
            close_window(conn, model, version, start, end + late)
            advance_version_clock(conn, model, version, event_time=end - 1, last_append=end - 1 + late)


def look(plant: Plant, hour: float, watch: Watch | None = None) -> Watch:
    """Let all that was appended by then be consumed, and look."""
    plant.now = at(hour)
    plant.execute(
        "INSERT INTO partition_clocks VALUES (%s, 0, to_timestamp(%s)) ON CONFLICT (topic, partition)"
        " DO UPDATE SET append_time = excluded.append_time",
        PREDICTION_SAMPLES,
        plant.now / SECOND,
    )
    watch = watch or Watch(plant.database, plant.log, plant.settings, plant.stop)
    watch.look(plant.now)
    return watch


def live(plant: Plant, until: int, works: object, since: int = 0) -> None:
    """Live through hours, with rows in those that `works` says; look before rows come again, and in the end."""
    served = [hour for hour in range(since, until) if works(hour)]  # type: ignore[operator]
    watch = None
    for hour, next_hour in pairwise([since - 1, *served, until]):
        if next_hour > hour + 1:
            watch = look(plant, next_hour + 0.2, watch)
        if next_hour < until:
            serve(plant, [next_hour])


def fired(plant: Plant, **which: object) -> list[Alert]:
    with plant.database.transaction() as conn:
        return list_alerts(conn, AlertFilter(**which))[::-1]  # type: ignore[arg-type]


def at_work(hour: int) -> bool:
    return hour % 24 in WORK


def test_three_windows_without_rows_fire_once(quiet: Plant) -> None:
    serve(quiet, range(4))
    watch = look(quiet, 4.1)
    for hour in (5.1, 6.1, 7.0):
        look(quiet, hour, watch)
        assert fired(quiet) == []
    look(quiet, 7.1, watch)
    (alert,) = fired(quiet)
    assert (alert.rule_id, alert.model_id, alert.model_version, alert.metric_value) == ("silent", "fraud", "3", 0)
    assert [hours(window.start) for window in alert.windows] == [4, 5, 6]
    assert hours(alert.opened) == 7
    for hour in (7.2, 8.1, 30, 100):
        look(quiet, hour, watch)
    assert fired(quiet) == [alert]
    with quiet.database.transaction() as conn:
        assert len(list_incidents(conn)) == 1


def test_a_watch_that_begins_late_judges_what_it_missed(quiet: Plant) -> None:
    serve(quiet, range(4))
    look(quiet, 20)
    assert [hours(alert.opened) for alert in fired(quiet)] == [7]


def test_a_restart_goes_on_where_the_last_watch_was(quiet: Plant) -> None:
    serve(quiet, range(4))
    look(quiet, 6.1)
    quiet.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    look(quiet, 7.1)
    (alert,) = fired(quiet)
    assert [hours(window.start) for window in alert.windows] == [4, 5, 6]


def test_nothing_is_judged_before_all_that_was_sent_until_then_is_counted(quiet: Plant) -> None:
    serve(quiet, range(4))
    watch = look(quiet, 5.1)
    for hour in range(6, 20):
        watch.look(at(hour))  # the profiler does not go on
    assert fired(quiet) == []


def test_a_single_batch_is_not_missed(quiet: Plant) -> None:
    serve(quiet, [0])
    live(quiet, 60, lambda _: False, since=1)
    assert fired(quiet) == []


def test_a_model_without_traffic_is_not_missed(quiet: Plant) -> None:
    live(quiet, 30, lambda _: False)
    assert fired(quiet) == []


def test_an_open_window_is_waited_for(quiet: Plant) -> None:
    serve(quiet, range(4))
    with quiet.database.transaction() as conn:
        grow_windows(conn, [WindowGrowth("fraud", "3", at(5), at(6), "g", 9, 9, at(5), at(5), at(5))])
    look(quiet, 20)
    assert quiet.execute("SELECT count(*) FROM alert_states WHERE model_id = 'fraud'") == [
        (1,)
    ]  # window 4 has been judged
    assert fired(quiet) == []


def test_nights_and_mornings_are_not_missed(quiet: Plant) -> None:
    serve(quiet, [hour for hour in range(7 * 24) if at_work(hour)])
    live(quiet, 16 * 24, at_work, since=7 * 24)
    assert fired(quiet) == []
    live(quiet, 16 * 24 + 14, lambda hour: at_work(hour) and hour % 24 < 10, since=16 * 24)
    (alert,) = fired(quiet)
    assert [hours(window.start) % 24 for window in alert.windows] == [10, 11, 12]


def test_the_second_night_is_not_missed(quiet: Plant) -> None:
    live(quiet, 8 + 12, at_work)
    live(quiet, 24 + 8, at_work, since=20)
    first = fired(quiet)
    assert len(first) == 1  # nobody could know
    live(quiet, 3 * 24, at_work, since=24 + 8)
    assert fired(quiet) == first


def test_weekends_are_not_missed_from_the_second_on(quiet: Plant) -> None:
    def works(hour: int) -> bool:
        return hour // 24 % 7 < 5

    serve(quiet, [hour for hour in range(7 * 24) if works(hour)])
    live(quiet, 15 * 24, works, since=7 * 24)
    assert fired(quiet) == []


def test_an_outage_does_not_hide_the_next_one_a_week_later(quiet: Plant) -> None:
    serve(quiet, [hour for hour in range(14 * 24) if hour // 24 != 9])
    live(quiet, 17 * 24, lambda hour: hour // 24 != 16, since=14 * 24)
    assert [hours(alert.opened) for alert in fired(quiet)] == [16 * 24 + 3]


def test_a_week_of_silence_is_told_once_and_then_given_up(quiet: Plant) -> None:
    serve(quiet, range(10 * 24))
    live(quiet, 12 * 24, lambda _: False, since=10 * 24)
    before = fired(quiet)
    assert len(before) == 1
    look(quiet, 17 * 24 - 1)
    states = quiet.execute("SELECT payload FROM alert_states WHERE model_id = 'fraud'")
    look(quiet, 18 * 24)
    look(quiet, 40 * 24)
    assert quiet.execute("SELECT payload FROM alert_states WHERE model_id = 'fraud'") == states
    assert fired(quiet) == before


def test_a_version_that_was_replaced_is_not_missed(quiet: Plant) -> None:
    with quiet.database.transaction() as conn:
        create_version(conn, "fraud", "4")
    serve(quiet, range(4))
    serve(quiet, [3], version="4")
    watch = None
    for hour in range(4, 12):
        serve(quiet, [hour], version="4")
        watch = look(quiet, hour + 1.1, watch)
    assert fired(quiet) == []
    for hour in range(12, 16):  # of those that are missed, each that had the traffic last
        look(quiet, hour + 1.1, watch)
    assert [alert.model_version for alert in fired(quiet)] == ["4"]


def test_an_alert_ends_when_another_version_takes_over(quiet: Plant) -> None:
    serve(quiet, range(4))
    look(quiet, 7.1)
    with quiet.database.transaction() as conn:
        create_version(conn, "fraud", "4")
    look(quiet, 7.2)
    assert fired(quiet, is_open=True)
    serve(quiet, [7], version="4")
    look(quiet, 8.1)
    (alert,) = fired(quiet)
    assert (alert.is_open, alert.ended) == (False, REPLACED)
    assert quiet.execute("SELECT FROM alert_states WHERE model_id = 'fraud'") == []


def test_a_new_version_that_waits_for_its_reference_has_the_traffic(quiet: Plant) -> None:
    serve(quiet, range(4))
    with quiet.database.transaction() as conn:
        create_version(conn, "fraud", "4")
        file = SampleFile(
            "f", "fraud", "4", PREDICTION_SAMPLES, 0, 0, 0, 9, at(4), at(30), SampleStatus.NO_REFERENCE, 9
        )
        register_samples(conn, [file])
    look(quiet, 29)
    assert fired(quiet) == []


@pytest.mark.parametrize("behind", [DAY, 3 * DAY, 13 * 365 * DAY])
def test_after_a_replay_of_the_past_nothing_fires(quiet: Plant, behind: int) -> None:
    replayed = range(-behind // HOUR, -behind // HOUR + 20)
    serve(quiet, replayed, late=behind)
    for hour in (1, 2, 3, 10, 24, 100, 500):
        look(quiet, hour)
    assert fired(quiet) == []


def test_a_nightly_upload_is_missed_when_it_should_have_come(quiet: Plant) -> None:
    for day in range(10):
        for hour in range(24):  # all of a day comes at eight in the next morning
            serve(quiet, [24 * day + hour], late=(24 - hour - 1 + 8) * HOUR)
    live(quiet, 11 * 24 + 7, lambda _: False, since=10 * 24 + 8)
    assert fired(quiet) == []
    look(quiet, 11 * 24 + 8.2)
    assert [hours(alert.opened) for alert in fired(quiet)] == [10 * 24 + 3]


def test_two_watches_at_once_fire_once(quiet: Plant) -> None:
    serve(quiet, range(4))
    look(quiet, 4.1)
    quiet.execute("UPDATE partition_clocks SET append_time = to_timestamp(%s)", at(9) / SECOND)
    together = threading.Barrier(3)

    def work() -> None:
        watch = Watch(quiet.database, quiet.log, quiet.settings, quiet.stop)
        together.wait()
        for _ in range(5):
            watch.look(at(9))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fired(quiet)) == 1


def test_presets_miss_data_and_segments_that_were_judged_are_missed_too(quiet: Plant) -> None:
    write(quiet, *make_preset(Preset.DEFAULT, "fraud", outputs=()))
    write(quiet, Rule("german", "volume", Comparison.BELOW, 50, segment="country=*"))
    serve(quiet, range(4))
    look(quiet, 5.1)
    quiet.execute(
        "INSERT INTO alert_states SELECT model_id, model_version, 'country=DE', 'german', payload, moving"
        " FROM alert_states WHERE rule_id = 'silent'"
    )
    look(quiet, 8.1)
    assert {(alert.rule_id, alert.segment) for alert in fired(quiet)} == {
        ("silent", ""),
        ("fraud.no_data", ""),
        ("german", "country=DE"),
    }


def register_team(plant: Plant, *models: str) -> None:
    for model in models:
        plant.register(model)
        write(plant, Rule(f"gone.{model}", "volume", Comparison.BELOW, 1, model=model))
    plant.execute("UPDATE models SET team = 'risk'")


def test_when_nothing_comes_from_anybody_a_team_has_one_incident(quiet: Plant) -> None:
    register_team(quiet, "churn", "price")
    for model in ("fraud", "churn", "price"):
        serve(quiet, range(4), model=model)
    look(quiet, 8)
    assert {(alert.model_id, alert.source) for alert in fired(quiet)} == {
        (model, INLET) for model in ("fraud", "churn", "price")
    }
    with quiet.database.transaction() as conn:
        assert len(list_incidents(conn)) == 1


def test_a_model_that_falls_silent_alone_has_its_own_incident(quiet: Plant) -> None:
    register_team(quiet, "churn", "price")
    for model in ("fraud", "churn"):
        serve(quiet, range(4), model=model)
    serve(quiet, range(8), model="price")
    look(quiet, 8.1)
    assert {(alert.model_id, alert.source) for alert in fired(quiet)} == {("fraud", ""), ("churn", "")}
    with quiet.database.transaction() as conn:
        assert len(list_incidents(conn)) == 2


def test_clients_have_time_to_send_again_when_driftline_is_back(quiet: Plant) -> None:
    serve(quiet, range(4))
    watch = Watch(quiet.database, quiet.log, quiet.settings, quiet.stop, gaps_from=at(8))
    look(quiet, 7.9, watch)
    assert fired(quiet) == []
    look(quiet, 8, watch)
    assert len(fired(quiet)) == 1


def test_a_model_goes_silent_and_comes_back(plant: Plant) -> None:
    """With the profiler and the monitor, in the hours that have just passed."""
    write(plant, replace(SILENT, recover_windows=2))
    now = read_clock() // HOUR * HOUR

    def pass_hour(hour: int, rows: int) -> None:
        start = now + (hour - 12) * HOUR
        plant.send(make_batch([f"{hour}-{i}" for i in range(rows)], start + np.arange(rows) * MINUTE))
        plant.drain()
        end = plant.now = start + HOUR + 6 * MINUTE  # as if it had been sent then
        if rows:
            plant.execute("UPDATE version_clocks SET last_append = to_timestamp(%s)", (end - 8 * MINUTE) / SECOND)
        plant.execute("UPDATE partition_clocks SET append_time = to_timestamp(%s)", end / SECOND)
        plant.cycle()
        Watch(plant.database, plant.log, plant.settings, plant.stop).look(plant.now)

    def standing() -> list[bool]:
        return [alert.is_open for alert in fired(plant, rule_id="silent")]

    plant.catalog.forget()
    for hour, rows in enumerate([9, 9, 0, 0]):
        pass_hour(hour, rows)
    assert standing() == []
    pass_hour(4, 0)
    assert standing() == [True]
    pass_hour(5, 9)
    assert standing() == [True]
    pass_hour(6, 9)
    assert standing() == [False]
    for hour, rows in enumerate([0, 0, 9, 0, 0, 9], 7):  # never three in a row
        pass_hour(hour, rows)
    assert standing() == [False]


def test_the_age_of_data_is_judged_of_windows_without_rows(quiet: Plant) -> None:
    write(quiet, Rule("old", "data_age", Comparison.ABOVE, 7200, consecutive_windows=1))
    serve(quiet, range(4))
    watch = look(quiet, 5.1)
    assert fired(quiet) == []
    look(quiet, 6.1, watch)
    assert [(alert.rule_id, round(alert.metric_value / 60)) for alert in fired(quiet)] == [("old", 125)]


def test_one_version_that_fails_does_not_stop_the_others(quiet: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet.register("churn")
    write(quiet, Rule("gone", "volume", Comparison.BELOW, 1, model="churn"))
    for model in ("churn", "fraud"):
        serve(quiet, range(4), model=model)
    quiet.execute("UPDATE models SET time_zone = 'Nowhere/Town' WHERE model_id = 'churn'")
    look(quiet, 8)
    assert [alert.model_id for alert in fired(quiet)] == ["fraud"]


def test_what_fails_of_driftline_itself_does_not_stop_the_judging_of_models(
    quiet: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(watch_module, "measure_lags", fail)
    monkeypatch.setattr(watch_module, "list_version_states", fail)
    serve(quiet, range(4))
    look(quiet, 8)
    assert len(fired(quiet)) == 1


def test_a_watch_that_is_stopped_judges_no_further_model(quiet: Plant) -> None:
    serve(quiet, range(4))
    quiet.stop.set()
    look(quiet, 8)
    assert fired(quiet) == []


def test_looking_changes_nothing_of_a_model_that_is_served(quiet: Plant) -> None:
    live(quiet, 30, lambda _: True)
    assert quiet.execute("SELECT FROM alert_states WHERE model_id = 'fraud'") == []

"""Charts of alerts: what is read, and that it follows the message into its thread."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from psycopg import Connection

from driftline.core.notice import Breach, Kind, Notice
from driftline.core.rules import Severity
from driftline.notify.chart import Chart
from driftline.store.deliveries import NewDelivery, add_deliveries
from driftline.store.incidents import place_incident
from driftline.store.performance import PerformanceResult, upsert_performance
from driftline.workers.catalog import Catalog
from driftline.workers.charts import read_chart
from driftline.workers.up import read_clock
from tests.notify.provider import Reply, Request, run_provider
from tests.notify.test_chart import Slack
from tests.workers.couriers import deliver, ended, hurry, reach, read
from tests.workers.plant import Plant, at, make_batch, wait_for

AMOUNT = Breach("amount", "psi", 0.9, 0.2)
HOURS = 6


@pytest.fixture
def drifted(plant: Plant) -> Plant:
    """Six windows, of which the amounts of the last two drifted."""
    batches = [
        make_batch([f"{hour}-{n}" for n in range(200)], at(hour + 0.5), shift=2 * (hour >= 4), seed=hour)
        for hour in range(HOURS)
    ]
    plant.send(*batches, make_batch(["last"], at(HOURS + 1)))
    plant.drain()
    plant.let_pass(120)
    plant.cycle()
    return plant


def make_notice(*breaches: Breach) -> Notice:
    windows = ((at(4), at(5)), (at(5), at(6)))
    return Notice(
        Kind.TRIGGER,
        Severity.HIGH,
        "fraud",
        "3",
        "drift",
        "",
        "k",
        read_clock(),
        breaches=breaches,
        windows=windows,
    )


def chart_of(plant: Plant, *breaches: Breach) -> Chart | None:
    with plant.database.transaction() as conn:
        return read_chart(conn, Catalog(), make_notice(*breaches))


def test_the_windows_around_the_firing_are_read(drifted: Plant) -> None:
    chart = chart_of(drifted, AMOUNT)
    assert chart is not None
    assert chart.title == "fraud 3, amount: psi 0.9 (threshold 0.2)"
    assert chart.starts[:HOURS] == tuple(at(hour) for hour in range(HOURS))
    assert (chart.threshold, chart.fired) == (0.2, (at(4), at(6)))
    assert all(value < 0.2 for value in chart.values[:4])
    assert all(value > 0.2 for value in chart.values[4:HOURS])


def test_the_worst_that_has_numbers_is_shown(drifted: Plant) -> None:
    for breach in (
        Breach("", "volume", 0, 1),
        Breach("nobody", "psi", 0.9, 0.2),
        Breach("amount", "psi", 0.9, 0.2, segment="country=XX"),
        Breach("amount", "psi", 0.9, 0.2, model="churn 1"),
        Breach("", "performance_roc_auc", 0.7, 0.8),
        Breach("", "drifted_share", 0.7, 0.2),
    ):
        assert chart_of(drifted, breach) is None
        chart = chart_of(drifted, breach, AMOUNT)
        assert chart is not None
        assert "amount" in chart.title
    assert chart_of(drifted) is None


def test_there_is_none_without_windows(conn: Connection) -> None:
    nobody = Notice(Kind.TRIGGER, Severity.LOW, "nobody", "1", "", "", "k", 0, breaches=(AMOUNT,))
    assert read_chart(conn, Catalog(), nobody) is None


@pytest.mark.parametrize("metric", ["performance_roc_auc", "estimated_roc_auc"])
def test_performance_is_shown(plant: Plant, metric: str) -> None:
    values = [0.9, 0.91, math.nan, 0.9, 0.7, 0.69]
    with plant.database.transaction() as conn:
        upsert_performance(conn, [_measure(hour, value) for hour, value in enumerate(values)])
    chart = chart_of(plant, Breach("", metric, 0.69, 0.8))
    assert chart is not None
    np.testing.assert_array_equal(chart.values, values)


def _measure(hour: int, value: float) -> PerformanceResult:
    one, status = np.array([value]), ("ok" if value > 0 else "too_few",)
    return PerformanceResult(
        "fraud", "3", "", at(hour), at(hour + 1), 100, 100, 100.0, 1.0, 1.0, ("roc_auc",), one, one, one, status,
        one, one, one, status, ("inside",), ("inside",), ("none",), {}, 0,
    )  # fmt: skip


@pytest.fixture
def slack() -> Iterator[Slack]:
    slack = Slack()
    with run_provider(slack.answer) as slack.provider:
        yield slack


def add(plant: Plant, *models: str) -> None:
    with plant.database.transaction() as conn:
        for model in models:
            incident = place_incident(conn, model, "", [], Severity.HIGH, read_clock())
            add_deliveries(conn, [NewDelivery(incident, "bot", make_notice(AMOUNT))], read_clock())


def test_a_chart_follows_the_message(drifted: Plant, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    with deliver(drifted.database, reach("bot", f"{slack.provider.url}/api")):
        add(drifted, "fraud")
        wait_for(lambda: slack.shared)
    [(image, content)] = slack.shared
    assert image[1:4] == b"PNG"
    assert content["thread_ts"] == read(drifted.database)[0].reference == "17.5"


def test_a_chart_that_fails_changes_nothing(drifted: Plant, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bot has no right to upload: it is asked once, not for each message."""
    hurry(monkeypatch)
    answer = slack.provider.answer

    def refuse(request: Request) -> Reply:
        if "getUploadURL" in request.path:
            return Reply(200, {"ok": False, "error": "missing_scope"})
        return answer(request)

    slack.provider.answer = refuse
    with deliver(drifted.database, reach("bot", f"{slack.provider.url}/api")):
        add(drifted, "fraud", "churn", "spam")
        wait_for(lambda: ended(drifted.database))
    assert {(each.status, each.attempts) for each in read(drifted.database)} == {("sent", 1)}
    assert sum("getUploadURL" in request.path for request in slack.provider.requests) == 1

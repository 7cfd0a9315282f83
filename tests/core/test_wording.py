"""The words of notices."""

from dataclasses import replace

import pytest

from driftline.core.alert import Alert, rank_alerts
from driftline.core.decision import Cause, Message
from driftline.core.incident import Incident
from driftline.core.notice import Breach, Kind, Notice
from driftline.core.rules import Severity
from driftline.core.wording import compose_notice, write_title
from tests.timelines import HOUR, START, make_alert

INCIDENT = Incident(17, "fraud", "3", "risk", START, START + HOUR, "ana")
HIGH = Severity.HIGH
NOON = "2026-01-05T12:00:00Z"


def alert(name: str, number: int = 1, severity: Severity = HIGH, **changes: object) -> Alert:
    return replace(make_alert(number, name, severity, START), **changes)  # type: ignore[arg-type]


def compose(cause: Cause, *alerts: Alert, news: tuple[Alert, ...] = (), kind: Kind = Kind.UPDATE) -> Notice:
    return compose_notice(INCIDENT, Message("chat", kind, cause, HIGH, alerts, news))


@pytest.mark.parametrize(
    ("alerts", "title"),
    [
        ([alert("amount")], "fraud 3: amount drifted (psi 0.4)"),
        ([alert("amount@country=DE")], "fraud 3: amount [country=DE] drifted (psi 0.4)"),
        ([alert("a"), alert("b"), alert("b@x")], "fraud 3: 2 features drifted"),
        ([alert("a"), alert("b"), alert("c:missing_rate", value=0.21)], "fraud 3: 2 features drifted and 1 more"),
        ([alert("model"), alert("a")], "fraud 3: 40% of the features drifted, 1 feature drifted"),
        ([alert("model:volume", value=0.0)], "fraud 3: no predictions"),
        ([alert("model:volume", value=3.0)], "fraud 3: volume 3 (threshold 0.2)"),
        ([alert("model:data_age", value=7200.0)], "fraud 3: the newest data are 2 hours old"),
        ([alert("amount:missing_rate")], "fraud 3: amount: missing_rate 0.4 (threshold 0.2)"),
        ([alert("model:missing_rate")], "fraud 3: amount: missing_rate 0.4 (threshold 0.2)"),
        (
            [alert("model:performance_roc_auc", value=0.812, threshold=0.86), alert("a:missing_rate")],
            "fraud 3: roc_auc dropped to 0.812 (threshold 0.86) and 1 more",
        ),
        ([alert("model:estimated_rmse")], "fraud 3: estimated rmse rose to 0.4 (threshold 0.2)"),
        ([alert("model:label_coverage")], "fraud 3: label_coverage dropped to 0.4 (threshold 0.2)"),
        (
            [alert("profiler:consumer_lag", value=300.0, model_id="driftline", model_version="")],
            "driftline: the profiler is 5 minutes behind",
        ),
        ([alert("monitor:cycle_delay", value=7_200.0)], "fraud 3: windows have waited 2 hours for the monitor"),
        ([alert("chat:delivery_failures", value=3.0)], "fraud 3: chat does not take notices (3 failed)"),
        (
            [alert("model:reference_missing", value=4_000.0)],
            "fraud 3: no reference; samples have waited 67 minutes for it",
        ),
        (
            [alert("model:reference_outdated", value=31.0 * 86_400)],
            "fraud 3: its reference is 31 days older than the version",
        ),
        (
            [alert("model:failed_windows", value=2.0)],
            "fraud 3: the drift of 2 windows could not be computed",
        ),
        ([alert("a"), alert("b", model_version="4")], "fraud 3 and 1 more: 2 features drifted"),
    ],
)
def test_titles(alerts: list[Alert], title: str) -> None:
    assert write_title(rank_alerts(tuple(alerts))) == title


@pytest.mark.parametrize(
    ("cause", "news", "summary"),
    [
        (Cause.NEW, "abc", "3 alerts: 3 HIGH."),
        (Cause.NEW, "b", "New: b (psi). 3 alerts: 3 HIGH."),
        (Cause.REPEATED, "", f"It still fires, since {NOON}, and nobody has acknowledged it. 3 alerts: 3 HIGH."),
        (Cause.ESCALATED, "abc", f"Nobody has acknowledged it since {NOON}. 3 alerts: 3 HIGH."),
        (Cause.ACKNOWLEDGED, "", "ana acknowledged it. 3 alerts: 3 HIGH."),
        (Cause.RESOLVED, "", "It is over: a (psi), b (psi), c (psi)."),
    ],
)
def test_summaries(cause: Cause, news: str, summary: str) -> None:
    alerts = tuple(alert(name, number) for number, name in enumerate("abc"))
    told = tuple(each for each in alerts if each.feature in news)
    assert compose(cause, *alerts, news=told).summary == summary


def test_alerts_are_ranked_the_worst_first() -> None:
    ranked = rank_alerts(
        (
            alert("little", 1, value=0.21),
            alert("unknown", 2, value=float("nan")),
            alert("much", 3, value=9.0),
            alert("critical", 4, Severity.CRITICAL, value=0.21),
            alert("model", 5, value=0.21),
            alert("pvalue:ks_pvalue", 6, value=1e-9, threshold=0.01),
            alert("low", 7, Severity.LOW, value=99.0),
        )
    )
    assert [each.feature for each in ranked] == ["critical", "", "much", "pvalue", "little", "unknown", "low"]


def test_a_notice_has_what_its_alerts_say() -> None:
    notice = compose_notice(
        INCIDENT,
        Message(
            "chat",
            Kind.RESOLVE,
            Cause.RESOLVED,
            Severity.CRITICAL,
            (
                alert("a", 1, resolved_at=START + HOUR, windows=((0, 10), (10, 20))),
                alert("b", 2, resolved_at=START + 2 * HOUR, windows=((10, 20),), runbook="https://wiki/b"),
                alert("c", 3, model_id="churn", model_version="1", owner="bob", resolved_at=START),
            ),
        ),
        "https://driftline.example.com/alerts?incident_id=17",
    )
    assert notice == Notice(
        kind=Kind.RESOLVE,
        severity=Severity.CRITICAL,
        model_id="fraud",
        model_version="3",
        title="fraud 3 and 1 more: 3 features drifted",
        summary="It is over: a (psi), b (psi), c (psi).",
        dedup_key="driftline/17",
        fired_at=START,
        resolved_at=START + 2 * HOUR,
        breaches=(
            Breach("a", "psi", 0.4, 0.2),
            Breach("b", "psi", 0.4, 0.2),
            Breach("c", "psi", 0.4, 0.2, model="churn 1"),
        ),
        windows=((0, 10), (10, 20), (START - HOUR, START)),
        url="https://driftline.example.com/alerts?incident_id=17",
        runbook="https://wiki/b",
        owner="bob",
        team="risk",
    )


def test_the_model_of_a_notice_is_that_of_its_incident() -> None:
    """What a destination finds an incident by must not change with the alert that is worst."""
    notice = compose(Cause.NEW, alert("a", model_id="churn", severity=Severity.CRITICAL), alert("b"))
    assert (notice.model_id, notice.model_version) == ("fraud", "3")
    assert str(notice.breaches[0]) == "churn 3, a: psi 0.4 (threshold 0.2)"


def test_of_very_many_names_and_windows_some_are_left_out() -> None:
    windows = tuple((number, number + 1) for number in range(300))
    alerts = [alert(f"f{number:02}", number, windows=windows) for number in range(20)]
    notice = compose(Cause.RESOLVED, *alerts)
    assert notice.summary == "It is over: f00 (psi), f01 (psi), f02 (psi), f03 (psi), f04 (psi) and 15 more."
    assert notice.windows == windows[-100:]
    assert len(notice.breaches) == 20

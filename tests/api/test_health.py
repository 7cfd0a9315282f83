"""GET /healthz, /readyz and /metrics."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import Connection

from driftline.api.app import create_app
from driftline.core.drift import Status
from driftline.log.offsets import advance_offset
from driftline.log.postgres import append
from driftline.log.postgres_log import PostgresLog
from driftline.log.record import NewRecord
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.clocks import RelayClock, advance_partition_clock, advance_relay_clock
from driftline.store.database import Database, open_pool
from driftline.workers.joiner import CONSUMER as JOINER
from driftline.workers.partition import CONSUMER
from driftline.workers.sampler import CONSUMER as SAMPLER
from tests.api.conftest import Stage
from tests.api.examples import HOUR, NOON, make_body, make_frame, make_prediction, upload_reference, write_window


def scrape(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Give every sample by its name and the values of its labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_up(client: httpx.Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "up"})


def test_ready(client: httpx.Client, database: Database) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "database": "ok",
        "migrations": "ok",
        "log_partitions": 4,
        "sampler_seconds_behind": None,
        "profiler_seconds_behind": None,
        "joiner_seconds_behind": None,
    }
    with database.transaction() as conn:
        advance_partition_clock(conn, PREDICTION_SAMPLES, 0, NOON)
        advance_partition_clock(conn, LABELS, 0, NOON + 2 * HOUR)
        advance_relay_clock(conn, PREDICTION_LOGS, 0, RelayClock(NOON + HOUR, 7), output_time=NOON)
    ready = client.get("/readyz").json()
    assert ready["profiler_seconds_behind"] > ready["sampler_seconds_behind"] + 3599 > 3600
    assert ready["sampler_seconds_behind"] > ready["joiner_seconds_behind"] + 3599 > 3600


def test_not_ready_without_all_migrations(client: httpx.Client, database: Database) -> None:
    with database.transaction() as conn:
        conn.execute("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "run `driftline migrate`" in answer.json()["detail"]


@pytest.fixture
def gone(conn: Connection, database: Database, settings: Settings, stage: Stage) -> Iterator[None]:
    """An app whose database went away after it had been made."""
    url = database.url.replace(conn.info.dbname, "gone")
    conn.execute("COMMIT")
    conn.autocommit = True
    conn.execute("CREATE DATABASE gone TEMPLATE template")
    with open_pool(url) as going:
        stage.current = create_app(going, PostgresLog(going), settings)
        going.pool.close()
        yield
    conn.execute("DROP DATABASE gone WITH (FORCE)")


@pytest.mark.usefixtures("gone")
def test_without_a_database(browser: httpx.Client) -> None:
    assert browser.get("/healthz").status_code == 200
    for path in ("/readyz", "/models", "/models/fraud/drift"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.headers["retry-after"] == "5"
        assert answer.json()["type"] == "urn:driftline:problem:unavailable"
    answer = browser.post("/predictions", json=make_body(make_prediction()))
    assert answer.status_code == 503
    assert "send the request again; nothing of this request was kept" in answer.json()["detail"]
    metrics = scrape(browser)
    assert metrics["driftline_database_up",] == 0
    assert ("driftline_open_windows",) not in metrics


def test_requests_are_counted_by_route(fraud: httpx.Client) -> None:
    fraud.get("/models/fraud")
    fraud.get("/models/nobody")
    fraud.get("/nowhere/at/all")
    fraud.get("/models/fraud/features/amount/distribution")
    metrics = scrape(fraud)
    counted = "driftline_http_requests_total"
    assert metrics[counted, "POST", "/models", "201"] == 1
    assert metrics[counted, "GET", "/models/{model_id}", "200"] == 1
    assert metrics[counted, "GET", "/models/{model_id}", "404"] == 1
    assert metrics[counted, "GET", "none", "404"] == 1
    distribution = "/models/{model_id}/features/{feature:path}/distribution"
    assert metrics[counted, "GET", distribution, "404"] == 1
    assert metrics["driftline_http_request_seconds_count", "/models/{model_id}"] == 2


def test_events_are_counted_by_outcome(fraud: httpx.Client) -> None:
    before = scrape(fraud)
    assert [
        before["driftline_events_total", outcome] for outcome in ("accepted", "duplicate", "dead_lettered")
    ] == [
        0,
        0,
        0,
    ]
    body = make_body(make_prediction("a"), make_prediction("a"), make_prediction("b"), 7)
    for _ in range(2):
        fraud.post("/predictions", json=body, headers={"idempotency-key": "k"})
    after = scrape(fraud)
    assert after["driftline_events_total", "accepted"] == 2
    assert after["driftline_events_total", "duplicate"] == 4
    assert after["driftline_events_total", "dead_lettered"] == 1  # the second time nothing new is kept
    assert after["driftline_dead_letters_last_day", "not_an_object"] == 1


def test_the_log_and_the_windows(fraud: httpx.Client, database: Database) -> None:
    for k in range(3):
        fraud.post("/predictions", json=make_body(make_prediction(str(k))))
    metrics = scrape(fraud)
    ends = {
        name[1]: value
        for name, value in metrics.items()
        if name[0] == "driftline_log_end_offset" and name[2] == PREDICTION_SAMPLES
    }
    assert sorted(ends.values()) == [0, 0, 0, 3]
    partition = int(next(partition for partition, end in ends.items() if end))
    assert metrics["driftline_consumer_lag", CONSUMER, str(partition), PREDICTION_SAMPLES] == 3
    assert ("driftline_last_computed_seconds_ago",) not in metrics
    upload_reference(fraud)
    write_window(database, make_frame(600), NOON)
    write_window(database, make_frame(60), NOON + HOUR, status=Status.PARTIAL)
    with database.transaction() as conn:
        advance_offset(conn, CONSUMER, PREDICTION_SAMPLES, partition, expected=0, next_offset=2)
        advance_partition_clock(conn, PREDICTION_SAMPLES, partition, NOON)
        conn.execute("UPDATE windows SET closed_at = now() WHERE closed_at IS NOT NULL")
    metrics = scrape(fraud)
    assert metrics["driftline_consumer_lag", CONSUMER, str(partition), PREDICTION_SAMPLES] == 1
    assert metrics["driftline_consumed_seconds_ago", CONSUMER, str(partition), PREDICTION_SAMPLES] > 3600
    assert metrics["driftline_open_windows",] == 1
    assert metrics["driftline_windows_closed_last_hour",] == 1
    assert metrics["driftline_uncomputed_windows",] == 2  # these were never computed by a worker
    assert metrics["driftline_last_computed_seconds_ago",] > 3600
    assert metrics["driftline_database_up",] == 1


def test_what_the_sampler_has_not_sampled(client: httpx.Client, database: Database) -> None:
    of_first = (SAMPLER, "0", PREDICTION_LOGS)
    with database.transaction() as conn:
        append(conn, PREDICTION_LOGS, 0, [NewRecord(b"p", b"{}")] * 5)
    metrics = scrape(client)
    assert metrics["driftline_consumer_lag", *of_first] == 5
    assert ("driftline_consumed_seconds_ago", *of_first) not in metrics
    with database.transaction() as conn:
        advance_relay_clock(conn, PREDICTION_LOGS, 0, RelayClock(NOON, 3), output_time=NOON)
    metrics = scrape(client)
    assert metrics["driftline_consumer_lag", *of_first] == 2
    assert metrics["driftline_consumed_seconds_ago", *of_first] > 3600


def test_what_the_joiner_has_not_joined(client: httpx.Client, database: Database) -> None:
    labels, samples = (JOINER, "0", LABELS), (JOINER, "0", PREDICTION_SAMPLES)
    with database.transaction() as conn:
        append(conn, LABELS, 0, [NewRecord(b"p", b"{}")] * 5)
        append(conn, PREDICTION_SAMPLES, 0, [NewRecord(b"p", b"{}")] * 3)
    metrics = scrape(client)
    assert metrics["driftline_log_end_offset", "0", LABELS] == 5
    assert (metrics["driftline_consumer_lag", *labels], metrics["driftline_consumer_lag", *samples]) == (5, 3)
    with database.transaction() as conn:
        for topic in (LABELS, PREDICTION_SAMPLES):
            advance_offset(conn, JOINER, topic, 0, expected=0, next_offset=2)
        advance_partition_clock(conn, LABELS, 0, NOON)
    metrics = scrape(client)
    assert (metrics["driftline_consumer_lag", *labels], metrics["driftline_consumer_lag", *samples]) == (3, 1)
    assert metrics["driftline_consumed_seconds_ago", *labels] > 3600
    assert ("driftline_consumed_seconds_ago", *samples) not in metrics


def test_no_label_names_a_model_or_a_feature(fraud: httpx.Client, database: Database) -> None:
    upload_reference(fraud)
    write_window(database, make_frame(600))
    fraud.post("/predictions", json=make_body(make_prediction(), version="9"))
    fraud.get("/models/fraud/features/amount/distribution")
    text = fraud.get("/metrics").text
    assert "fraud" not in text
    assert "amount" not in text


def test_openmetrics(client: httpx.Client) -> None:
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")

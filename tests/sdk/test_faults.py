"""Bad days: servers that refuse, fail, hang up or are away, and calls that make no sense."""

import json
import logging
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from driftline import Monitor
from driftline.log.batch_format import decode_batch, read_header
from tests.sdk.conftest import ROW, SCHEMA
from tests.sdk.stub import Reply, problem, run_stub


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "driftline"]


def ids_of(posts):
    return [prediction_id for post in posts for prediction_id in decode_batch(post.body, SCHEMA).ids]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        problem(503, "unavailable", "the database is busy"),
        problem(500, "internal-error", "driftline failed"),
        problem(429, "unavailable", "later", Retry_After="0"),
        problem(408, "unavailable", "too slow"),
        problem(425, "unavailable", "too early"),
        Reply(404, content="default backend - 404"),
        Reply(403, content="forbidden by a proxy"),
    ],
    ids=lambda reply: "hangs up" if reply is None else str(reply.status),
)
def test_what_may_pass_is_tried_again_with_the_same_id(stub, monitor_of, reply):
    stub.replies = [reply, reply]
    monitor = monitor_of(url=stub.url)
    prediction_id = monitor.log(ROW, 1)
    assert monitor.flush()
    posts = stub.posts()
    assert len(posts) == 3
    assert len({(post.headers["Idempotency-Key"], post.body) for post in posts}) == 1
    assert ids_of(posts[:1]) == [prediction_id]
    assert posts[0].headers["Idempotency-Key"] == read_header(posts[0].body).batch_id
    assert (monitor.counts.sent, monitor.counts.retries) == (1, 2)


def test_retry_after_is_honoured_even_in_a_hurry(stub, monitor_of):
    stub.replies = [problem(503, "unavailable", "busy", Retry_After="60")]
    monitor = monitor_of(url=stub.url)
    monitor.log(ROW, 1)
    assert not monitor.flush(0.5)
    assert len(stub.posts()) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 415, 422, 301])
def test_what_is_refused_is_not_sent_again_and_said_once(stub, monitor_of, caplog, status):
    stub.replies = [problem(status, f"kind-{status}", "this is why")] * 2
    monitor = monitor_of(url=stub.url)
    for _ in range(2):
        monitor.log(ROW, 1)
        assert monitor.flush()
    assert len(stub.posts()) == 2
    assert (monitor.counts.sent, monitor.counts.failed) == (0, 2)
    (message,) = said(caplog)
    assert "this is why" in message or status == 301


def test_dead_letters_are_counted_and_said(stub, monitor_of, caplog):
    letter = {"index": 0, "reason_code": "timestamp_in_future", "reason": "check the sender's clock"}
    stub.replies = [Reply(202, {}, {"accepted": 1, "duplicates": 0, "dead_lettered": [letter]})]
    monitor = monitor_of(url=stub.url, flush_interval_s=60, schema=SCHEMA)
    monitor.flush()
    monitor.log(ROW, 1)
    monitor.log(ROW, 1)
    assert monitor.flush()
    assert (monitor.counts.sent, monitor.counts.failed) == (1, 1)
    assert "check the sender's clock" in said(caplog)[0]


def test_rows_wait_until_the_version_is_registered(stub, monitor_of, caplog):
    known, stub.settings = stub.settings, problem(404, "not-found", "register it with POST /models")
    monitor = monitor_of(url=stub.url)
    prediction_id = monitor.log(ROW, 1)
    assert stub.wait_for(lambda: len(stub.requests) >= 3)
    assert not stub.posts()
    stub.settings = known
    assert monitor.flush()
    assert ids_of(stub.posts()) == [prediction_id]
    assert len(said(caplog)) == 1
    assert "register it with POST /models" in said(caplog)[0]


def test_rows_that_wait_are_bounded_and_the_oldest_go(stub, monitor_of, caplog):
    known, stub.settings = stub.settings, problem(409, "no-schema", "upload its reference")
    monitor = monitor_of(url=stub.url, max_buffered_rows=3)
    ids = [monitor.log(ROW, 1) for _ in range(5)]
    stub.settings = known
    assert monitor.flush()
    assert ids_of(stub.posts()) == ids[2:]
    assert (monitor.counts.kept, monitor.counts.overflowed, monitor.counts.sent) == (5, 2, 3)


def test_rows_under_different_n_do_not_share_a_batch(stub, monitor_of):
    stub.serve_schema(SCHEMA, n=1)
    monitor = monitor_of(url=stub.url, flush_interval_s=60)
    assert monitor.flush()
    monitor.log(ROW, 1)
    stub.serve_schema(SCHEMA, n=2)
    asked = len(stub.requests)
    assert stub.wait_for(lambda: len(stub.requests) >= asked + 2)
    for _ in range(64):
        monitor.log(ROW, 1)
    assert monitor.flush()
    assert {read_header(post.body).weight for post in stub.posts()} == {1, 2}


def test_settings_are_asked_for_with_their_etag(stub, monitor_of):
    monitor = monitor_of(url=stub.url)
    monitor.flush()
    assert stub.wait_for(lambda: len(stub.requests) >= 3)
    asked = [request for request in stub.requests if request.method == "GET"]
    assert [request.path for request in asked[:1]] == ["/models/fraud/versions/3/settings"]
    assert "If-None-Match" not in asked[0].headers
    assert asked[2].headers["If-None-Match"] == stub.settings.headers["ETag"]


def test_a_server_that_is_none_is_told(stub, monitor_of, caplog):
    stub.settings = Reply(200, {"ETag": '"x"'}, ["hello"])
    monitor = monitor_of(url=stub.url)
    monitor.log(ROW, 1)
    assert not monitor.flush(0.3)
    assert "DRIFTLINE_URL" in said(caplog)[0]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_the_spool_outlives_the_process_and_is_sent_oldest_first(monitor_of, tmp_path):
    port = free_port()
    away = {"url": f"http://127.0.0.1:{port}", "spool_dir": tmp_path, "schema": SCHEMA}
    first = monitor_of(**away)
    ids = []
    for i in range(3):
        ids.append(first.log({"amount": i}, 1))
        assert not first.flush(0.2)
    first.label(ids[0], 1)
    assert not first.close()
    assert (first.counts.spooled, first.counts.labels_spooled, first.counts.sent) == (3, 1, 0)
    with run_stub(port) as stub:
        stub.serve_schema(SCHEMA)
        second = monitor_of(**away)
        ids.append(second.log({"amount": 3}, 1))
        assert second.flush()
        assert ids_of(stub.posts()) == ids
        assert json.loads(stub.posts("/labels")[0].body)["prediction_id"] == ids[0]
        assert (second.counts.sent, second.counts.labels_sent) == (4, 1)
        second.close()
    assert not list(tmp_path.rglob("*.batch"))


def test_without_a_spool_rows_wait_in_memory(monitor_of):
    port = free_port()
    monitor = monitor_of(url=f"http://127.0.0.1:{port}", schema=SCHEMA)
    ids = [monitor.log(ROW, 1)]
    assert not monitor.flush(0.2)
    with run_stub(port) as stub:
        stub.serve_schema(SCHEMA)
        ids.append(monitor.log(ROW, 1))
        assert monitor.flush()
        assert ids_of(stub.posts()) == ids
        monitor.close()


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({}, "DRIFTLINE_URL"),
        ({"url": "driftline:8420"}, "http://"),
        ({"transport": "carrier pigeon", "url": "http://x"}, "http, kafka or file"),
        ({"transport": "file"}, "DRIFTLINE_DIR"),
        ({"transport": "file", "dir": "x"}, "give schema"),
        ({"transport": "kafka"}, "DRIFTLINE_KAFKA_SERVERS"),
        ({"url": "http://x", "max_rows_per_s": 0}, "above 0"),
        ({"url": "http://x", "sampling_n": 0}, "from 1"),
        ({"url": "http://x", "schema": {"features": [{"name": "x", "kind": "number"}]}}, "use numeric"),
        ({"url": "http://x", "schema": 7}, "schema"),
        ({"url": "http://x", "colour": "red"}, "there is no option 'colour'"),
    ],
)
def test_a_broken_configuration_is_said_once_and_breaks_nothing(monitor_of, caplog, arguments, fix):
    monitor = monitor_of(**arguments)
    assert len(monitor.log(ROW, 1)) == 36
    assert len(monitor.log_batch([ROW, ROW], [1, 0])) == 2
    monitor.label("a", 1)
    assert monitor.fallback_active is False
    assert monitor.flush()
    assert monitor.close()
    (message,) = said(caplog)
    assert fix in message
    assert (monitor.counts.failed, monitor.counts.labels_failed) == (3, 1)


def test_a_flush_after_close_does_not_wait(stub, monitor_of):
    monitor = monitor_of(url=stub.url)
    monitor.log(ROW, 1)
    assert monitor.close()
    assert monitor.flush(600)


def test_a_flush_after_a_close_in_vain_says_so(monitor_of):
    monitor = monitor_of(url=f"http://127.0.0.1:{free_port()}", schema=SCHEMA)
    monitor.log(ROW, 1)
    assert not monitor.close()
    assert not monitor.flush(600)


def test_logging_after_close_is_counted_and_said(stub, monitor_of, caplog):
    monitor = monitor_of(url=stub.url)
    monitor.log(ROW, 1)
    assert monitor.close()
    assert monitor.close()
    monitor.log(ROW, 1)
    assert (monitor.counts.sent, monitor.counts.failed) == (1, 1)
    assert "closed" in said(caplog)[0]


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
odd = st.sampled_from([object(), np.array([[1.0], [2.0]]), Path("x"), "\ud800", "\x00", NotImplemented, len])
anything = st.recursive(
    plain | odd,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def filing(tmp_path_factory):
    with Monitor(
        "fraud", "3", transport="file", dir=tmp_path_factory.mktemp("dir"), schema=SCHEMA, max_rows_per_s=10**6
    ) as monitor:
        yield monitor


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(anything, min_size=9, max_size=9))
def test_no_argument_makes_log_raise(filing, arguments):
    assert isinstance(filing.log(*arguments), str)


@given(st.lists(anything, min_size=9, max_size=9), st.lists(anything, min_size=3, max_size=3))
def test_no_argument_makes_log_batch_or_label_raise(filing, arguments, others):
    assert isinstance(filing.log_batch(*arguments), list)
    filing.label(*others[:2], entity_id=others[2])
    filing.label("a", 1, timestamp=others[0], known_at=others[1], weight=others[2])


def test_nor_do_objects_and_errors_that_have_no_text(filing):
    class Mute(Exception):
        def __str__(self):
            raise self

    class Broken(dict):
        def __iter__(self):
            raise Mute

        keys = items = __iter__

    assert isinstance(filing.log(ROW, 1, prediction_id=Mute()), str)
    assert isinstance(filing.log(ROW, 1, timestamp=Mute()), str)
    assert isinstance(filing.log(Broken(amount=1), 1), str)
    assert isinstance(filing.log_batch(Broken(amount=[1])), list)


def test_every_row_is_accounted_for_whatever_it_is(filing):
    assert filing.flush()
    counts = filing.counts
    assert counts.sent + counts.failed + counts.overflowed == counts.kept
    assert counts.labels_sent + counts.labels_failed + counts.labels_overflowed == counts.labels_kept


@pytest.mark.parametrize("handler", [lambda _: 1 / 0], ids=["handler fails"])
def test_a_host_whose_logging_fails_goes_on(monitor_of, handler):
    class Broken(logging.Handler):
        def handle(self, record):
            return handler(record)

    broken = Broken()
    logging.getLogger("driftline").addHandler(broken)
    try:
        monitor_of().log(ROW, 1)
    finally:
        logging.getLogger("driftline").removeHandler(broken)

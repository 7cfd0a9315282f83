"""The whole system, the same on every log: by whatever door events come, each is counted once."""

from collections.abc import Iterable
from dataclasses import replace

from driftline import Monitor
from driftline.core.schema import Schema
from driftline.log.batch_format import CONTENT_TYPE, encode_batch
from driftline.log.json_format import Submission
from driftline.log.json_rows import pack_predictions
from driftline.workers.up import read_clock
from tests.system.conftest import OpenShop
from tests.system.shop import DRIFTS_FROM, NAMES, Shop, make_event, record_of

WORKERS = ("sampler", "profiler", "profiler", "joiner", "joiner", "monitor", "maintenance")
EVENTS = range(1_200)
JSON, BATCHES, LOGGED, MONITORED = (EVENTS[door::4] for door in range(4))
EVENT = make_event(0)
AHEAD = record_of({**EVENT, "prediction_id": "ahead", "timestamp": "2100-01-01T00:00:00Z"})
GOOD = record_of(EVENT)
POISON = [
    replace(GOOD, key=b"poison", payload=b"\x00no json"),
    replace(GOOD, key=b"another key"),
    replace(GOOD, headers={**GOOD.headers, "version": "9"}),
    replace(GOOD, headers={}),
    AHEAD,
]
REFUSED = {
    "malformed_record": 1,
    "wrong_key": 1,
    "unknown_version": 1,
    "no_model": 1,
    "timestamp_in_future": 1,
    "no_timestamp": 1,
}


def test_every_door_leads_to_the_same_counts(open_shop: OpenShop, database_url: str) -> None:
    with open_shop(database_url, WORKERS) as shop:
        shop.register()
        shop.label(EVENTS[:600])  # before their predictions
        shop.log_events(LOGGED)  # these take longest
        shop.append(POISON)
        shop.send(JSON, key="once")
        shop.send(JSON, key="once")
        shop.send(JSON[:300:2])
        shop.log_events(JSON[1:300:2])
        send_batches(shop, BATCHES)
        monitor_events(shop, MONITORED)
        send_without_time(shop)
        shop.await_counts(EVENTS)
        shop.check_counts(EVENTS)
        check_drift(shop)
        shop.label(EVENTS[300:900])
        shop.await_labels(EVENTS[:900])
        shop.crew.await_true(lambda: not shop.lag(), "processing all of the log", shop.lag)
        assert shop.refused() == REFUSED


def send_batches(shop: Shop, numbers: Iterable[int]) -> None:
    """Send events in the batch format, twice with the same key."""
    settings = shop.client.get("/models/shop/versions/1/settings").json()
    schema = Schema.from_dict(settings["schema"])
    events = [make_event(number) for number in numbers]
    submission = Submission("shop", "1", events, range(len(events)))
    batch = pack_predictions(submission, schema, batch_id="b-1", latest=read_clock()).batch
    assert batch is not None
    for accepted in (len(events), 0):
        answer = shop.client.post(
            "/predictions", content=encode_batch(batch, schema), headers={"content-type": CONTENT_TYPE}
        )
        assert (answer.status_code, answer.json()["accepted"]) == (202, accepted), answer.text


def monitor_events(shop: Shop, numbers: Iterable[int]) -> None:
    """Log events as an inference service does."""
    with Monitor("shop", "1", url=str(shop.client.base_url), max_rows_per_s=10_000) as monitor:
        for number in numbers:
            event = make_event(number)
            monitor.log(
                event["features"],
                score=event["score"],
                prediction_id=event["prediction_id"],
                timestamp=str(event["timestamp"]),
            )
        assert monitor.flush(60)
    counts = monitor.counts
    assert (counts.kept, counts.sent) == (len(MONITORED), len(MONITORED))


def send_without_time(shop: Shop) -> None:
    """Send an event that cannot be placed beside one that was counted."""
    lost = {name: value for name, value in make_event(1).items() if name != "timestamp"}
    body = {**NAMES, "predictions": [make_event(0), lost | {"prediction_id": "when?"}]}
    answer = shop.client.post("/predictions", json=body)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)


def check_drift(shop: Shop) -> None:
    """The amounts of the last window have drifted, and nothing else."""
    summary = shop.client.get("/models/shop/drift/summary").json()
    assert summary["status"] == "drifted"
    assert [feature["feature_name"] for feature in summary["drifted"]] == ["amount"]
    series = shop.client.get("/models/shop/drift", params={"limit": 1000}).json()
    drifted = {each["feature_name"]: each["drifted"] for each in series["features"]}
    windows = len(EVENTS) // 300
    steady = DRIFTS_FROM // 300
    assert drifted["amount"] == [False] * steady + [True] * (windows - steady)
    assert drifted["country"] == [False] * windows

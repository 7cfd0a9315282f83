"""A shop's model, watched by a driftline of several processes: what is sent, and what must be counted."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import httpx
import numpy as np
import pandas as pd
from prometheus_client.parser import text_string_to_metric_families
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from driftline.core.moment import from_micros
from driftline.core.profile import Profile, decode_profile
from driftline.core.window import MICROSECONDS
from driftline.log.errors import LogError
from driftline.log.log import Log
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_LOGS
from driftline.store.database import Database
from driftline.store.dead_letters import count_dead_letters
from driftline.store.profiles import read_profiles
from driftline.store.windows import StoredWindow, list_windows
from tests.system.crew import PATIENCE_S, Crew

ROWS_PER_WINDOW = 300
STEP = 3 * MICROSECONDS
WINDOW = ROWS_PER_WINDOW * STEP
BEGIN = 1_372_636_800 * MICROSECONDS
DRIFTS_FROM = 3 * ROWS_PER_WINDOW
"""From this event on amounts are two deviations larger."""
END = BEGIN + 100 * WINDOW
COUNTRIES = ("DE", "FR")
MODEL = {
    "model_id": "shop",
    "version": "1",
    "task": "regression",
    "window": "15m",
    "schema": {
        "features": [{"name": "amount", "kind": "numeric"}, {"name": "country", "kind": "categorical"}],
        "segments": ["country"],
    },
    "settings": {"sampling_n": 1, "expected_rows": ROWS_PER_WINDOW},
}
NAMES = {"model_id": "shop", "version": "1"}
HEADERS = {"model": "shop", "version": "1", "content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Shop:
    """A driftline that watches the shop: its API, database and log, and the workers, which others own."""

    client: httpx.Client
    database: Database
    log: Log
    crew: Crew

    def register(self) -> None:
        """Register the model and upload its reference."""
        assert self.client.post("/models", json=MODEL).status_code == 201
        rng = np.random.default_rng(0)
        training = pd.DataFrame(
            {"amount": rng.normal(size=5000), "country": rng.choice(COUNTRIES, 5000), "score": rng.random(5000)}
        )
        answer = self.client.put(
            "/models/shop/versions/1/reference",
            content=training.to_parquet(),
            headers={"content-type": "application/vnd.apache.parquet"},
        )
        assert answer.status_code == 201, answer.text

    def send(self, numbers: Iterable[int], key: str | None = None) -> None:
        """Send events over HTTP until they are acknowledged."""
        body = {**NAMES, "predictions": [make_event(number) for number in numbers]}
        headers = {} if key is None else {"idempotency-key": key}

        def post() -> bool:
            return self.client.post("/predictions", json=body, headers=headers).status_code == 202

        _insist(post, "sending over HTTP")

    def log_events(self, numbers: Iterable[int]) -> None:
        """Write events to `prediction_logs`, one a record, until they are durable."""
        self.append([record_of(make_event(number)) for number in numbers])

    def append(self, records: list[NewRecord]) -> None:
        """Write records to `prediction_logs` until they are durable; some may be there twice then."""

        def append() -> bool:
            with self.database.transaction() as conn:
                self.log.append(conn, PREDICTION_LOGS, records)
            return True

        _insist(append, "writing to the log")

    def label(self, numbers: Iterable[int]) -> None:
        """Send labels of events over HTTP until they are acknowledged."""
        labels = [{"prediction_id": f"event-{number}", "value": number % 7} for number in numbers]
        body = {"model_id": "shop", "labels": labels}
        _insist(lambda: self.client.post("/labels", json=body).status_code == 202, "sending labels")

    def await_labels(self, numbers: Iterable[int]) -> None:
        """Wait until each event has its label, and no other does."""
        expected = {BEGIN + number * STEP: float(number % 7) for number in set(numbers)}

        def read() -> dict[int, float]:
            with self.database.transaction() as conn:
                rows = conn.execute("SELECT predicted_at, label_value FROM labeled_predictions").fetchall()
            return dict(rows)

        self.crew.await_true(lambda: read() == expected, "joining labels", lambda: f"{len(read())} labels")

    def await_counts(self, numbers: Iterable[int]) -> None:
        """Wait until each window is closed and has been computed with all of its events."""
        expected = expect(numbers)

        def done() -> bool:
            windows = self.windows()
            rows = {start: window.row_count for start, window in windows.items()}
            return rows == expected and all(w.closed_at and w.computed_seq == w.seq for w in windows.values())

        self.crew.await_true(done, "counting every event", lambda: self.tell(expected))

    def check_counts(self, numbers: Iterable[int]) -> None:
        """Look at the profiles: every event is in them once, also by country."""
        events = list(numbers)
        expected = expect(events)
        profiles = self.profiles()
        assert {start: profile.rows for start, profile in profiles.items()} == expected
        for start, profile in profiles.items():
            assert (profile.counts.sum(axis=1) == expected[start]).all()
            assert profile.weight == expected[start]
        for country in COUNTRIES:
            counted = {start: each.rows for start, each in self.profiles(f"country={country}").items()}
            assert counted == expect(number for number in events if country_of(number) == country)

    def windows(self) -> dict[int, StoredWindow]:
        """All windows, by start; none while the database is away."""
        with self.database.transaction() as conn:
            return {each.window_start: each for each in list_windows(conn, "shop", "1", BEGIN, END)}

    def profiles(self, segment: str = "") -> dict[int, Profile]:
        """The profile of each window, by start."""
        with self.database.transaction() as conn:
            found = read_profiles(conn, "shop", "1", since=BEGIN, until=END, segment=segment)
        return {each.window_start: decode_profile(each.payload) for each in found}

    def lag(self) -> dict[tuple[str, str, str], float]:
        """How many records of each partition wait, where any do: (consumer, topic, partition)."""
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        samples = [
            each for family in families if family.name == "driftline_consumer_lag" for each in family.samples
        ]
        assert {sample.labels["consumer"] for sample in samples} == {"sampler", "profiler", "joiner"}
        found = {(s.labels["consumer"], s.labels["topic"], s.labels["partition"]): s.value for s in samples}
        return {place: waiting for place, waiting in found.items() if waiting}

    def refused(self) -> Counter[str]:
        """How many events are among the dead letters, by reason."""
        with self.database.transaction() as conn:
            counts = count_dead_letters(conn, since=0)
        total: Counter[str] = Counter()
        for (_, code), rows in counts.items():
            total[code] += rows
        return total

    def tell(self, expected: Counter[int]) -> str:
        """Say how the counts stand."""
        return "; ".join(
            f"{from_micros(start)}: {window.row_count} of {expected[start]} events"
            f"{'' if window.closed_at else ', open'}{'' if window.computed_seq == window.seq else ', growing'}"
            for start, window in self.windows().items()
        )


def make_event(number: int) -> dict[str, object]:
    """Make an event, always the same for a number."""
    rng = np.random.default_rng(number)
    amount = rng.normal(2.0 if number >= DRIFTS_FROM else 0.0)
    return {
        "prediction_id": f"event-{number}",
        "timestamp": from_micros(BEGIN + number * STEP).isoformat(),
        "features": {
            "amount": float(amount),
            "country": country_of(number),
        },
        "score": float(rng.random()),
    }


def country_of(number: int) -> str:
    """Where an event was."""
    return COUNTRIES[number * 7 % 5 % 2]


def record_of(event: dict[str, object]) -> NewRecord:
    """An event as a record of `prediction_logs`."""
    return NewRecord(str(event["prediction_id"]).encode(), json.dumps(event).encode(), HEADERS)


def expect(numbers: Iterable[int]) -> Counter[int]:
    """How many distinct events each window must count."""
    return Counter(BEGIN + number * STEP // WINDOW * WINDOW for number in set(numbers))


def _insist(attempt: Callable[[], bool], what: str) -> None:
    """Try again while database, log or server are away."""
    deadline = time.monotonic() + PATIENCE_S
    said: object = None
    while time.monotonic() < deadline:
        try:
            if attempt():
                return
        except (httpx.TransportError, OperationalError, PoolTimeout, LogError) as error:
            said = error
        time.sleep(0.1)
    raise AssertionError(f"{what} was not acknowledged within {PATIENCE_S:.0f} s: {said}")

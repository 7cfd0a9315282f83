"""SIGKILL of everything at random moments of a replay: what was acknowledged is counted, once."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from driftline.core.moment import from_micros
from driftline.core.profile import decode_profile
from driftline.core.window import MICROSECONDS
from driftline.settings import Settings
from driftline.store.database import open_database
from driftline.store.label_counts import LabelCounts, read_counts
from driftline.store.profiles import read_profiles
from driftline.store.windows import list_windows

KILLS = 20
BATCHES, ROWS = 240, 100
STEP = 3 * MICROSECONDS
WINDOW = 900 * MICROSECONDS
BEGIN = 1_372_636_800 * MICROSECONDS
END = BEGIN + BATCHES * ROWS * STEP
PATIENCE_S = 120


class Server:
    """`driftline up` in a process of its own, on one data directory, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.killed = 0
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "driftline",
            "up",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.folder),
        ]
        quick = {"FLUSH_INTERVAL_S": "0.1", "ALLOWED_LATENESS_S": "1", "IDLE_CLOSE_S": "2", "LOG_LEVEL": "error"}
        environment = os.environ | {f"DRIFTLINE_{name}": value for name, value in quick.items()}
        environment.pop("DATABASE_URL", None)
        with (self.folder / "up.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)

    def kill(self, *, with_database: bool) -> None:
        await_true(lambda: self.process.poll() is None, "coming back from the blow before")
        self.killed += 1
        lock = self.folder / "postgres" / "postmaster.pid"
        if with_database and lock.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def keep_up(self) -> None:
        """Start again if it was killed: the next blow waits for that."""
        if self.process.poll() is not None:
            self.process = self._start()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=PATIENCE_S) == 0


def await_true(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} took longer than {PATIENCE_S} s"
        time.sleep(0.05)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def make_batch(number: int) -> list[dict]:
    rng = np.random.default_rng(number)
    return [
        {
            "prediction_id": f"event-{number * ROWS + i}",
            "timestamp": from_micros(BEGIN + (number * ROWS + i) * STEP).isoformat(),
            "features": {"amount": float(rng.normal()), "country": str(rng.choice(["DE", "FR"]))},
            "score": float(rng.random()),
        }
        for i in range(ROWS)
    ]


def send(client: httpx.Client, server: Server, number: int) -> None:
    """Send a batch until it is acknowledged; every second one without a key, so that only its ids tell."""
    deadline = time.monotonic() + PATIENCE_S
    body = {"model_id": "shop", "version": "1", "predictions": make_batch(number)}
    headers = {"idempotency-key": f"batch-{number}"} if number % 2 else {}
    while time.monotonic() < deadline:
        try:
            answer = client.post("/predictions", json=body, headers=headers)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == 202:
            return
        server.keep_up()
        time.sleep(0.05)
    raise AssertionError(f"batch {number} was not accepted: {answer}")


def send_labels(client: httpx.Client, server: Server, number: int) -> None:
    """Send the labels of a batch until they are acknowledged."""
    deadline = time.monotonic() + PATIENCE_S
    events = range(number * ROWS, (number + 1) * ROWS)
    labels = [{"prediction_id": f"event-{event}", "value": event % 7} for event in events]
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            body = {"model_id": "shop", "labels": labels}
            answer = client.post("/labels", json=body, headers={"idempotency-key": f"labels-{number}"})
            if answer.status_code == 202:
                return
        server.keep_up()
        time.sleep(0.05)
    raise AssertionError(f"the labels of batch {number} were not accepted")


def read_joined(folder: Path) -> tuple[dict[int, float], LabelCounts]:
    """Give the label of every prediction, by its time, and what became of the labels."""
    with open_database(Settings(data_dir=folder)) as database, database.transaction() as conn:
        rows = conn.execute("SELECT predicted_at, label_value FROM labeled_predictions").fetchall()
        return dict(rows), read_counts(conn, "shop")


def register(client: httpx.Client) -> None:
    schema = {
        "features": [{"name": "amount", "kind": "numeric"}, {"name": "country", "kind": "categorical"}],
        "segments": ["country"],
    }
    model = {"model_id": "shop", "version": "1", "task": "regression", "window": "15m", "schema": schema}
    assert client.post("/models", json=model).status_code == 201
    rng = np.random.default_rng(0)
    training = pd.DataFrame(
        {"amount": rng.normal(size=5000), "country": rng.choice(["DE", "FR"], 5000), "score": rng.random(5000)}
    )
    answer = client.put(
        "/models/shop/versions/1/reference",
        content=training.to_parquet(),
        headers={"content-type": "application/vnd.apache.parquet"},
    )
    assert answer.status_code == 201, answer.text


def read_statuses(client: httpx.Client) -> dict:
    span = {"from": from_micros(BEGIN).isoformat(), "to": from_micros(END).isoformat(), "limit": 1000}
    return client.get("/models/shop/drift", params=span).json()


@pytest.mark.slow
def test_every_window_counts_exactly_what_was_sent(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    chance = random.Random(20)
    moments = set(chance.sample(range(5, BATCHES), KILLS))
    server = Server(folder)
    kills = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        await_true(lambda: is_ready(client), "starting")
        register(client)
        for number in range(BATCHES):
            if number in moments:
                with_database = chance.random() < 0.3
                timer = threading.Timer(
                    chance.random() * 0.4, server.kill, kwargs={"with_database": with_database}
                )
                timer.start()
                kills.append(timer)
            if number % 2:
                send_labels(client, server, number)
            send(client, server, number)
            if not number % 2:
                send_labels(client, server, number)
        for timer in kills:
            while timer.is_alive():
                server.keep_up()
                timer.join(0.05)
        server.keep_up()
        await_true(lambda: is_ready(client), "starting again")
        expected = Counter((BEGIN + i * STEP) // WINDOW * WINDOW for i in range(BATCHES * ROWS))
        await_true(lambda: len(read_statuses(client)["windows"]) == len(expected), "counting")
        await_true(lambda: "partial" not in read_statuses(client)["window_status"], "closing")
        assert sum(read_statuses(client)["rows"]) >= BATCHES * ROWS
        await_true(lambda: len(read_joined(folder)[0]) == BATCHES * ROWS, "joining")
    server.stop()
    assert server.killed == KILLS
    pairs, counts = read_joined(folder)
    assert pairs == {BEGIN + event * STEP: event % 7 for event in range(BATCHES * ROWS)}
    assert counts.joined == BATCHES * ROWS
    assert counts.waiting == counts.corrected == counts.unmatched == 0
    with open_database(Settings(data_dir=folder)) as database, database.transaction() as conn:
        windows = list_windows(conn, "shop", "1", BEGIN, END)
        assert {window.window_start: window.row_count for window in windows} == expected
        assert all(window.computed_seq == window.seq and window.closed_at for window in windows)
        profiles = read_profiles(conn, "shop", "1", since=BEGIN, until=END)
        assert {each.window_start: decode_profile(each.payload).rows for each in profiles} == expected
        assert all((decode_profile(each.payload).counts.sum(axis=1) == each.row_count).all() for each in profiles)
        by_country = [
            sum(
                each.row_count
                for each in read_profiles(conn, "shop", "1", since=BEGIN, until=END, segment=segment)
            )
            for segment in ("country=DE", "country=FR")
        ]
        assert sum(by_country) == BATCHES * ROWS

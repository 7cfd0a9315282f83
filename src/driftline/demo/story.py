"""The story of the demo: a model learns in winter, meets spring, is retrained if somebody says so, and goes on."""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from driftline.demo.flights import TIME_ZONE, Flights, load_flights, predict, predict_unseen, train_model
from driftline.demo.replay import (
    Sent,
    Stopwatch,
    approve_run,
    await_end,
    await_labels,
    await_proposal,
    await_windows,
    propose_retraining,
    read_alerts,
    read_months,
    register_model,
    send_flights,
)
from driftline.demo.results import (
    count_events,
    draw_alerts,
    draw_months,
    draw_table,
    draw_versions,
    list_months,
    rank_features,
)

SPRING_ENDS = pd.Timestamp("2013-06-01", tz=TIME_ZONE)
"""Until then the first version works alone; then somebody decides about the retraining."""

Ask = Callable[[dict[str, Any]], bool]


@dataclass(slots=True)
class Story:
    """What the demo has to tell so far. `retrained` is the run of the retraining, as the API gives it."""

    console: Console
    client: httpx.Client
    watch: Stopwatch = field(default_factory=Stopwatch)
    sent: Sent = field(default_factory=lambda: Sent(0, 0))
    retrained: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, Any] = field(default_factory=dict)

    def send(self, label: str, versions: dict[str, pd.DataFrame]) -> None:
        """Send flights to the versions, and wait until all is judged and joined."""
        with self.draw_progress(label) as progress, self.watch.time("send"):
            sent = send_flights(self.client, versions, progress)
        self.sent = Sent(self.sent.predictions + sent.predictions, self.sent.labels + sent.labels)

    def settle(self, days: dict[str, int]) -> None:
        """Wait until so many days of each version are judged, and all labels joined."""
        for version, count in days.items():
            with self.draw_progress(f"days judged, version {version}") as progress, self.watch.time("judge"):
                drift = await_windows(self.client, count, progress, version)
            self.drift[version] = drift
        with self.draw_progress("labels joined") as progress, self.watch.time("join"):
            await_labels(self.client, self.sent.labels, progress)

    @contextmanager
    def draw_progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """Draw a bar."""
        columns = (TextColumn(f"{label:>24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as bars:
            bar = bars.add_task(label, total=None)
            yield lambda done, total: bars.update(bar, completed=done, total=total)


def tell(
    console: Console, client: httpx.Client, action: str, model_file: Path, approve: Ask
) -> tuple[dict[str, Any], list[Table]]:
    """Replay the year; `approve` decides about the retraining, whose model comes in `model_file`."""
    story = Story(console, client)
    with console.status("reading 336,776 flights of 2013"), story.watch.time("load"):
        flights = load_flights()
    with console.status("training a model of late arrivals on January to March"), story.watch.time("train"):
        production = predict(train_model(flights.training), flights.production)
    _register(story, flights, action)
    is_spring = production["timestamp"] < SPRING_ENDS
    spring, rest = production[is_spring], production[~is_spring]
    story.send("flights, April and May", {"1": spring})
    story.settle({"1": _count_days(spring)})
    _decide(story, approve)
    versions = {"1": rest}
    if story.retrained.get("status") == "succeeded":
        with story.watch.time("train"):
            again = predict(pickle.loads(model_file.read_bytes()), rest)
        versions["2"] = again.assign(prediction_id="again-" + again["prediction_id"])
    story.send("flights, June to December", versions)
    story.settle({"1": _count_days(production), **({"2": _count_days(rest)} if "2" in versions else {})})
    return _conclude(story)


def _register(story: Story, flights: Flights, action: str) -> None:
    with story.console.status("registering the model and its reference"):
        with story.watch.time("train"):
            training = predict_unseen(flights.training)
        with story.watch.time("reference"):
            register_model(story.client, training)
            propose_retraining(story.client, action)


def _decide(story: Story, approve: Ask) -> None:
    """Wait for the proposal to retrain, have it decided, and wait for the new version."""
    with story.console.status("waiting for the proposal to retrain"):
        run = await_proposal(story.client)
    if not approve(run):
        story.retrained = run
        return
    approve_run(story.client, run["run_id"])
    with story.console.status("retraining on March to May"), story.watch.time("retrain"):
        story.retrained = await_end(story.client, run["run_id"])
    story.console.print(f"[bold]retraining {story.retrained['status']}[/] {story.retrained['detail']}")


def _count_days(frame: pd.DataFrame) -> int:
    return int(frame["timestamp"].dt.tz_convert(TIME_ZONE).dt.date.nunique())


def _conclude(story: Story) -> tuple[dict[str, Any], list[Table]]:
    alerts = read_alerts(story.client)
    months = {version: list_months(read_months(story.client, version)) for version in story.drift}
    histories = rank_features(story.drift["1"])
    windows = len(story.drift["1"]["windows"])
    result = {
        "events_sent": story.sent.predictions,
        "labels_sent": story.sent.labels,
        "events_counted": sum(count_events(drift) for drift in story.drift.values()),
        "windows": windows,
        "features": [history.to_dict() for history in histories],
        "performance": [month.to_dict() for month in months["1"]],
        "retraining": story.retrained,
        "performance_after": [month.to_dict() for month in months.get("2", [])],
        "alerts": alerts,
        "seconds": story.watch.seconds,
    }
    tables = [draw_table(histories, windows), draw_months(months["1"]), draw_alerts(alerts)]
    return result, [*tables, draw_versions(months["1"], months["2"])] if "2" in months else tables

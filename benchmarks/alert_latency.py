"""How long from the moment that windows may close to the notices: 1,000 models of 500 features, 200 of them drift.

All 1,000 windows may close at the same moment, as at every full hour: the worst case. Real PostgreSQL, the real
workers in threads of one process, and a receiver on this machine.
"""

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep, time

import numpy as np
from rich.progress import track

from driftline.core.columns import Columns
from driftline.core.reference import encode_reference
from driftline.core.rule_presets import Preset, make_preset
from driftline.core.schema import layout
from driftline.core.sliced import encode_sliced, slice_rows
from driftline.core.window import MICROSECONDS
from driftline.log.postgres_log import PostgresLog
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.logs import configure_logs
from driftline.settings import Settings
from driftline.store.alert_rules import upsert_rules
from driftline.store.clocks import advance_partition_clock, advance_version_clock
from driftline.store.database import Database, open_database
from driftline.store.models import create_model
from driftline.store.partitions import maintain_partitions
from driftline.store.parts import Part, add_parts
from driftline.store.references import StoredReference, store_reference
from driftline.store.versions import create_version, set_schema
from driftline.store.windows import WindowGrowth, grow_windows
from driftline.workers.up import run_workers
from population import SCHEMA, draw_columns, draw_reference
from records import Record, make_parser, report

MODELS, DRIFTED, ROWS, WINDOWS = 1_000, 200, 900, 3
VARIANTS = 10
"""Different windows that the models share."""
LENGTH = 900 * MICROSECONDS
LATENESS = 60 * MICROSECONDS
PATIENCE_S = 600.0
INBOX = {"type": "webhook", "url": "env:ALERT_LATENCY_URL", "key": "env:ALERT_LATENCY_KEY"}
WORKERS = ("monitor", "notices", "deliveries")


class Inbox:
    """What the receiver was told: when, of which model."""

    def __init__(self) -> None:
        self.received: dict[str, float] = {}
        self.copies = 0
        self.complete = threading.Event()

    def add(self, notice: dict[str, object]) -> None:
        model = str(notice["model_id"])
        self.copies += model in self.received
        self.received.setdefault(model, time())
        if len(self.received) >= DRIFTED:
            self.complete.set()


@contextmanager
def receive() -> Iterator[tuple[Inbox, str]]:
    """Run a receiver of webhooks; gives what it gets, and its address."""
    inbox = Inbox()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.add(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield inbox, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def register(database: Database, names: Sequence[str], payload: bytes, grid_id: str, now: int) -> None:
    """Register the models, each with the reference and the rules of the preset `default`."""
    plan = layout(SCHEMA)
    for name in track(names, f"{len(names):,} models"):
        with database.transaction() as conn:
            create_model(conn, name, window_length=LENGTH)
            create_version(conn, name, "1")
            set_schema(
                conn,
                name,
                "1",
                schema=SCHEMA.to_dict(),
                schema_id=SCHEMA.schema_id,
                feature_names=plan.names,
                feature_kinds=plan.kinds,
            )
            store_reference(conn, StoredReference(name, "1", grid_id, payload, 10_000, now, 0), [])
            upsert_rules(conn, make_preset(Preset.DEFAULT, name, outputs=("__prediction__",)), "preset")


def draw_parts(reference, rng: np.random.Generator, *, drifted: bool) -> list[bytes]:
    """Profiles of windows as the profiler writes them; in drifted ones every number has moved by half."""
    payloads = []
    for _ in range(VARIANTS):
        columns = draw_columns(rng, ROWS)
        if drifted:
            moved = (columns.float32 * 1.5 + 1).astype(np.float32)
            columns = Columns(moved, columns.float64, columns.codes, columns.tables)
        weights = np.ones(ROWS, np.int64)
        payloads.append(encode_sliced(slice_rows(reference, columns, np.arange(ROWS), weights)))
    return payloads


def write_windows(
    database: Database, names: Sequence[str], grid_id: str, parts: Sequence[bytes], start: int, first: int
) -> None:
    """Write a window of every model as the profiler does, its clock beyond the end."""
    for place, name in enumerate(names):
        with database.transaction() as conn:
            part = parts[place % len(parts)]
            add_parts(
                conn,
                [Part(PREDICTION_SAMPLES, 0, first + place, name, "1", start, grid_id, ROWS, part, None)],
            )
            end = start + LENGTH
            growth = WindowGrowth(name, "1", start, end, grid_id, ROWS, ROWS, start, end - 1, end)
            grow_windows(conn, [growth])
            advance_version_clock(conn, name, "1", event_time=end + LATENESS, last_append=end + LATENESS)


def let_close(database: Database, end: int) -> None:
    """Let everything have been consumed until windows that end then may close."""
    with database.transaction() as conn:
        advance_partition_clock(conn, PREDICTION_SAMPLES, 0, end + LATENESS)


def await_computed(database: Database) -> None:
    """Wait until no window is left to compute."""
    deadline = monotonic() + PATIENCE_S
    while monotonic() < deadline:
        with database.transaction() as conn:
            row = conn.execute(
                "SELECT count(*) FROM windows WHERE closed_at IS NULL OR seq > computed_seq"
            ).fetchone()
        if row == (0,):
            return
        sleep(0.2)
    raise SystemExit("windows were not computed in time")


def measure(workers: Sequence[str]) -> tuple[list[float], float, int]:
    """Give the latencies of the notices, how long the fleet took, and the notices that came twice."""
    rng = np.random.default_rng(0)
    reference = draw_reference(rng, 10_000, ROWS)
    grid_id = reference.grid.grid_id
    healthy, sick = (draw_parts(reference, rng, drifted=drifted) for drifted in (False, True))
    names = [f"model-{place:04}" for place in rng.permutation(MODELS)]
    base = int(time()) * MICROSECONDS // LENGTH * LENGTH - (WINDOWS + 1) * LENGTH
    with tempfile.TemporaryDirectory() as folder, receive() as (inbox, url):
        os.environ["ALERT_LATENCY_KEY"] = "signing key"
        os.environ["ALERT_LATENCY_URL"] = url
        settings = Settings(
            database_url=None,
            data_dir=Path(folder),
            log_level="error",
            log_partitions=1,
            allowed_lateness_s=LATENESS // MICROSECONDS,
            destinations={
                "inbox": {"type": "webhook", "url": "env:ALERT_LATENCY_URL", "key": "env:ALERT_LATENCY_KEY"}
            },
        )
        with open_database(settings, connections=20) as database:
            log = PostgresLog(database)
            with database.connection() as conn:
                maintain_partitions(conn, base)
            register(database, names, encode_reference(reference), grid_id, base)
            with run_workers(database, log, settings, workers):
                for window in range(WINDOWS):
                    start = base + window * LENGTH
                    write_windows(database, names[:DRIFTED], grid_id, sick, start, 2 * window * MODELS)
                    write_windows(database, names[DRIFTED:], grid_id, healthy, start, (2 * window + 1) * MODELS)
                    began = time()
                    let_close(database, start + LENGTH)
                    await_computed(database)
                    fleet = time() - began
                if not inbox.complete.wait(PATIENCE_S):
                    raise SystemExit(f"{len(inbox.received)} of {DRIFTED} notices came")
    return sorted(moment - began for moment in inbox.received.values()), fleet, inbox.copies


def main() -> None:
    options = make_parser(__doc__).parse_args()
    configure_logs("error")
    latencies, fleet, copies = measure(WORKERS)
    median, high = np.quantile(latencies, [0.5, 0.99])
    records = [
        Record("window may close to notice, median", float(median), "s"),
        Record("window may close to notice, p99", float(high), "s", 10),
        Record("all 1,000 windows computed", fleet, "s"),
        Record("notices that came twice", copies, "", 0),
    ]
    report(f"{DRIFTED} alerts among {MODELS:,} models whose windows close at the same moment", records, options)


if __name__ == "__main__":
    main()

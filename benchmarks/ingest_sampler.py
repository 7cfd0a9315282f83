"""Messages a second through the sampler, with the broker and a producer on the same cores, and what each costs."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic, perf_counter, process_time, sleep

import psutil

from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.workers.sampler import CONSUMER, Sampler
from ingest_values import await_partitions
from kafka_site import Crew, Plant, Site, make_schema, open_site, register
from records import Record

FEATURES = 124
"""Of an event of 2 kB."""
N = 100
PARTITIONS = 4
MODEL = "events"
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at a moment: events that are there, events sampled, and seconds of CPU of each process."""

    at: float
    produced: int
    sampled: int
    cpu: Mapping[str, float]


def measure_sampler(seconds: float, rate: int) -> list[Record]:
    """Sample while a producer sends at a rate; then, alone, what had piled up before a sampler began."""
    with open_site(PARTITIONS) as site:
        register(site.plant, MODEL, make_schema(FEATURES), n=N)
        steady = measure_steady(site, seconds, rate)
        return [*steady, *measure_backlog(site, seconds / 2)]


def measure_steady(site: Site, seconds: float, rate: int) -> list[Record]:
    """Look at the three processes between the first and the last slice that is handed over meanwhile."""
    with Crew(["sampler"], site.environment, site.folder / "steady") as crew:
        crew.await_all()
        with run_producer(site, "steady", rate) as producer:
            pids = {"sampler": crew.workers[0].process.pid, "broker": site.broker.pid, "producer": producer.pid}
            looks = list(watch(site, pids, seconds))
    first, last = choose_looks(looks)
    span = last.at - first.at
    sampled, produced = last.sampled - first.sampled, last.produced - first.produced
    records = [
        Record(f"2 kB, {rate:,}/s offered: through the sampler", sampled / span, "messages/s", 50_000, "higher"),
        Record("2 kB: produced meanwhile", produced / span, "messages/s", None, "higher"),
    ]
    busy = {name: last.cpu[name] - first.cpu[name] for name in pids}
    for name, cpu in busy.items():
        events = sampled if name == "sampler" else produced
        records.append(Record(f"2 kB: CPU of the {name}", 1e6 * cpu / events, "µs/message"))
    records += [Record(f"2 kB: the {name} on a core", 100 * cpu / span, "%") for name, cpu in busy.items()]
    return records


def measure_backlog(site: Site, seconds: float) -> list[Record]:
    """Sample, in this process, what a producer has left that is gone."""
    with run_producer(site, "backlog", 0) as producer:
        sleep(seconds)
        producer.terminate()
        producer.wait()
    plant = site.plant
    ends = plant.log.end_offsets(PREDICTION_LOGS)
    with closing(plant.log.relay(CONSUMER, PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay:
        await_partitions(relay.claim, relay.wait)
        waiting = sum(end - relay.committed(partition) for partition, end in ends.items())
        sampler = Sampler(plant.database, relay, plant.settings)
        while not (read := sampler.step()):
            sampler.wait(1.0)
        cpu, wall, before = process_time(), perf_counter(), read
        while read < waiting:
            read += sampler.step()
        cpu, wall = process_time() - cpu, perf_counter() - wall
    return [
        Record("2 kB, a backlog, the sampler alone", (read - before) / wall, "messages/s", None, "higher"),
        Record("2 kB, a backlog, the sampler alone: CPU", 1e6 * cpu / (read - before), "µs/message"),
    ]


@contextmanager
def run_producer(
    site: Site, prefix: str, rate: int, features: int = FEATURES
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service that logs all its predictions, so many a second, or as many as it can (0)."""
    options = {
        "servers": site.broker.servers,
        "topic": site.cluster.name(PREDICTION_LOGS),
        "model": MODEL,
        "features": features,
        "prefix": prefix,
        "rate": rate,
    }
    program = Path(__file__).with_name("event_producer.py")
    process = subprocess.Popen([sys.executable, str(program), json.dumps(options)], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def watch(site: Site, pids: Mapping[str, int], seconds: float) -> Iterator[Look]:
    """Look again and again."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    end = monotonic() + seconds
    while monotonic() < end:
        used = {name: process.cpu_times() for name, process in processes.items()}
        yield Look(
            monotonic(),
            sum(site.plant.log.end_offsets(PREDICTION_LOGS).values()),
            count_sampled(site.plant),
            {name: times.user + times.system for name, times in used.items()},
        )
        sleep(_LOOK_S)


def count_sampled(plant: Plant) -> int:
    """Add up how far the sampler says it is in each partition."""
    [(sampled,)] = plant.execute(
        "SELECT sum(next_offset) FROM (SELECT max(next_offset) AS next_offset FROM relay_clocks"
        " WHERE topic = %s GROUP BY partition) AS c",
        PREDICTION_LOGS,
    )
    return int(str(sampled or 0))


def choose_looks(looks: Sequence[Look]) -> tuple[Look, Look]:
    """Choose the first and the last look after which more had been handed over: that comes with every slice."""
    grown = [after for before, after in pairwise(looks) if after.sampled > before.sampled > 0]
    if len(grown) < 2:
        raise SystemExit("no two slices were handed over: measure for longer")
    return grown[0], grown[-1]

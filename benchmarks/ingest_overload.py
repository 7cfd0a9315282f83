"""More events than can be sampled, for minutes, and a topic that keeps only the newest: memory and losses."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from time import monotonic, sleep

import psutil
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from driftline.log.topics import PREDICTION_LOGS
from ingest_sampler import MODEL, count_sampled, run_producer
from kafka_site import VERSION, Crew, Plant, Site, make_schema, open_site, register
from records import Record

FEATURES = 500
PARTITIONS = 16
PRODUCERS = 2
WORKERS = ("sampler", "profiler")
BROKER = {"log.retention.check.interval.ms": 1_000, "log.segment.delete.delay.ms": 1_000}
RETENTION = {"retention.bytes": 32 << 20, "segment.bytes": 4 << 20}
"""Of a partition: some seconds of events, and fewer than the slice of a version holds."""
LOST = (PREDICTION_LOGS, "log_records_lost")
_LOOK_S = 5.0
_PATIENCE_S = 120.0
_SETTLED_S = 30.0


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the events that were logged.

    The sampler has gone on to `consumed`. Those counted stand for `weight` events: more than themselves where a
    slice was full, so that it was sampled. `lost` were deleted before they were read, and said to be.
    """

    produced: int
    consumed: int
    counted: int
    weight: int
    lost: int

    @property
    def error(self) -> float:
        """By which share what was counted stands for other than what was read; 0 where all was kept."""
        read = self.produced - self.lost
        return abs(self.weight - read) / read


def measure_overload(minutes: float) -> list[Record]:
    """Let two services log events of 500 features for so long, all of which are to be kept while there is room."""
    with open_site(PARTITIONS, BROKER) as site:
        bound(site)
        register(site.plant, MODEL, make_schema(FEATURES))
        with Crew(WORKERS, site.environment, site.folder / "crew") as crew, ExitStack() as producers:
            crew.await_all()
            pids = {worker.name: worker.process.pid for worker in crew.workers}
            for number in range(PRODUCERS):
                producers.enter_context(run_producer(site, f"p{number}", 0, FEATURES))
            memory = list(weigh(pids, 60 * minutes))
            producers.close()
            account = drain(site.plant)
            crew.check()
    return [*report_account(account, minutes), *report_memory(memory)]


def report_account(account: Account, minutes: float) -> list[Record]:
    """Say what became of the events."""
    what = f"overload of {minutes:g} minutes"
    return [
        Record(f"{what}: logged", account.produced, "events"),
        Record(f"{what}: deleted before they were read, and said so", account.lost, "events"),
        Record(f"{what}: kept and counted", account.counted, "events"),
        Record(f"{what}: what these stand for is off by", 100 * account.error, "%", 1),
    ]


def report_memory(memory: Sequence[dict[str, float]]) -> list[Record]:
    """Say how much memory each process had at first and in the end."""
    records = []
    for name in memory[0]:
        sizes = [each[name] for each in memory]
        quarter = -(-len(sizes) // 4)
        first, last = median(sizes[:quarter]), median(sizes[-quarter:])
        records += [
            Record(f"overload: {name}, memory in the first quarter (median)", first, "MB"),
            Record(f"overload: {name}, memory in the last quarter (median)", last, "MB"),
            Record(f"overload: {name}, growth", 100 * (last / first - 1), "%", 10),
            Record(f"overload: {name}, memory at most", max(sizes), "MB"),
        ]
    return records


def bound(site: Site) -> None:
    """Let the topic of all predictions keep little."""
    entries = [
        ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in RETENTION.items()
    ]
    topic = site.cluster.name(PREDICTION_LOGS)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin = site.cluster.open_admin()
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result()


def drain(plant: Plant) -> Account:
    """Wait until every event is consumed and nothing moves any more."""
    account, moved = read_account(plant), monotonic()
    while monotonic() - moved < (_SETTLED_S if account.consumed == account.produced else _PATIENCE_S):
        sleep(1.0)
        now = read_account(plant)
        if now != account:
            account, moved = now, monotonic()
    if account.consumed < account.produced:
        raise SystemExit(f"{account.produced - account.consumed} events were not consumed in time")
    return account


def read_account(plant: Plant) -> Account:
    """Ask the broker how many events there were, and driftline what became of them."""
    windows = plant.windows(MODEL, VERSION).values()
    letters = plant.letters()
    if others := [letter.reason for letter in letters if (letter.topic, letter.reason_code) != LOST]:
        raise SystemExit(f"events were refused: {others[0]}")
    return Account(
        sum(plant.log.end_offsets(PREDICTION_LOGS).values()),
        count_sampled(plant),
        sum(window.row_count for window in windows),
        sum(window.weight for window in windows),
        sum(letter.rows for letter in letters),
    )


def weigh(pids: dict[str, int], seconds: float) -> Iterator[dict[str, float]]:
    """Give the resident memory of processes in MB, every few seconds."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    end = monotonic() + seconds
    while monotonic() < end:
        yield {name: process.memory_info().rss / 2**20 for name, process in processes.items()}
        sleep(_LOOK_S)

"""A plant on any of the logs: workers with readers of their own take a partition, lose it and are replaced."""

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from driftline.core.batch import Batch
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.workers.partition import CONSUMER, PartitionProfiler
from tests.workers.plant import SCHEMA, Plant, record_of

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """A plant of one partition. Its workers are as good as in processes of their own: they share no reader."""

    plant: Plant
    _readers: ExitStack = field(default_factory=ExitStack)

    def send(self, *batches: Batch) -> None:
        """Append batches, each as a record of its own."""
        self.append(*(record_of(batch, SCHEMA) for batch in batches))

    def append(self, *records: NewRecord) -> None:
        """Append records as any producer does, durable when this returns."""
        with self.plant.database.transaction() as conn:
            self.plant.log.append(conn, PREDICTION_SAMPLES, records)

    def hire(self) -> PartitionProfiler:
        """Let a new worker join, and wait until it has the partition."""
        reader = self._readers.enter_context(closing(self.plant.log.reader(CONSUMER, PREDICTION_SAMPLES)))
        deadline = time.monotonic() + PATIENCE_S
        while 0 not in reader.claim():
            assert time.monotonic() < deadline, f"the partition was not free within {PATIENCE_S:.0f} s"
            reader.wait({}, 0.1)
        return self.plant.profiler(reader=reader)

    def cut_off(self) -> None:
        """Let the log take the partition from who has it, who hears nothing of it.

        A table's readers hold partitions by their sessions, which end here. From Kafka's readers nothing need be
        cut: one that asks for nothing for so long is given up.
        """
        self.plant.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    def read(self, worker: PartitionProfiler) -> None:
        """Let a worker read all there is."""
        deadline = time.monotonic() + PATIENCE_S
        while worker.next_offset < (end := self.plant.log.end_offsets(PREDICTION_SAMPLES)[0]):
            if not worker.poll():
                assert time.monotonic() < deadline, f"read until {worker.next_offset} of {end} for too long"

    def drain(self, worker: PartitionProfiler) -> None:
        """Let a worker read and flush all there is."""
        self.read(worker)
        worker.flush()

    def close(self) -> None:
        """Let all workers go."""
        self._readers.close()

"""Samples that could not be counted when they came: their version had no reference, or the lake was away."""

import time

import structlog
from psycopg import Connection, OperationalError

from driftline.core.errors import InvalidPayload
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.database import Database
from driftline.store.dead_letters import add_dead_letters
from driftline.store.errors import StoreError
from driftline.store.lake import Lake, read_samples
from driftline.store.models import keep_models
from driftline.store.samples import SampleFile, SampleStatus, list_missing, list_waiting, mark_samples
from driftline.workers.catalog import Catalog
from driftline.workers.counter import Deduplicator, Source, count_rows
from driftline.workers.joined_rows import join_batches, refuse_late
from driftline.workers.refusal import refuse_sample_file

_MISSING_S = 60.0
"""How often sample files that the lake did not give are tried again."""

logger = structlog.get_logger("driftline.profiler")


class WaitingSamples:
    """The sample files of one partition that wait to be counted."""

    def __init__(
        self, database: Database, lake: Lake, catalog: Catalog, deduplicator: Deduplicator, partition: int
    ) -> None:
        self._database, self._lake, self._catalog = database, lake, catalog
        self._deduplicator, self._partition = deduplicator, partition
        self._missing_due = time.monotonic()

    def count(self) -> int:
        """Count those that can be counted now; gives how many files there were.

        Each file is a transaction of its own; one that cannot be read is set aside.
        """
        with self._database.transaction() as conn:
            files = list_waiting(conn, PREDICTION_SAMPLES, self._partition)
            if time.monotonic() >= self._missing_due:
                files += list_missing(conn, PREDICTION_SAMPLES, self._partition)
                self._missing_due = time.monotonic() + _MISSING_S
        for file in files:
            with self._database.transaction() as conn:
                self._count_file(conn, file)
        return len(files)

    def _count_file(self, conn: Connection, file: SampleFile) -> None:
        if not keep_models(conn, [file.model_id]):
            return  # deleted in this instant, and the file's entry with it
        version = self._catalog.find_version(conn, file.model_id, file.model_version)
        if version is None or not version.grids:
            return
        try:
            batches = read_samples(self._lake, file.path, version.model_id, version.model_version, version.schema)
        except OSError as error:
            if file.status is not SampleStatus.MISSING:  # said once
                logger.warning("sample file missing; is samples_url the lake of all nodes?", reason=str(error))
                mark_samples(conn, [file.path], SampleStatus.MISSING)
            return
        except InvalidPayload as error:
            self._set_aside(conn, file, error)
            return
        source = Source(PREDICTION_SAMPLES, self._partition, file.first_offset, file.last_offset, file.created_at)
        try:
            with conn.transaction():
                rows = join_batches(version, batches)
                late = count_rows(conn, self._catalog, self._deduplicator, version, source, rows)
                add_dead_letters(conn, refuse_late(version, batches, late))
        except (OperationalError, StoreError):
            raise
        except Exception as error:
            self._deduplicator.forget()
            self._set_aside(conn, file, error)
        else:
            mark_samples(conn, [file.path], SampleStatus.PROFILED)

    def _set_aside(self, conn: Connection, file: SampleFile, error: Exception) -> None:
        logger.error("sample file cannot be counted", path=file.path, exc_info=error)
        add_dead_letters(conn, [refuse_sample_file(file, error)])
        mark_samples(conn, [file.path], SampleStatus.UNREADABLE)

"""Where events go: versions as they were a moment ago, since one is asked for with every call of a model."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from psycopg import Connection

from driftline.api.intake import Destination
from driftline.api.moments import read_clock
from driftline.api.registration import find_version, refuse_schemaless
from driftline.api.schemas import Schemas
from driftline.store.event_halves import WAIT
from driftline.store.sampling import read_smallest_n

FRESH_S = 5.0
"""So long what was read of a version is used."""
_MOST = 10_000

Connect: TypeAlias = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class EventDestination:
    """A version that events are of; `recent_n` is the smallest N by which a half that still waits was kept."""

    to: Destination
    recent_n: int

    @property
    def n(self) -> int:
        """The N in force."""
        return self.to.version.sampling_n


class Destinations:
    """The versions that events went to lately; for use by several threads at once."""

    def __init__(self, schemas: Schemas, clock: Callable[[], float] = time.monotonic) -> None:
        self._schemas, self._clock = schemas, clock
        self._known: dict[tuple[str, str | None], tuple[float, EventDestination]] = {}

    def find(self, connect: Connect, model_id: str, name: str | None) -> EventDestination:
        """Find a version, by default the one with most traffic. Raises NotFound, Refusal."""
        found_at, known = self._known.get((model_id, name), (0.0, None))
        if known is not None and self._clock() - found_at < FRESH_S:
            return known
        with connect() as conn:
            found = self._read(conn, model_id, name)
        if len(self._known) >= _MOST:
            self._known.clear()
        for each in {name, found.to.version.model_version}:
            self._known[model_id, each] = (self._clock(), found)
        return found

    def _read(self, conn: Connection, model_id: str, name: str | None) -> EventDestination:
        version = find_version(conn, model_id, name)
        if version.schema is None or version.schema_id is None:
            raise refuse_schemaless(model_id, version.model_version)
        recent = read_smallest_n(conn, model_id, version.model_version, read_clock() - WAIT)
        schema = self._schemas.read(version.schema_id, version.schema)
        return EventDestination(Destination(version, schema), recent)

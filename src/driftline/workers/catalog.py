"""What workers know about versions: schemas, windows, references, rules; read once and kept for a moment."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from psycopg import Connection

from driftline.core.category import mend_text
from driftline.core.reference import Reference, decode_reference
from driftline.core.rules import Rule
from driftline.core.schema import Schema
from driftline.store.errors import NotFound
from driftline.store.models import get_model
from driftline.store.references import get_reference, list_grids
from driftline.store.versions import get_version
from driftline.workers.rule_book import RuleBook

_FRESH_S = 2.0
_MAX_BYTES = 2 << 30  # of decoded references: those of 1,000 models of 500 features take 1.3 GB

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """What a worker needs of a version. `grids` are (grid id, valid from) of its references, first valid first.

    `created_at` tells it from a version of the same name that was deleted.
    """

    model_id: str
    model_version: str
    created_at: int
    schema: Schema
    window_length: int
    zone: ZoneInfo
    reference_kinds: tuple[str, ...]
    grids: tuple[tuple[str, int], ...]

    def grid_for(self, window_start: int) -> str | None:
        """Choose the reference of a window: the latest that is valid by then, or else the first there is."""
        valid = [grid for grid, valid_from in self.grids if valid_from <= window_start]
        if valid:
            return valid[-1]
        return self.grids[0][0] if self.grids else None


class Catalog:
    """Versions, decoded references and rules, at most two seconds old. Not for use by several threads at once."""

    def __init__(self) -> None:
        self._versions: dict[Key, tuple[float, KnownVersion]] = {}
        self._references: OrderedDict[tuple[str, str, int, str], Reference] = OrderedDict()
        self._bytes = 0
        self._rules = RuleBook()

    def find_version(self, conn: Connection, model_id: str, version: str) -> KnownVersion | None:
        """Find a version that has a schema; None when there is none, which is never remembered."""
        key = (model_id, version)
        if mend_text(model_id + version) != model_id + version:
            return None  # no name, and nothing that PostgreSQL could be asked for
        read_at, known = self._versions.get(key, (0.0, None))
        if known is not None and time.monotonic() - read_at <= _FRESH_S:
            return known
        found = _read_version(conn, key, known)
        if found is None:
            self._versions.pop(key, None)
        else:
            self._versions[key] = (time.monotonic(), found)
        return found

    def find_reference(self, conn: Connection, version: KnownVersion, grid_id: str) -> Reference:
        """Give the decoded reference of a grid. Raises NotFound."""
        key = (version.model_id, version.model_version, version.created_at, grid_id)
        reference = self._references.get(key)
        if reference is None:
            stored = get_reference(conn, version.model_id, version.model_version, grid_id)
            reference = decode_reference(stored.payload)
            self._references[key] = reference
            self._bytes += _count_bytes(reference)
            while self._bytes > _MAX_BYTES and len(self._references) > 1:
                self._bytes -= _count_bytes(self._references.popitem(last=False)[1])
        self._references.move_to_end(key)
        return reference

    def find_rules(self, conn: Connection, version: KnownVersion) -> tuple[Rule, ...]:
        """Give the rules that may watch a version."""
        return self._rules.find(conn, version.model_id, version.model_version)

    def forget(self) -> None:
        """Read everything again: something did not fit."""
        self._versions.clear()
        self._rules = RuleBook()


def _count_bytes(reference: Reference) -> int:
    """Count what is large in a reference: its edges, and the counts of its profile and of each segment."""
    profiles = (reference.profile, *reference.segment_profiles.values())
    edges = (reference.grid.edges32, reference.grid.edges64)
    return sum(profile.counts.nbytes for profile in profiles) + sum(block.nbytes for block in edges)


def _read_version(conn: Connection, key: Key, known: KnownVersion | None) -> KnownVersion | None:
    try:
        model, version = get_model(conn, key[0]), get_version(conn, *key)
    except NotFound:
        return None
    if version.schema is None:
        return None
    if known is not None and known.created_at == version.created_at:
        schema = known.schema  # it never changes, and reading it takes milliseconds
    else:
        schema = Schema.from_dict(version.schema)
    return KnownVersion(
        *key,
        version.created_at,
        schema,
        model.window_length,
        ZoneInfo(model.time_zone),
        tuple(model.settings.get("reference_kinds", ("training",))),
        tuple(list_grids(conn, *key)),
    )

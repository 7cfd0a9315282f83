"""Imports of labels: how many were taken in, and what has become of them so far."""

from dataclasses import dataclass

from psycopg import Connection

from driftline.core.moment import from_micros
from driftline.store.errors import NotFound
from driftline.store.label_counts import LabelCounts, read_counts


@dataclass(frozen=True, slots=True)
class LabelImport:
    """An import of a model: labels that were accepted, those whose predictions were not kept, and what became."""

    accepted: int
    not_sampled: int
    counts: LabelCounts

    @property
    def processed(self) -> int:
        """How many labels have been joined, or found to have nothing to be joined with."""
        counts = self.counts
        return counts.matched + counts.duplicate + counts.waiting + counts.unmatched + counts.refused


def add_to_import(conn: Connection, model_id: str, import_id: str, *, accepted: int, not_sampled: int) -> None:
    """Record that labels of an import were taken in, in the transaction that does so."""
    conn.execute(
        "INSERT INTO label_imports AS i (model_id, import_id, accepted, not_sampled) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT ON CONSTRAINT label_imports_pkey DO UPDATE SET updated_at = now(),"
        " accepted = i.accepted + excluded.accepted, not_sampled = i.not_sampled + excluded.not_sampled",
        (model_id, import_id, accepted, not_sampled),
    )


def read_import(conn: Connection, model_id: str, import_id: str) -> LabelImport:
    """Give an import. Raises NotFound."""
    row = conn.execute(
        "SELECT accepted, not_sampled FROM label_imports WHERE model_id = %s AND import_id = %s",
        (model_id, import_id),
    ).fetchone()
    if row is None:
        raise NotFound(f"no labels of model {model_id!r} were taken in by an import {import_id!r}")
    return LabelImport(row[0], row[1], read_counts(conn, model_id, import_id))


def forget_imports(conn: Connection, before: int) -> None:
    """Forget imports that nothing was added to since before a time (microseconds)."""
    conn.execute("DELETE FROM label_imports WHERE updated_at < %s", (from_micros(before),))
    conn.execute("DELETE FROM label_counts WHERE import_id <> '' AND updated_at < %s", (from_micros(before),))

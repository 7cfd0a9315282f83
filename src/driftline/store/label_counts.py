"""What became of labels: counts of each model, and of each import."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

from psycopg import Connection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Labels by what became of them; `late` ones are among the others, and `waiting` less those joined since."""

    joined: int = 0
    corrected: int = 0
    withdrawn: int = 0
    superseded: int = 0
    duplicate: int = 0
    waiting: int = 0
    unmatched: int = 0
    late: int = 0
    refused: int = 0

    @property
    def matched(self) -> int:
        """Labels that found their prediction, whether they are in force or not."""
        return self.joined + self.corrected + self.withdrawn + self.superseded

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        """Add counts."""
        return LabelCounts(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


_NAMES = tuple(field.name for field in fields(LabelCounts))


def add_counts(conn: Connection, counts: Mapping[tuple[int, str], LabelCounts]) -> None:
    """Add to the counts of (model number, import id); '' is the whole model."""
    columns = ", ".join(_NAMES)
    sums = ", ".join(f"{name} = c.{name} + excluded.{name}" for name in _NAMES)
    with conn.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO label_counts AS c (model_no, import_id, {columns})"
            f" VALUES (%s, %s, {', '.join(['%s'] * len(_NAMES))}) ON CONFLICT ON CONSTRAINT label_counts_pkey"
            f" DO UPDATE SET updated_at = now(), {sums}",
            [(*key, *astuple(counts[key])) for key in sorted(counts)],
        )


def read_counts(conn: Connection, model_id: str, import_id: str = "") -> LabelCounts:
    """Give the counts of a model, or of one import of it; all zero when there are none."""
    with conn.cursor(row_factory=class_row(LabelCounts)) as cursor:
        cursor.execute(
            f"SELECT {', '.join(_NAMES)} FROM label_counts JOIN joined_models USING (model_no)"
            " WHERE model_id = %s AND import_id = %s",
            (model_id, import_id),
        )
        return cursor.fetchone() or LabelCounts()

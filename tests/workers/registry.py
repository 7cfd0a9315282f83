"""Predictions and labels for the joiner: a registry that sends both, and reads what became of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.core.batch import Batch
from driftline.core.columns import Columns
from driftline.core.labels import Labels, Value
from driftline.core.moment import NO_TIME
from driftline.core.schema import Feature, JoinKey, Kind, Schema, Task
from driftline.log import postgres
from driftline.log.label_format import CONTENT_TYPE, encode_labels
from driftline.log.log import Reader
from driftline.log.record import NewRecord
from driftline.log.topics import LABELS
from driftline.store.label_counts import LabelCounts, read_counts
from driftline.store.performance_windows import PerformanceWindow, list_performance_windows
from driftline.workers.joiner import CONSUMER, TOPICS, Joiner
from tests.workers.plant import FAR, Plant, record_of

BINARY = Schema((Feature("amount", Kind.NUMERIC),), Task.BINARY, segments=("country",))
ENTITY = Schema((Feature("amount", Kind.NUMERIC),), Task.BINARY, join_key=JoinKey.ENTITY_ID)
REGRESSION = Schema((Feature("amount", Kind.NUMERIC),), Task.REGRESSION)


@dataclass(slots=True)
class Registry:
    """A plant whose model `loans` has labels, of two classes unless told otherwise."""

    plant: Plant
    schema: Schema = BINARY
    model: str = "loans"
    readers: dict[str, Reader] = field(default_factory=dict)

    def register(self, *versions: str, **settings: object) -> None:
        """Register the model with some versions."""
        first, *others = versions or ("1",)
        self.plant.register(self.model, first, schema=self.schema, **settings)
        self.plant.execute("UPDATE models SET task = %s WHERE model_id = %s", str(self.schema.task), self.model)
        for version in others:
            self.plant.execute(
                "INSERT INTO model_versions"
                " (model_id, model_version, schema, schema_id, feature_names, feature_kinds)"
                " SELECT model_id, %s, schema, schema_id, feature_names, feature_kinds FROM model_versions"
                " WHERE model_id = %s",
                version,
                self.model,
            )

    def predict(
        self,
        ids: Sequence[str],
        times: Sequence[int] | int,
        *,
        version: str = "1",
        entities: Sequence[str] | None = None,
        weight: int = 1,
        partition: int = 0,
    ) -> Batch:
        """Send predictions: class 1 with score 0.75, or the number 0.5, of country DE."""
        batch = self.make_batch(ids, times, version=version, entities=entities, weight=weight)
        self.plant.append(record_of(batch, self.schema), partition=partition)
        return batch

    def make_batch(
        self,
        ids: Sequence[str],
        times: Sequence[int] | int,
        *,
        version: str = "1",
        entities: Sequence[str] | None = None,
        weight: int = 1,
    ) -> Batch:
        """Make the batch that `predict` sends."""
        rows = len(ids)
        classes = self.schema.task is Task.BINARY
        codes = 1 * classes + len(self.schema.segments)
        columns = Columns(
            np.ones((rows, 1), np.float32),
            np.full((rows, 1 if classes else 2), 0.75 if classes else 0.5),
            np.zeros((rows, codes), np.int32),
            (("1",),) * classes + (("DE",),) * len(self.schema.segments),
        )
        moments = np.broadcast_to(np.asarray(times, np.int64), rows).copy()
        return Batch(
            self.model, version, self.schema.schema_id, "", tuple(ids), moments, columns, weight,
            None if entities is None else tuple(entities),
        )  # fmt: skip

    def label(
        self,
        keys: Iterable[str],
        values: Sequence[Value],
        known_at: Sequence[int] | int,
        *,
        timestamps: Sequence[int] | None = None,
        weights: Sequence[float] | float = 1.0,
        by_entity: bool = False,
        import_id: str = "",
        partition: int = 0,
    ) -> None:
        """Send labels in one record."""
        keys = tuple(keys)
        rows = len(keys)
        labels = Labels(
            self.model,
            by_entity,
            keys,
            tuple(values),
            np.full(rows, NO_TIME) if timestamps is None else np.array(timestamps, np.int64),
            np.broadcast_to(np.asarray(known_at, np.int64), rows).copy(),
            np.broadcast_to(np.asarray(weights, np.float64), rows).copy(),
        )
        headers = {"model": self.model, "content-type": CONTENT_TYPE}
        if import_id:
            headers["import"] = import_id
        record = NewRecord(
            "/".join((self.model, *keys[:1])).encode(errors="replace"), encode_labels(labels), headers
        )
        self.append_label(record, partition)

    def append_label(self, record: NewRecord, partition: int = 0) -> None:
        """Append a record of labels."""
        with self.plant.database.transaction() as conn:
            postgres.append(conn, LABELS, partition, [record])

    def joiner(self) -> Joiner:
        """Start a joiner that knows nothing but the database; those before it lose their partitions."""
        self.close()
        self.readers = {topic: self.plant.log.reader(CONSUMER, topic) for topic in TOPICS}
        return Joiner(self.plant.database, self.readers)

    def close(self) -> None:
        """Let the partitions go."""
        for reader in self.readers.values():
            reader.close()

    def join(self, joiner: Joiner | None = None) -> Joiner:
        """Join all there is, in one transaction where it fits into one."""
        joiner = joiner or self.joiner()
        while joiner.read():
            pass
        joiner.flush()
        return joiner

    def backdate(self) -> None:
        """Make it as if all predictions had come when they were made: no replay of the past."""
        self.plant.execute("UPDATE performance_windows SET created_at = window_start")

    def pairs(self, version: str = "1") -> dict[str, str | float]:
        """The labels that predictions have, by key."""
        rows = self.plant.execute(
            "SELECT prediction_key::text, coalesce(label_class, label_value::text) FROM labeled_predictions"
            " WHERE model_id = %s AND model_version = %s",
            self.model,
            version,
        )
        return dict(rows)  # type: ignore[arg-type]

    def counts(self, import_id: str = "") -> LabelCounts:
        """What became of labels."""
        with self.plant.database.transaction() as conn:
            return read_counts(conn, self.model, import_id)

    def windows(self, version: str = "1") -> list[PerformanceWindow]:
        """All windows of a version."""
        with self.plant.database.transaction() as conn:
            return list_performance_windows(conn, self.model, version, -FAR, FAR)

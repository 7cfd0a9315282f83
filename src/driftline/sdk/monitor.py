"""`driftline.Monitor`: tells driftline what a model sees and says, at next to no cost for the service."""

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import xxhash

from driftline.core.category import category_text
from driftline.core.sampling import limit_of
from driftline.core.schema import Schema
from driftline.sdk.counts import Counts
from driftline.sdk.exits import watch
from driftline.sdk.frames import Batch, read_frame
from driftline.sdk.ids import make_id
from driftline.sdk.labels import Label, check_weight, plain_value
from driftline.sdk.line import Line, read_setup
from driftline.sdk.notices import Notices, text_of
from driftline.sdk.rows import Row, check_id, id_text, micros_of, plain_output, plain_score, snapshot

_hash = xxhash.xxh3_64_intdigest


class Monitor:
    """Watches one model version from within the service that runs it.

    `log` decides by a hash of the prediction's id whether it is the one in N that is kept, before it looks at
    the features; a background thread encodes and sends. It never blocks, never raises into the service, and
    says once, through the logger `driftline`, what is wrong and how to mend it. N and the schema come from the
    server and are kept up to date.

    `schema` and `sampling_n` hold until the server has told its own, and where there is none. All other arguments
    are the fields of `driftline.sdk.options.Options`, also read from `DRIFTLINE_*`. One monitor serves all
    threads; after a fork the child's calls are sent by the child.

    >>> folder = getfixture("tmp_path")
    >>> with Monitor("fraud", "3", transport="file", dir=folder, schema={"features": []}) as monitor:
    ...     prediction_id = monitor.log({}, prediction=1, score=0.83)
    >>> monitor.counts.kept, monitor.counts.sent
    (1, 1)
    """

    __slots__ = ("__weakref__", "_gate", "_line", "_pass_over")

    def __init__(
        self,
        model: str,
        version: str,
        *,
        url: str | None = None,
        transport: str | None = None,
        schema: Schema | Mapping[str, Any] | None = None,
        sampling_n: int | None = None,
        max_rows_per_s: int | None = None,
        max_buffered_rows: int | None = None,
        **options: Any,
    ) -> None:
        chosen = {
            "url": url,
            "transport": transport,
            "max_rows_per_s": max_rows_per_s,
            "max_buffered_rows": max_buffered_rows,
            **options,
        }
        notices = Notices(model, version)
        try:
            line = Line(read_setup(model, version, schema, sampling_n, chosen), notices)
        except Exception as error:  # a service must start, watched or not
            notices.warn("setup", f"nothing is monitored: {error}")
            line = Line(None, notices)
        self._take_up(line)
        watch(self)

    def _take_up(self, line: Line) -> None:
        """Work with a line, whose gate and counter are bound here: `log` reads them at every call."""
        self._line = line
        self._gate = line.gate
        self._pass_over = line.count_passed

    def _renew(self) -> None:
        self._take_up(self._line.renewed())

    def _stop(self) -> None:
        self._line.stop()

    def log(
        self,
        features: Any,
        prediction: Any = None,
        score: Any = None,
        prediction_id: Any = None,
        entity_id: Any = None,
        timestamp: datetime | float | str | None = None,
        segments: Mapping[str, Any] | None = None,
        group_id: Any = None,
        rank: int | None = None,
    ) -> str:
        """Log one prediction; gives its id, made here (UUIDv7) unless the caller has one.

        `features` is a dict, or a sequence or one-dimensional array in the order of the schema; `score` is a
        number, or one per class. `timestamp` is now unless given (aware datetime, ISO 8601 text with a zone,
        seconds since 1970). `segments` are values of segment columns that are no features; `group_id` and `rank`
        are for ranking. What is kept is copied at once: changing it afterwards does not matter.
        """
        try:
            if prediction_id is None:
                prediction_id = make_id()
            elif type(prediction_id) is not str:
                prediction_id = id_text(prediction_id)
            gate = self._gate
            key = prediction_id
            if gate.by_entity and entity_id is not None:
                key = category_text(entity_id) or key
            try:
                digest = _hash(key.encode())
            except UnicodeEncodeError:
                key = prediction_id = id_text(prediction_id)
                digest = _hash(key.encode())
            if digest > gate.limit:
                if digest > gate.asked_limit:
                    self._pass_over()
                else:
                    self._line.tally.capped.add_one()
                return prediction_id  # type: ignore[no-any-return]
            self._keep(
                digest, features, prediction, score, prediction_id, entity_id, timestamp, segments, group_id, rank
            )
        except Exception as error:  # whatever it is, the service goes on
            self._line.refuse("invalid", error)
        return text_of(prediction_id)

    def may_keep(self, prediction_id: str) -> bool:
        """Tell, before the features are at hand, whether `log` may keep the prediction with this id.

        Where labels come by entity it always may: the entity decides.
        """
        gate = self._gate
        return gate.by_entity or _hash(prediction_id.encode(errors="replace")) <= gate.limit

    def _keep(
        self,
        digest: int,
        features: Any,
        prediction: Any,
        score: Any,
        prediction_id: str,
        entity_id: Any,
        timestamp: Any,
        segments: Mapping[str, Any] | None,
        group_id: Any,
        rank: Any,
    ) -> None:
        row = Row(
            check_id(prediction_id),
            micros_of(timestamp),
            snapshot(features),
            plain_output(prediction),
            plain_score(score),
            entity_id,
            group_id,
            rank,
            None if segments is None else dict(segments),
        )
        self._line.keep(digest, row)

    def log_batch(
        self,
        features: Any,
        prediction: Any = None,
        score: Any = None,
        prediction_ids: Any = None,
        entity_ids: Any = None,
        timestamps: Any = None,
        segments: Mapping[str, Any] | None = None,
        group_ids: Any = None,
        ranks: Any = None,
    ) -> list[str]:
        """Log many predictions; gives their ids.

        `features` is a pandas or Polars DataFrame, an Arrow table, a two-dimensional array (columns in the order
        of the schema), a dict of columns or a list of rows as `log` takes them. The others are columns: values,
        or the name of a column of the frame; `timestamps` may also be one moment for all, `segments` maps names
        to columns. Only what is kept is looked at. Of one call at most as many rows are kept as there is room
        for: N doubles until they are, and is their weight.
        """
        ids: list[str] = []
        try:
            batch = read_frame(
                features, prediction, score, prediction_ids, entity_ids, timestamps, segments, group_ids, ranks
            )
            ids = batch.ids
            self._keep_batch(batch)
        except Exception as error:
            self._line.refuse("invalid", error, max(len(ids), 1))
        return ids

    def _keep_batch(self, batch: Batch) -> None:
        line, gate = self._line, self._gate
        if not line.begin(len(batch.ids)):
            return
        settled = gate.settled
        digests = batch.digests(by_entity=gate.by_entity)
        if settled != gate.settled:  # what decides became known while a large frame was hashed
            settled, digests = True, batch.digests(by_entity=gate.by_entity)
        n = gate.fit(digests, line.room)
        limit = limit_of(n)
        kept = [position for position, digest in enumerate(digests) if digest <= limit]
        line.tally.add("sampled_out", len(digests) - len(kept))
        settings = line.settings
        names = None if settings is None else [feature.name for feature in settings.schema.features]
        rows, invalid = batch.rows(kept, names, n)
        for error in invalid:
            line.refuse("invalid", error)
        line.keep_all(rows, settled=settled)

    def label(
        self,
        prediction_id: Any,
        value: Any,
        *,
        entity_id: Any = None,
        timestamp: datetime | float | str | None = None,
        weight: float | None = None,
        known_at: datetime | float | str | None = None,
    ) -> None:
        """Tell what turned out to be true of a prediction: a class, a number, or None to take a label back.

        Labels of predictions that were not kept are dropped here. For models whose labels come by entity give
        `entity_id` (and None as `prediction_id`), with the prediction's `timestamp` where there may be several.
        `known_at` is since when the value is known: now, unless given.
        """
        try:
            label = Label(
                None if prediction_id is None else id_text(prediction_id),
                None if entity_id is None else category_text(entity_id),
                plain_value(value),
                None if timestamp is None else micros_of(timestamp),
                None if weight is None else check_weight(weight),
                micros_of(known_at),
            )
            self._line.keep_label(label)
        except Exception as error:
            self._line.refuse("labels_invalid", error)

    @property
    def fallback_active(self) -> bool:
        """Whether the server asks to answer with the backup model; False until it has been heard."""
        try:
            settings = self._line.settings
        except Exception as error:
            self._line.refuse("invalid", error, 0)
            return False
        return settings is not None and settings.fallback_active

    @property
    def counts(self) -> Counts:
        """What became of everything that was logged in this process."""
        return self._line.tally.counts()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait, for `timeout` seconds at most, until all that was logged is delivered; tells whether it is.

        In asyncio: `await asyncio.to_thread(monitor.flush)`.
        """
        return self._line.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Deliver what is left and stop, in `timeout` seconds at most (`exit_s`); tells whether all is delivered.

        A process that ends does it by itself.
        """
        return self._line.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The background thread of a monitor: it learns the settings, encodes what was kept, and sends it."""

import threading
from collections.abc import Callable
from time import monotonic

from driftline.core.schema import JoinKey
from driftline.sdk.buffer import Buffer
from driftline.sdk.delivery import Delivery
from driftline.sdk.gate import Gate
from driftline.sdk.ids import make_parcel_id
from driftline.sdk.labels import Label, encode_labels, select_labels
from driftline.sdk.packing import MAX_ROWS, Packer, thin_rows
from driftline.sdk.parcel import Content, Parcel
from driftline.sdk.remote import Remote, VersionSettings
from driftline.sdk.rows import Row

_LABELS_PER_PARCEL = 2_000


class Sender:
    """Works once every few seconds, and at once when asked to or when many rows wait.

    `rows` and `labels` are filled by callers. `settings` are those that arguments gave until `remote` knows
    better; without any, what was kept waits.
    """

    def __init__(
        self,
        packer: Packer,
        *,
        gate: Gate,
        rows: Buffer[Row],
        labels: Buffer[Label],
        settings: VersionSettings | None,
        remote: Remote | None,
        delivery: Delivery,
        interval_s: float,
    ) -> None:
        self.settings = settings
        self._packer = packer
        self._gate = gate
        self._rows = rows
        self._labels = labels
        self._remote = remote
        self._delivery = delivery
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._state = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._delivered = True
        self._stopping = False
        self._ended = False
        self._stopped_at = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it was started before."""
        with self._state:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="driftline", daemon=True)
                self._thread.start()
                self._wake.set()

    def wake(self) -> None:
        """Let the thread work now."""
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was kept before has been delivered; False when it was not in time, or never will."""
        with self._state:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            self._state.wait_for(lambda: self._ended or (self._answered >= mine and self._delivered), timeout_s)
            return self._delivered and (self._ended or self._answered >= mine)

    def stop(self) -> None:
        """Let the thread deliver what can be delivered, and end."""
        with self._state:
            if not self._stopping:
                self._stopping, self._stopped_at = True, monotonic()
        self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """Stop, and wait for it until so many seconds after it began; tells whether all was delivered."""
        self.stop()
        if self._thread is None:
            self._ended = True
            return True
        self._thread.join(max(self._stopped_at + timeout_s - monotonic(), 0.0))
        if self._thread.is_alive():  # it waits for a receiver that hangs: what can be kept is kept
            self._guard(self._pack)
            self._guard(self._delivery.stow)
        return self._delivered and not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._pause())
            self._wake.clear()
            with self._state:
                asked, stopping = self._asked, self._stopping
            delivered = self._work(hurry=asked > self._answered or stopping)
            if stopping:
                self._guard(self._delivery.close)
                self._guard(self._let_go)
            with self._state:
                self._answered, self._delivered, self._ended = asked, delivered, stopping
                self._state.notify_all()
            if stopping:
                return

    def _let_go(self) -> None:
        if self._remote is not None:
            self._remote.close()

    def _pause(self) -> float:
        now = monotonic()
        due = [now + self._interval_s]
        if self._remote is not None:
            due.append(self._remote.due)
        if not self._delivery.empty:
            due.append(self._delivery.retry_at)
        return max(min(due) - now, 0.01)

    def _work(self, *, hurry: bool) -> bool:
        self._guard(lambda: self._learn(hurry=hurry))
        self._guard(self._pack)
        return (
            self._guard(lambda: self._delivery.ship(monotonic(), hurry=hurry))
            and not self._rows
            and not self._labels
        )

    def _guard(self, step: Callable[[], bool | None]) -> bool:
        try:
            return bool(step())
        except Exception as error:  # the thread must outlive what nobody thought of
            self._packer.notices.warn("internal", f"please report this: {type(error).__name__}: {error}")
            return False

    def _learn(self, *, hurry: bool) -> None:
        self._gate.relax(monotonic())
        hurry = hurry and self.settings is None
        if self._remote is not None and self._remote.refresh(monotonic(), hurry=hurry):
            self._follow(self._remote.settings)

    def _follow(self, settings: VersionSettings | None) -> None:
        if settings is None:
            return
        if self.settings is not None and self.settings.schema.schema_id != settings.schema.schema_id:
            self._packer.notices.warn("schema", "the schema given differs from the server's, which holds")
        self.settings = settings
        self._gate.settle(settings.sampling_n, by_entity=settings.schema.join_key is JoinKey.ENTITY_ID)

    def _pack(self) -> None:
        if self.settings is None:
            return
        schema = self.settings.schema
        by_entity = schema.join_key is JoinKey.ENTITY_ID
        while taken := self._rows.take(MAX_ROWS):
            rows = thin_rows(taken, self.settings.sampling_n, by_entity=by_entity)
            if by_entity and any(row.weight > 1 and not row.settled for row in taken):
                self._packer.notices.warn(
                    "before-settings",
                    "more rows came than there was room for before the server said that entities decide which are "
                    "kept: they are dropped; give Monitor the schema",
                )
            self._packer.tally.add("kept", len(rows) - len(taken))
            self._packer.tally.add("sampled_out", len(taken) - len(rows))
            for parcel in self._packer.pack(rows, schema):
                self._delivery.put(parcel)
        while labels := self._labels.take(_LABELS_PER_PARCEL):
            selected = select_labels(labels, self.settings.label_n, by_entity=by_entity)
            self._packer.tally.add("labels_kept", len(selected) - len(labels))
            self._packer.tally.add("labels_sampled_out", len(labels) - len(selected))
            if selected:
                data = encode_labels(selected, self._packer.model, by_entity=by_entity)
                self._delivery.put(Parcel(make_parcel_id(), Content.LABELS, len(selected), data))

"""All that a monitor has in one process: the gate, what waits, the thread, and the way to the receiver."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any
from urllib.parse import quote

from driftline.core.sampling import MAX_N, keep
from driftline.core.schema import JoinKey, Schema
from driftline.sdk.buffer import Buffer
from driftline.sdk.client import Client
from driftline.sdk.counts import Tally
from driftline.sdk.delivery import Delivery
from driftline.sdk.exits import watch_this_process
from driftline.sdk.gate import Gate
from driftline.sdk.labels import Label
from driftline.sdk.notices import Notices, text_of
from driftline.sdk.options import InvalidOption, Options, read_options
from driftline.sdk.packing import MAX_ROWS, Packer
from driftline.sdk.parcel import Transport
from driftline.sdk.remote import Remote, VersionSettings
from driftline.sdk.rows import InvalidRow, Row
from driftline.sdk.sender import Sender
from driftline.sdk.spool import Outbox, Spool
from driftline.sdk.transports.file import FileTransport
from driftline.sdk.transports.http import HttpTransport
from driftline.sdk.transports.kafka import KafkaTransport

_OUTBOX_BYTES = 16 << 20
_MAX_LABELS = 20_000


@dataclass(frozen=True, slots=True)
class Setup:
    """Which version is watched, how, and what is known of it; the same in every forked child."""

    model: str
    version: str
    options: Options
    n: int
    settings: VersionSettings | None


def read_setup(
    model: object,
    version: object,
    schema: Schema | Mapping[str, Any] | None,
    sampling_n: int | None,
    arguments: Mapping[str, Any],
) -> Setup:
    """Read the arguments of a monitor. Raises InvalidOption, InvalidSchema."""
    for field, name in (("model", model), ("version", version)):
        if not isinstance(name, str | int) or not 1 <= len(str(name)) <= 256:
            raise InvalidOption(f"{field} is {name!r}; give the name under which it is registered")
    n = 1 if sampling_n is None else sampling_n
    if not isinstance(n, int) or not 1 <= n <= MAX_N:
        raise InvalidOption(f"sampling_n is {n!r}; give an integer from 1 to {MAX_N:,}")
    settings = None
    if schema is not None:
        if not isinstance(schema, Schema | Mapping):
            raise InvalidOption(f"schema is a {type(schema).__name__}; give a Schema or its JSON form as a dict")
        known = schema if isinstance(schema, Schema) else Schema.from_dict(schema)
        settings = VersionSettings(known, n, 1, fallback_active=False)
    setup = Setup(str(model), str(version), read_options(arguments), n, settings)
    _check_way(setup)
    return setup


def _check_way(setup: Setup) -> None:
    options = setup.options
    if options.transport == "http" and options.url is None:
        raise InvalidOption(
            "there is no url; set DRIFTLINE_URL to the driftline server's, e.g. http://driftline:8420"
        )
    if options.transport == "file" and options.dir is None:
        raise InvalidOption("transport file needs a folder; set DRIFTLINE_DIR")
    if options.transport == "kafka" and options.kafka_servers is None:
        raise InvalidOption("transport kafka needs brokers; set DRIFTLINE_KAFKA_SERVERS")
    if options.url is None and setup.settings is None:
        raise InvalidOption("without a server to ask, Monitor needs the schema: give schema, or set DRIFTLINE_URL")


class Line:
    """What is kept goes in at one end, and out at the other in the background.

    It does nothing until something is kept, so that a process that forks first has no thread yet. With `setup`
    None, because the configuration is broken, it only counts.
    """

    def __init__(self, setup: Setup | None, notices: Notices) -> None:
        self._setup = setup
        self._notices = notices
        self._started = False
        self._closed = False
        self.tally = Tally()
        options = setup.options if setup else Options()
        known = setup.settings if setup else None
        self.gate = Gate(
            known.sampling_n if known else setup.n if setup else 1,
            options.max_rows_per_s,
            by_entity=known is not None and known.schema.join_key is JoinKey.ENTITY_ID,
            settled=known is not None,
        )
        self._rows = Buffer[Row](options.max_buffered_rows)
        self._labels = Buffer[Label](_MAX_LABELS)
        self._sender: Sender | None = None
        if setup is None:
            self.gate.shut()
        else:
            self._sender = self._make_sender(setup)

    @property
    def count_passed(self) -> Callable[[], int]:
        """What a call does that keeps nothing."""
        return (self.tally.sampled_out if self._setup else self.tally.hopeless).add_one

    @property
    def settings(self) -> VersionSettings | None:
        """What is known of the version."""
        if self._sender is None:
            return None
        self._start()
        return self._sender.settings

    @property
    def room(self) -> int:
        """How many rows there is room for."""
        return max(self._rows.size - len(self._rows), 1)

    def renewed(self) -> "Line":
        """Make the line of a forked child, which sends only what it keeps itself."""
        setup = self._setup
        if setup is not None and self._sender is not None:
            setup = replace(setup, settings=self._sender.settings)
        line = Line(setup, self._notices.renewed())
        if self._closed:
            line.close(0)
        return line

    def begin(self, rows: int = 1, *, labels: bool = False) -> bool:
        """Start the thread with the first row; False, and counted, when rows can go nowhere."""
        if self._closed or self._sender is None:
            self.tally.add("labels_failed" if labels else "failed", rows)
            if self._closed:
                self._notices.warn("closed", "the monitor was closed; what is logged afterwards is lost")
            return False
        self._start()
        return True

    def keep(self, digest: int, row: Row) -> None:
        """Keep a row if the gate says so; the first one starts the thread."""
        if not self.begin():
            return
        row.settled = self.gate.settled
        row.weight = self.gate.weigh(digest, monotonic())
        if row.weight:
            self._put(row)
        else:
            self.count_passed()

    def keep_all(self, rows: Sequence[Row], *, settled: bool) -> None:
        """Keep rows whose weight is known; `settled` tells whether they were chosen by a settled gate."""
        for row in rows:
            row.settled = settled
            self._put(row)

    def keep_label(self, label: Label) -> None:
        """Keep a label if its prediction may have been kept."""
        if not self.begin(labels=True):
            return
        settings = self.settings
        if settings is not None:
            by_entity = settings.schema.join_key is JoinKey.ENTITY_ID
            key = label.join_key(by_entity=by_entity)
            if key is None:
                field = "entity_id" if by_entity else "prediction_id"
                raise InvalidRow("label-key", f"label needs {field}: this model's labels are joined by it")
            if not keep(key, settings.label_n):
                self.tally.add("labels_sampled_out")
                return
        self.tally.add("labels_kept")
        if self._labels.put(label):
            self.tally.add("labels_overflowed")
            self._notices.warn("labels-overflow", "too many labels wait; the oldest are dropped")

    def refuse(self, name: str, error: Exception, count: int = 1) -> None:
        """Count what could not be used, and say why."""
        self.tally.add(name, count)
        if isinstance(error, InvalidRow):
            self._notices.warn(error.kind, str(error))
        else:
            self._notices.warn("argument", f"a call could not be used: {type(error).__name__}: {text_of(error)}")

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was kept is delivered."""
        if self._sender is None:
            return True
        self._start()
        return self._sender.flush(timeout_s)

    def stop(self) -> None:
        """Begin to close."""
        if self._sender is not None:
            self._sender.stop()

    def close(self, timeout_s: float | None) -> bool:
        """Deliver what can be delivered in time, and stop for good."""
        if self._closed:
            return True
        self._closed = True
        self.gate.stand_open()  # so that later calls are seen, and counted as failed
        if self._sender is None or self._setup is None:
            return True
        return self._sender.close(self._setup.options.exit_s if timeout_s is None else timeout_s)

    def _start(self) -> None:
        if not self._started and not self._closed and self._sender is not None:
            self._started = True
            self.gate.begin()
            watch_this_process()
            self._sender.start()

    def _put(self, row: Row) -> None:
        self.tally.add("kept")
        if self._rows.put(row):
            self.tally.add("overflowed")
            self._notices.warn("overflow-rows", "too many rows wait to be encoded; the oldest are dropped")
        if self._sender is not None and len(self._rows) % MAX_ROWS == MAX_ROWS // 2:
            self._sender.wake()

    def _make_sender(self, setup: Setup) -> Sender:
        options = setup.options
        client = None if options.url is None else Client(options.url, options.timeout_s)
        remote = None
        if client is not None:
            remote = Remote(client, setup.model, setup.version, options.refresh_s, self._notices)
        outbox = Outbox(_OUTBOX_BYTES)
        spool = None
        if options.spool_dir is not None and options.transport != "file":
            folder = options.spool_dir / quote(setup.model, safe="") / quote(setup.version, safe="")
            spool = Spool(folder, options.spool_mb << 20)
        return Sender(
            Packer(setup.model, setup.version, self.tally, self._notices),
            gate=self.gate,
            rows=self._rows,
            labels=self._labels,
            settings=setup.settings,
            remote=remote,
            delivery=Delivery(
                _open_transport(setup, client, self._notices), outbox, spool, self.tally, self._notices
            ),
            interval_s=options.flush_interval_s,
        )


def _open_transport(setup: Setup, client: Client | None, notices: Notices) -> Transport:
    options = setup.options
    if options.transport == "kafka":
        return KafkaTransport(setup.model, setup.version, options)
    if options.transport == "file":
        assert options.dir is not None
        return FileTransport(options.dir)
    assert client is not None
    return HttpTransport(client, notices)

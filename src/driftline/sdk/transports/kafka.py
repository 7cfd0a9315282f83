"""Parcels to Kafka, with confluent-kafka (extra `kafka`)."""

import logging
from typing import Any, NoReturn

import msgspec
import xxhash

from driftline.sdk.options import InvalidOption, Options
from driftline.sdk.parcel import BATCH_TYPE, Content, Parcel, Refused, Unavailable

MAX_RECORD_BYTES = 16 << 20  # what the topic of samples takes
_opened: list[Any] = []
"""Producers in use: a forked child must not free its parent's, which would wait for threads that are not there."""
TOPICS = {Content.PREDICTIONS: "prediction_samples", Content.LABELS: "labels"}


class KafkaTransport:
    """An idempotent producer that waits for all in-sync replicas.

    Batches are keyed by model and version, labels by model and join key, and both choose their partition as
    the server does: all rows of a version are in one.
    """

    def __init__(self, model: str, version: str, options: Options) -> None:
        try:
            import confluent_kafka  # noqa: PLC0415  an extra; loaded here, not in the background (see `client`)
        except ImportError:
            raise InvalidOption("confluent-kafka is missing; pip install 'driftline[kafka]'") from None
        self._library: Any = confluent_kafka
        self._model = model
        self._version = version
        self._options = options
        self._timeout_s = options.timeout_s
        self._producer: Any = None
        self._partitions: dict[str, int] = {}

    def send(self, parcel: Parcel) -> int:
        """Produce a parcel and wait until the brokers have it."""
        producer = self._open()
        errors: list[Any] = []
        topic = self._options.kafka_prefix + TOPICS[parcel.content]
        messages = self._messages(parcel)
        partitions = self._count_partitions(topic)
        for key, value, headers in messages:
            try:
                producer.produce(
                    topic,
                    value=value,
                    key=key,
                    headers=headers,
                    partition=xxhash.xxh3_64_intdigest(key) % partitions,
                    on_delivery=lambda failure, _message: errors.append(failure) if failure else None,
                )
            except self._library.KafkaException as refusal:
                self._raise(refusal.args[0])
            except BufferError:
                raise Unavailable("Kafka does not take messages as fast as they come") from None
        waiting = producer.flush(self._timeout_s)
        if waiting:
            producer.purge()  # it is in the parcel, which is sent again; twice counts once
            producer.flush(1.0)
            raise Unavailable(f"Kafka did not acknowledge {waiting} messages in {self._timeout_s:g} s")
        for error in errors:
            self._raise(error)
        return 0

    def close(self) -> None:
        """Nothing is waiting: every parcel was waited for."""
        if self._producer is not None:
            _opened.remove(self._producer)
            self._producer = None

    def _open(self) -> Any:
        if self._producer is None:
            settings = {
                "client.id": "driftline-sdk",
                "message.timeout.ms": int(self._timeout_s * 1000),
                "compression.type": "zstd",
                "message.max.bytes": MAX_RECORD_BYTES,
                **self._options.kafka,
                "bootstrap.servers": self._options.kafka_servers,
                "enable.idempotence": True,
                "acks": "all",
            }
            try:
                self._producer = self._library.Producer(settings, logger=logging.getLogger("driftline.kafka"))
            except (self._library.KafkaException, TypeError, ValueError) as error:
                raise Refused(f"Kafka's settings cannot be used: {error}", kind="kafka") from None
            _opened.append(self._producer)
        return self._producer

    def _count_partitions(self, topic: str) -> int:
        if topic not in self._partitions:
            try:
                found = self._producer.list_topics(topic, self._timeout_s).topics[topic]
            except self._library.KafkaException as error:
                raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from None
            if found.error is not None:
                raise Unavailable(f"topic {topic!r}: {found.error.str()}; run `driftline kafka init`")
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]

    def _messages(self, parcel: Parcel) -> list[tuple[bytes, bytes, dict[str, str]]]:
        if parcel.content is Content.PREDICTIONS:
            key = f"{self._model}/{self._version}".encode()
            return [
                (key, parcel.data, {"model": self._model, "version": self._version, "content-type": BATCH_TYPE})
            ]
        headers = {"model": self._model, "content-type": "application/json"}
        return [(self._label_key(line), line, headers) for line in parcel.data.splitlines()]

    def _label_key(self, line: bytes) -> bytes:
        label = msgspec.json.decode(line)
        return f"{self._model}/{label.get('prediction_id') or label.get('entity_id')}".encode()

    def _raise(self, error: Any) -> NoReturn:
        self._partitions.clear()  # the topic may have been made anew
        if error.fatal():  # this producer refuses everything from now on; the next one may not
            self.close()
        if error.fatal() or error.retriable() or error.code() < 0:  # librdkafka's own codes: timed out, no broker
            raise Unavailable(f"Kafka: {error.str()}")
        raise Refused(f"Kafka refused it: {error.str()}", kind="kafka-refused")

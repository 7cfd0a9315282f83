"""A service that logs every prediction to Kafka, for `ingest.py`; it runs until it is terminated.

Usage: event_producer.py '{"servers": …, "topic": …, "model": …, "features": …, "prefix": …, "rate": …}'.
A `rate` of 0 is as many events a second as it can.
"""

import json
import signal
import sys
import time
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Producer

TEXTS = 200
"""So many different events there are; their keys never repeat."""
AT_ONCE = 500


def make_events(features: int) -> list[bytes]:
    """Make events as JSON, of about 16 bytes a feature."""
    rng = np.random.default_rng(1)
    names = [f"f{i}" for i in range(features)]
    return [
        msgspec.json.encode(
            {
                "features": dict(zip(names, row.round(6).tolist(), strict=True)),
                "prediction": str(number % 2),
                "score": 0.5,
            }
        )
        for number, row in enumerate(rng.standard_normal((TEXTS, features)))
    ]


def main(options: dict[str, Any]) -> None:
    """Produce events until terminated."""
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)

    signal.signal(signal.SIGTERM, stop)
    producer = Producer(
        {
            "bootstrap.servers": options["servers"],
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 512 << 10,
            "queue.buffering.max.kbytes": 32 << 10,
        }
    )
    events, rate = make_events(options["features"]), options["rate"]
    began = time.monotonic()
    sent = 0
    while not stopped:
        headers = [
            ("model", options["model"]),
            ("version", "1"),
            ("content-type", "application/json"),
            ("timestamp", datetime.now(UTC).isoformat()),
        ]
        for _ in range(AT_ONCE):
            key = f"{options['prefix']}-{sent:010}"
            while True:
                try:
                    producer.produce(options["topic"], events[sent % TEXTS], key, headers=headers)
                except BufferError:
                    producer.poll(0.05)
                else:
                    break
            sent += 1
        producer.poll(0)
        if rate:
            time.sleep(max(0.0, began + sent / rate - time.monotonic()))
    producer.flush(60)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

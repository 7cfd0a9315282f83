"""What was fetched of one Kafka partition and has not been read yet."""

import time
from collections import deque
from typing import cast

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from driftline.log.record import LogRecord


class Buffer:
    """Records of a partition in order and without holes, from the offset that is read next to that fetched next.

    Append times never decrease here, and stay later than what was promised to be complete: a broker whose clock
    is behind that of the one before it makes its records late by a little, not the promise wrong.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.bytes = 0
        self.position = -1
        """The offset fetched next: everything readable below it has been fetched. Negative until `seek`."""
        self.lost = False
        """Whether the broker has no record at the position, nor expects one there."""
        self._records: deque[LogRecord] = deque()
        self._start = 0
        self._newest = 0
        self._promised = 0

    def seek(self, offset: int) -> None:
        """Forget what was fetched, and expect the record at an offset or the first after it."""
        self._records.clear()
        self.bytes = 0
        self._start = self.position = offset
        self._newest = self._promised = 0
        self.lost = False

    def covers(self, offset: int) -> bool:
        """Tell whether reading can go on from an offset without fetching anew."""
        return self._start <= offset <= self.position

    def add(self, message: Message) -> None:
        """Keep a record that was fetched; nothing before `seek` is expected, and nothing twice."""
        offset = message.offset() or 0
        if self.position < 0 or offset < self.position:
            return
        payload = message.value() or b""
        self._newest = max(self._newest, self._promised + 1, _append_time(message))
        pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
        headers = {name: value.decode("utf-8", "replace") if value else "" for name, value in pairs}
        key = message.key() or b""
        self._records.append(LogRecord(self.topic, self.partition, offset, key, headers, payload, self._newest))
        self.bytes += len(payload)
        self.position = offset + 1

    def reach(self, offset: int) -> None:
        """Take note that nothing more is readable below an offset: transaction markers have offsets too."""
        if self.position >= 0:
            self.position = max(self.position, offset)

    def read(self, offset: int, limit_records: int, limit_bytes: int) -> list[LogRecord]:
        """Take the next records from an offset on; one at least when there is one, however large."""
        taken: list[LogRecord] = []
        size = 0
        while self._records and len(taken) < limit_records:
            size += len(self._records[0].payload)
            if taken and size > limit_bytes:
                break
            record = self._records.popleft()
            self.bytes -= len(record.payload)
            if record.offset >= offset:
                taken.append(record)
        self._start = taken[-1].offset + 1 if taken else max(self._start, offset)
        return taken

    def find(self, offset: int) -> LogRecord | None:
        """Find the first record at or after an offset that has been fetched."""
        return next((record for record in self._records if record.offset >= offset), None)

    def promise(self, moment: int) -> int:
        """Promise that all appended until a moment lies before what comes next; gives the latest such moment."""
        self._promised = max(self._promised, moment)
        return self._promised


def _append_time(message: Message) -> int:
    """Give when the broker appended a record; a producer's own time, which may be any, counts until now."""
    kind, milliseconds = message.timestamp()
    if kind == TIMESTAMP_LOG_APPEND_TIME:
        return milliseconds * 1000
    now = time.time_ns() // 1000
    return min(milliseconds * 1000, now) if milliseconds > 0 else now

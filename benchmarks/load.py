"""A light load generator: the same request over kept connections, a fixed number a second, whatever the answers.

Usage: load.py RATE SECONDS PORT…; the request's body is read from standard input. Prints the latencies
of each port in microseconds, from when a request was due, as a list of lists.
"""

import asyncio
import json
import sys
from time import perf_counter

CONNECTIONS = 8
"""To each port."""


class Connection(asyncio.Protocol):
    """One connection: a request at a time; those that are due while it is busy wait."""

    def __init__(self, request: bytes, latencies: list[int]) -> None:
        self._request = request
        self._latencies = latencies
        self._due: list[float] = []
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, due: float) -> None:
        """Send a request that was due then, or as soon as the answers before it are there."""
        self._due.append(due)
        if len(self._due) == 1:
            self._write()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"}"):  # the answers are small JSON objects
            return
        if not self._received.startswith(b"HTTP/1.1 200"):
            raise SystemExit(self._received.decode())
        self._received = b""
        self._latencies.append(int((perf_counter() - self._due.pop(0)) * 1e6))
        if self._due:
            self._write()

    def _write(self) -> None:
        assert self._transport is not None
        self._transport.write(self._request)


async def load(ports: list[int], rate: float, seconds: float, body: bytes) -> list[list[int]]:
    """Send `rate` requests a second to the ports in turn, for so many seconds; gives the latencies of each."""
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    latencies: list[list[int]] = [[] for _ in ports]
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(CONNECTIONS):
        for port, its in zip(ports, latencies, strict=True):
            made = await loop.create_connection(
                lambda its=its: Connection(head.encode() + body, its), "127.0.0.1", port
            )
            connections.append(made[1])
    begin = perf_counter()
    total = int(rate * seconds)
    sent = 0
    while sent < total:
        due = begin + sent / rate
        if (wait := due - perf_counter()) > 0:
            await asyncio.sleep(wait)
        while sent < total and begin + sent / rate <= perf_counter():
            connections[sent % len(connections)].send(begin + sent / rate)
            sent += 1
    while sum(map(len, latencies)) < total:
        await asyncio.sleep(0.01)
    return latencies


if __name__ == "__main__":
    rate, seconds, *ports = sys.argv[1:]
    print(
        json.dumps(asyncio.run(load(list(map(int, ports)), float(rate), float(seconds), sys.stdin.buffer.read())))
    )

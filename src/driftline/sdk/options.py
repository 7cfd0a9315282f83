"""How a monitor is set up: by arguments, then by `DRIFTLINE_*` in the environment, then by defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

TRANSPORTS = ("http", "kafka", "file")
_PREFIX = "DRIFTLINE_"


class InvalidOption(ValueError):
    """An option cannot be used; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen; each field is also `DRIFTLINE_` and its name in capitals in the environment.

    `url` is the driftline server, which also gives the settings when the transport is not `http`. `dir` is the
    folder of the transport `file`; `spool_dir` is where encoded rows wait while the receiver is away (without
    it, in memory only), at most `spool_mb` mebibytes a model version. At most `max_rows_per_s` predictions a
    second are kept (beyond it N doubles), at most `max_buffered_rows` wait to be encoded; they are sent every
    `flush_interval_s`. The settings are asked for every `refresh_s`, and a request may take `timeout_s`. A
    process that exits waits `exit_s` at most for its last rows. `kafka_servers`, `kafka_prefix` and `kafka`
    (librdkafka's properties; in the environment as JSON) mean what they mean for the server.
    """

    url: str | None = None
    transport: str = "http"
    dir: Path | None = None
    spool_dir: Path | None = None
    spool_mb: int = 256
    max_rows_per_s: int = 100
    max_buffered_rows: int = 2_000
    flush_interval_s: float = 5.0
    refresh_s: float = 10.0
    timeout_s: float = 10.0
    exit_s: float = 5.0
    kafka_servers: str | None = None
    kafka_prefix: str = ""
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)


def _read_properties(given: object) -> dict[str, Any]:
    return msgspec.convert(msgspec.json.decode(given) if isinstance(given, str) else given, dict[str, Any])


_READERS = {
    "transport": str,
    "url": str,
    "dir": Path,
    "spool_dir": Path,
    "spool_mb": int,
    "max_rows_per_s": int,
    "max_buffered_rows": int,
    "flush_interval_s": float,
    "refresh_s": float,
    "timeout_s": float,
    "exit_s": float,
    "kafka_servers": str,
    "kafka_prefix": str,
    "kafka": _read_properties,
}


def read_options(arguments: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Options:
    """Read the options; an argument that is None leaves it to the environment. Raises InvalidOption.

    >>> read_options({"timeout_s": 2}, {"DRIFTLINE_URL": "http://localhost:8420"}).url
    'http://localhost:8420'
    """
    known = {each.name for each in fields(Options)}
    if unknown := sorted(set(arguments) - known):
        raise InvalidOption(f"there is no option {unknown[0]!r}; there are {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        given = arguments.get(name)
        source = name if given is not None else f"{_PREFIX}{name.upper()}"
        if given is None:
            given = environment.get(source) or None
        if given is not None:
            values[name] = _read(source, given, read)
    if values.get("transport", "http") not in TRANSPORTS:
        raise InvalidOption(f"transport is {values['transport']!r}; use http, kafka or file")
    return Options(**values)


def _read(source: str, given: Any, read: Any) -> Any:
    try:
        value = read(given)
    except (TypeError, ValueError):
        if read is _read_properties:  # it may hold passwords
            raise InvalidOption(f"{source} is no JSON object of librdkafka's properties") from None
        raise InvalidOption(
            f"{source} is {given!r}; give {'a number' if read in (int, float) else 'a text'}"
        ) from None
    if isinstance(value, int | float) and not value > 0:
        raise InvalidOption(f"{source} is {given!r}; give a number above 0")
    if source.lower().endswith("url") and not value.startswith(("http://", "https://")):
        raise InvalidOption(f"{source} is {given!r}; it must begin with http:// or https://")
    return value

"""Credentials that cannot be shown by accident. They come from the environment or files, not from a database."""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from driftline.core.errors import InvalidInput

_SHORTEST = 4  # what is shorter cannot be told from ordinary text


class Secret:
    """A credential; only `reveal` gives it away. It cannot be pickled, and its repr and str hide it.

    >>> Secret("hunter2"), f"{Secret('hunter2')}"
    (Secret(…), '…')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the credential, to be sent and never to be kept."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "…"

    def __deepcopy__(self, memo: object) -> "Secret":
        return self  # `dataclasses.asdict` copies

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled: it would be written down; pass where it comes from instead")


def read_secret(source: str, environ: Mapping[str, str], *, field: str = "secret") -> Secret:
    """Read a credential from `env:NAME` or `file:/path`; InvalidInput, without the credential, when there is none.

    >>> read_secret("env:SLACK_TOKEN", {"SLACK_TOKEN": "xoxb-1"}).reveal()
    'xoxb-1'
    """
    kind, _, name = source.partition(":")
    if kind == "env" and name:
        value = environ.get(name, "")
        absent = f"the environment variable {name} is not set or empty"
    elif kind == "file" and name:
        value, absent = _read_file(name)
    else:
        raise InvalidInput(
            f"{field}: write env:NAME or file:/path, where the credential is, not the credential itself",
            field=field,
        )
    if not value.strip():
        raise InvalidInput(f"{field}: {absent}", field=field)
    return Secret(value.strip())


def _read_file(name: str) -> tuple[str, str]:
    try:
        return Path(name).read_text(encoding="utf-8"), f"the file {name} is empty"
    except UnicodeDecodeError:
        return "", f"the file {name} is not UTF-8 text"
    except OSError as error:
        return "", f"the file {name} cannot be read ({error.strerror})"


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """Take credentials out of a text, also where they are quoted for a URL or JSON or encoded as base64.

    >>> scrub("invalid routing key R0123", [Secret("R0123")])
    'invalid routing key …'
    """
    spellings = {spelling for secret in secrets for spelling in _spell(secret.reveal())}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, "…")
    return text


def _spell(value: str) -> set[str]:
    if len(value) < _SHORTEST:
        return set()
    coded = base64.b64encode(value.encode()).decode()
    _, is_address, rest = value.partition("://")
    tail = (
        _spell(rest.partition("/")[2]) if is_address else set()
    )  # what an address keeps secret comes after the host
    return tail | {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], coded, coded.rstrip("=")}

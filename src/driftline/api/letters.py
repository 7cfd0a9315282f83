"""Dead letters for people: what a letter is, and its payload in a form that can be read."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from driftline.api.formats import media_type_of
from driftline.api.problem import Refusal
from driftline.core.errors import InvalidPayload
from driftline.core.moment import format_time
from driftline.log.batch_format import CONTENT_TYPE as BATCH
from driftline.log.batch_format import read_header
from driftline.log.json_body import JSON, NDJSON, read_json
from driftline.log.label_format import CONTENT_TYPE as LABEL_BATCH
from driftline.log.label_format import decode_labels
from driftline.store.dead_letters import DeadLetter, LetterCount

READ_BYTES = 16 << 20
"""So much of a payload is read to show it: a record, or the beginning of a large body."""
SHOWN_BYTES = 64 << 10
"""So much of a payload is shown."""
_SHOWN_IDS = 5
_LINE = 16
_DUMPED = SHOWN_BYTES // 5


def describe_letter(letter: DeadLetter) -> dict[str, Any]:
    """Give what is known of a letter, without its payload."""
    return {
        "id": letter.id,
        "received_at": format_time(letter.received_at),
        "topic": letter.topic,
        "model_id": letter.model_id,
        "version": letter.model_version,
        "prediction_id": letter.prediction_id,
        "reason_code": letter.reason_code,
        "reason": letter.reason,
        "rows": letter.rows,
        "bytes": letter.size,
        "headers": dict(letter.headers),
        "partition": letter.partition,
        "offset": letter.log_offset,
        "replayed_at": None if letter.replayed_at is None else format_time(letter.replayed_at),
    }


def describe_count(count: LetterCount) -> dict[str, Any]:
    """Give how many letters have one topic, model and reason."""
    return {
        "topic": count.topic,
        "model_id": count.model_id,
        "reason_code": count.reason_code,
        "letters": count.letters,
        "rows": count.rows,
        "replayed": count.replayed,
        "newest": format_time(count.newest),
    }


def media_type_of_letter(letter: DeadLetter) -> str | None:
    """Tell what a payload is: what its headers say, else by its first bytes; None when nothing tells."""
    said = letter.headers.get("content-type", "")
    if said == LABEL_BATCH:
        return said
    try:
        found = media_type_of(said, letter.payload)
    except Refusal:
        return None
    return NDJSON if found == JSON and letter.rows > 1 and not said else found


def show_payload(letter: DeadLetter) -> tuple[str, str]:
    """Give what a payload is and its content as text: JSON indented, of a batch its head, else text or bytes.

    At most 64 kB are shown, without characters that would steer a terminal.
    """
    if not letter.payload:
        return "nothing", ""
    media_type = media_type_of_letter(letter)
    show = _VIEWS.get(media_type or "", _show_bytes)
    try:
        shown = show(letter.payload)
    except (InvalidPayload, RecursionError):  # that may be why it is here
        shown = _show_bytes(letter.payload)
    return media_type or "unknown", clean_text(shown[:SHOWN_BYTES])


def clean_text(text: str) -> str:
    """Replace characters that cannot be printed, among them those that steer a terminal.

    >>> clean_text("a\\x1b[31m\\n")
    'a\ufffd[31m\\n'
    """
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)


def dump_hex(data: bytes) -> str:
    """Write bytes as hexadecimal numbers and, where they are any, as characters.

    >>> print(dump_hex(b"PAR1\\x00\\xff"))
    00000000  50 41 52 31 00 ff                                PAR1..
    """
    lines = []
    for start in range(0, len(data), _LINE):
        part = data[start : start + _LINE]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines)


def _show_json(payload: bytes) -> str:
    return json.dumps(read_json(payload), indent=2, ensure_ascii=False)


def _show_bytes(payload: bytes) -> str:
    beginning = payload[:SHOWN_BYTES]
    try:
        return beginning.decode()
    except UnicodeDecodeError as error:
        return beginning.decode(errors="ignore") if error.start > SHOWN_BYTES - 4 else dump_hex(payload[:_DUMPED])


def _show_batch(payload: bytes) -> str:
    """Show the head of a batch, which tells whose it is also where the rest does not fit its schema."""
    header = read_header(payload)
    ids = msgspec.msgpack.decode(payload, type=_Ids).ids[:_SHOWN_IDS]
    more = header.rows - len(ids)
    return "\n".join(
        (
            f"batch {header.batch_id} of model {header.model_id}, version {header.version}",
            f"schema {header.schema_id}, {header.rows:,} rows of weight {header.weight}",
            f"ids: {', '.join(ids)}" + (f" and {more:,} more" if more else ""),
        )
    )


class _Ids(msgspec.Struct):
    ids: list[str]


def _show_labels(payload: bytes) -> str:
    labels = decode_labels(payload)
    pairs = zip(labels.keys[:_SHOWN_IDS], labels.values[:_SHOWN_IDS], strict=True)
    more = labels.rows - _SHOWN_IDS
    shown = ", ".join(f"{key}: {value}" for key, value in pairs)
    return f"labels of model {labels.model_id}\n{shown}" + (f" and {more:,} more" if more > 0 else "")


_VIEWS: Mapping[str, Callable[[bytes], str]] = {
    JSON: _show_json,
    BATCH: _show_batch,
    LABEL_BATCH: _show_labels,
}

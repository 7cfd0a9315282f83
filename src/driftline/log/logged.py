"""One prediction per record: what producers that log everything write to the topic `prediction_logs`.

Whether it is kept is decided by its key and headers before anything here is called. So what the payload says must
agree with them: a label is looked for by the payload's ids.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from driftline.core.batch import Batch
from driftline.core.category import category_text
from driftline.core.errors import InvalidPayload
from driftline.core.schema import JoinKey, Schema
from driftline.log.batch_format import CONTENT_TYPE, decode_batch
from driftline.log.json_body import JSON
from driftline.log.plain_rows import RowReader
from driftline.log.record import LogRecord

ENTITY = "entity"
"""The header that holds the entity id, for models whose labels come by entity."""


class WrongKey(InvalidPayload):
    """The payload is of another prediction, entity or version than the record's key and headers say."""


def join_key_of(record: LogRecord, schema: Schema) -> bytes:
    """Give the bytes that decide whether a record is kept; empty when it does not say them.

    >>> record = LogRecord("prediction_logs", 0, 0, b"p-1", {"entity": "customer 7"}, b"{}", 0)
    >>> join_key_of(record, Schema(())), join_key_of(record, Schema((), join_key=JoinKey.ENTITY_ID))
    (b'p-1', b'customer 7')
    """
    if schema.join_key is JoinKey.PREDICTION_ID:
        return record.key
    return record.headers.get(ENTITY, "").encode(errors="surrogatepass")


def is_batch(record: LogRecord) -> bool:
    """Tell whether a record is in the batch format; raises InvalidPayload when it is neither that nor JSON."""
    content_type = record.headers.get("content-type", JSON)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == CONTENT_TYPE:
        return True
    if media_type == JSON or media_type.endswith("+json"):
        return False
    raise InvalidPayload(
        f"content-type is {content_type!r}; a record of prediction_logs is {JSON} or {CONTENT_TYPE}",
        field="content-type",
    )


def read_row(record: LogRecord, schema: Schema, reader: RowReader) -> dict[str, Any]:
    """Read a record's JSON prediction; what it leaves out is taken from the key and the headers.

    Raises InvalidPayload, WrongKey.
    """
    row = reader.read(record.payload)
    if not isinstance(row, dict):
        raise InvalidPayload("a record of prediction_logs holds one prediction: an object", field="body")
    if "predictions" in row:
        raise InvalidPayload(
            "a record of prediction_logs holds one prediction; write several as several records",
            field="predictions",
        )
    _check_names(record.headers, row.get("model_id"), row.get("version"))
    given = row.get("prediction_id")
    given = row.get("request_id") if given is None else given
    if given is None:
        row["prediction_id"] = _key_text(record)
    elif schema.join_key is JoinKey.PREDICTION_ID:
        _check_key(record, str(given))
    if row.get("timestamp") is None:
        row["timestamp"] = record.headers.get("timestamp") or None
    if schema.join_key is JoinKey.ENTITY_ID:
        row["entity_id"] = _check_entity(record, category_text(row.get("entity_id")))
    return row


def read_batch(record: LogRecord, schema: Schema) -> Batch:
    """Read a record's prediction in the batch format. Raises InvalidPayload, WrongKey."""
    batch = decode_batch(record.payload, schema)
    _check_names(record.headers, batch.model_id, batch.version)
    if batch.rows != 1:
        raise InvalidPayload(
            f"the batch has {batch.rows} rows; a record of prediction_logs holds one prediction, sampled ones go"
            " to prediction_samples",
            field="ids",
        )
    if batch.weight != 1:
        raise InvalidPayload(
            f"weight is {batch.weight}; what has been sampled already goes to prediction_samples", field="weight"
        )
    if schema.join_key is JoinKey.PREDICTION_ID:
        _check_key(record, batch.ids[0])
        return batch
    named = batch.entity_ids[0] if batch.entity_ids else None
    return replace(batch, entity_ids=(_check_entity(record, named),))


def _check_names(headers: Mapping[str, str], model_id: object, version: object) -> None:
    for field, header, named in (("model_id", "model", model_id), ("version", "version", version)):
        said = headers.get(header)
        if named is not None and str(named) != said:
            raise WrongKey(
                f"{field} is {named!r}, the header {header!r} says {said!r}; write the same in both", field=field
            )


def _check_key(record: LogRecord, prediction_id: str) -> None:
    if prediction_id.encode(errors="surrogatepass") != record.key:
        raise WrongKey(
            f"prediction_id is {prediction_id[:100]!r}, the record's key {record.key[:100]!r}; "
            "key every record by its prediction id: that decides whether prediction and label are kept",
            field="prediction_id",
        )


def _key_text(record: LogRecord) -> str:
    try:
        return record.key.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        raise WrongKey(
            f"the record's key {record.key[:100]!r} is no UTF-8 text; key every record by its prediction id",
            field="prediction_id",
        ) from None


def _check_entity(record: LogRecord, named: str | None) -> str:
    header = record.headers[ENTITY]
    if named is not None and named != header:
        raise WrongKey(
            f"entity_id is {named[:100]!r}, the header {ENTITY!r} says {header[:100]!r}; write the same in both:"
            " that decides whether prediction and label are kept",
            field="entity_id",
        )
    return header

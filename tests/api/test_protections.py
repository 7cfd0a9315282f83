"""Hostile requests: whatever is sent is answered, within bounds, and never as a failure of the server."""

import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import structlog
import zstandard

from driftline.core.batch import Batch
from driftline.core.frame import pack_frame
from driftline.core.schema import Schema
from driftline.log.batch_format import encode_batch
from driftline.store.database import Database
from driftline.store.dead_letters import list_dead_letters
from tests.api.examples import (
    ARROW,
    FRAUD,
    PARQUET,
    make_body,
    make_frame,
    make_prediction,
    to_arrow,
    to_parquet,
    upload_reference,
)

SCHEMA = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
BATCH = "application/vnd.driftline.batch"
JSON, NDJSON = "application/json", "application/x-ndjson"
WHOSE = {"model_id": "fraud", "version": "3"}
ENDLESS = "".join(map(chr, range(0x4E00, 0x9E00)))
MIB = 1 << 20


def make_batch(rows: int = 5, **changes: Any) -> Batch:
    frame = make_frame(rows)
    packed = pack_frame(frame, SCHEMA)
    assert packed.timestamps is not None
    ids = tuple(frame["prediction_id"])
    made = Batch("fraud", "3", SCHEMA.schema_id, "batch-1", ids, packed.timestamps, packed.columns, weight=10)
    return replace(made, **changes)


def count_letters(database: Database) -> int:
    with database.transaction() as conn:
        return len(list_dead_letters(conn, limit=100_000, payload_bytes=0))


# --- sizes: the tests' server takes 2 MiB


def zstd_without_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b" " * (64 * MIB))),
        ("gzip", gzip.compress(b" " * MIB) * 64),  # members that each are small
        ("zstd", zstandard.compress(b" " * (64 * MIB))),
        ("zstd", zstd_without_size(b" " * (64 * MIB))),
        ("zstd", zstandard.compress(b" " * MIB) * 64),
    ],
    ids=["gzip", "gzip members", "zstd", "zstd unsized", "zstd frames"],
)
@pytest.mark.parametrize("path", ["/predictions", "/labels"])
def test_small_bodies_that_unpack_to_large_ones(
    refusing: httpx.Client, path: str, encoding: str, body: bytes
) -> None:
    assert len(body) < MIB
    answer = refusing.post(path, content=body, headers={"content-type": JSON, "content-encoding": encoding})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:driftline:problem:body-too-large")


def test_layers_of_compression_are_not_unwrapped(refusing: httpx.Client) -> None:
    body = gzip.compress(gzip.compress(b"{}"))
    answer = refusing.post("/predictions", content=body, headers={"content-encoding": "gzip, gzip"})
    assert answer.status_code == 415


def test_a_zstd_frame_that_wants_a_large_window(refusing: httpx.Client) -> None:
    """The head of a frame names the window that must be kept: two gigabytes here."""
    frame = struct.pack("<IBB", 0xFD2FB528, 0b0000_0000, 21 << 3) + struct.pack("<I", 1)[:3]
    answer = refusing.post(
        "/predictions", content=frame, headers={"content-type": JSON, "content-encoding": "zstd"}
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "Content-Encoding")


def frame_of(rows: int) -> pa.Table:
    times = pa.array(np.full(rows, 1_732_521_600_000_000), pa.timestamp("us", "UTC"))
    ids = pa.array(["a"] * rows)
    return pa.table({"prediction_id": ids, "timestamp": times, "amount": np.zeros(rows)})


def write_arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def write_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


@pytest.mark.parametrize("write", [write_arrow, write_parquet])
def test_frames_that_unpack_to_large_ones(refusing: httpx.Client, write: Callable[[pa.Table], bytes]) -> None:
    body = write(frame_of(300_000))
    assert len(body) < 2 * MIB
    answer = refusing.post("/predictions", params=WHOSE, content=body)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:driftline:problem:body-too-large")


def test_what_is_too_large_is_not_kept(fraud: httpx.Client, database: Database) -> None:
    fraud.post("/predictions", params=WHOSE, content=write_arrow(frame_of(300_000)))
    assert count_letters(database) == 0


def test_names_without_end(fraud: httpx.Client, database: Database) -> None:
    """Names are kept with the letter, but no index entry of a database holds 20,000 characters."""
    lines = [{**make_prediction("a"), "model_id": ENDLESS, "version": "3"}, make_prediction(ENDLESS)]
    answer = fraud.post(
        "/predictions",
        params=WHOSE,
        content="\n".join(json.dumps(line) for line in lines),
        headers={"content-type": NDJSON},
    )
    assert (answer.status_code, len(answer.json()["dead_lettered"])) == (202, 2)
    assert fraud.post("/predictions", json=make_body(make_prediction("a"), version=ENDLESS)).status_code == 422
    labels = {"model_id": ENDLESS, "labels": [{"prediction_id": "a", "value": 1}]}
    assert fraud.post("/labels", json=labels).status_code == 422
    assert count_letters(database) == 4


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"idempotency-key": "k" * 255}, 202),
        ({"idempotency-key": "k" * 256}, 422),
        ({"idempotency-key": b"\xff\x80"}, 202),
        ({"content-type": "application/json; charset=" + "x" * 8000}, 202),
    ],
)
def test_headers_of_any_length(fraud: httpx.Client, headers: dict[str, Any], status: int) -> None:
    body = json.dumps(make_body(make_prediction("a"))).encode()
    answer = fraud.post("/predictions", content=body, headers={"content-type": JSON, **headers})
    assert answer.status_code == status


def test_headers_beyond_any_length_end_the_connection(fraud: httpx.Client) -> None:
    try:
        status = fraud.get("/healthz", headers={"x-long": "x" * 8_000_000}).status_code
    except httpx.TransportError:
        status = 400
    assert status in (400, 431)
    assert fraud.get("/healthz").status_code == 200


# --- contents


@pytest.mark.parametrize("field", ["batch_id", "model_id", "version"])
def test_batches_whose_names_have_a_nul(fraud: httpx.Client, field: str) -> None:
    content = msgspec.msgpack.decode(encode_batch(make_batch(), SCHEMA))
    body = msgspec.msgpack.encode({**content, field: "a\x00b"})
    answer = fraud.post("/predictions", content=body, headers={"content-type": BATCH})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
def test_json_of_any_depth(fraud: httpx.Client, database: Database, media_type: str) -> None:
    depths = [100, *range(930, 1000, 3), 50_000]
    for depth in depths:
        nested = '{"a":' * depth + "1" + "}" * depth
        row = f'{{"prediction_id": "a", "timestamp": "x", "features": {nested}}}'
        answer = fraud.post("/predictions", params=WHOSE, content=row, headers={"content-type": media_type})
        assert answer.status_code in (202, 422), (depth, answer.text)
    assert count_letters(database) == len(depths)


@pytest.mark.parametrize(
    "schema",
    [
        {"features": [{"name": "a", "kind": "numeric", "unit": "\ud800"}]},
        {"features": [{"name": "a", "kind": "numeric", "unit": "\x00"}]},
        {"features": [{"name": "a\ud800", "kind": "numeric"}]},
        {"features": [{"name": "a", "kind": "numeric", "description": ["a"]}]},
        {"features": [], "prediction": "\x00"},
        {"features": [], "segments": ["\ud800"]},
        {"features": [{"name": "a", "kind": "numeric", "unit": "x" * 100_000}]},
    ],
)
def test_schemas_that_nothing_can_store(refusing: httpx.Client, schema: dict[str, Any]) -> None:
    body = json.dumps({"model_id": "odd", "version": "1", "schema": schema})
    answer = refusing.post("/models", content=body, headers={"content-type": JSON})
    assert answer.status_code == 422, answer.text


def test_a_batch_of_another_schema_is_kept_with_the_reason(fraud: httpx.Client, database: Database) -> None:
    answer = fraud.post("/predictions", content=encode_batch(make_batch(schema_id="0123456789abcdef"), SCHEMA))
    assert (answer.status_code, answer.json()["field"]) == (422, "schema_id")
    with database.transaction() as conn:
        (letter,) = list_dead_letters(conn)
    assert "a new schema is a new version" in letter.reason
    assert (letter.model_id, letter.model_version, letter.reason_code) == ("fraud", "3", "malformed_body")
    assert letter.headers == {"content-type": BATCH}


# --- anything: the same requests in every run


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Change, insert, remove or repeat a few bytes."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(5):
            case 0:
                found[place : place + 1] = rng.randbytes(1)
            case 1:
                found[place:place] = rng.randbytes(rng.randint(1, 12))
            case 2:
                del found[place : place + rng.randint(1, 30)]
            case 3:
                found[place:place] = found[place : place + rng.randint(1, 60)] * rng.randint(1, 20)
            case 4:
                found[place : place + 5] = rng.choice((b"\xdd", b"\xc6", b"[", b'"')) + b"\x7f\xff\xff\xff"
    return bytes(found)


def hostile_text(rng: random.Random) -> str:
    return rng.choice(
        ("", "\x00", "\ud800", "a" * 5000, ENDLESS[:3000], "../..", "\u202e", "NaN", "💥", "'; --", "1e999")
    )


def hostile_value(rng: random.Random, depth: int = 0) -> Any:
    if depth < 3 and rng.random() < 0.2:
        values = [hostile_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        return rng.choice((values, {hostile_text(rng): value for value in values}))
    return rng.choice(
        (
            hostile_text(rng),
            *(0, -1, 2**63, -(2**70), 10**400, 1e308, float("nan"), float("-inf")),
            *(None, True, False),
            *("2024-11-25T08:00:00Z", "9999-12-31T23:59:59Z", "0000-00-00", "1969-12-31T23:59:59Z", "2024-11-25"),
            *("fraud", "3", "DE"),
        )
    )


def hostile_row(rng: random.Random) -> Any:
    row = make_prediction("a")
    for name in rng.sample(
        [*row, "model_id", "version", "group_id", "rank", "segments", "value"], rng.randint(1, 4)
    ):
        row[name] = hostile_value(rng)
    return row


def draw_request(rng: random.Random) -> dict[str, Any]:
    """Draw a request that may be almost right or nonsense."""
    seeds = {
        BATCH: encode_batch(make_batch(), SCHEMA),
        ARROW: to_arrow(make_frame(5)),
        PARQUET: to_parquet(make_frame(5)),
        JSON: json.dumps(make_body(make_prediction("a"), make_prediction("b"))).encode(),
        NDJSON: b"\n".join(json.dumps({**make_prediction("a"), **WHOSE}).encode() for _ in range(3)),
    }
    media_type = rng.choice(tuple(seeds))
    path = rng.choice(("/predictions", "/predictions", "/predictions", "/labels"))
    if media_type in (JSON, NDJSON) and rng.random() < 0.6:
        rows = [hostile_row(rng) for _ in range(rng.randint(1, 4))]
        content = (
            {**WHOSE, "predictions": rows} if path == "/predictions" else {"model_id": "fraud", "labels": rows}
        )
        body = json.dumps(content).encode()
        if media_type == NDJSON:
            body = b"\n".join(json.dumps(row).encode() for row in rows)
    else:
        body = mutate(rng, seeds[media_type])
    headers = {"content-type": media_type if rng.random() < 0.8 else rng.choice(("", "text/plain", JSON, BATCH))}
    if rng.random() < 0.2:
        headers["content-encoding"], body = rng.choice(
            (("gzip", gzip.compress(body)), ("zstd", zstandard.compress(body)), ("gzip", zlib.compress(body)))
        )
    if rng.random() < 0.2:
        headers["idempotency-key"] = rng.choice(("k", "k2", "a" * 300))
    params = {"model_id": "fraud"} if path == "/labels" else rng.choice((WHOSE, {}, {**WHOSE, "sample": "true"}))
    return {"url": path, "content": body, "headers": headers, "params": params}


@pytest.mark.parametrize("seed", range(8))
def test_any_request_is_answered_and_none_is_a_failure(fraud: httpx.Client, seed: int) -> None:
    rng = random.Random(seed)
    with structlog.testing.capture_logs() as logs:
        for _ in range(60):
            request = draw_request(rng)
            answer = fraud.post(**request)
            assert answer.status_code in (202, 404, 409, 413, 415, 422), (answer.text, request)
            if answer.status_code != 202:
                assert answer.json()["detail"]
    assert [log for log in logs if log["log_level"] == "error"] == []
    assert fraud.get("/readyz").status_code == 200


@pytest.mark.parametrize("seed", range(4))
def test_any_reference_is_answered_and_none_is_a_failure(client: httpx.Client, seed: int) -> None:
    rng = random.Random(seed)
    assert client.post("/models", json=FRAUD).status_code == 201
    frame = make_frame(200).drop(columns="timestamp")
    bodies = (to_parquet(frame), to_arrow(frame), frame.to_csv(index=False).encode())
    with structlog.testing.capture_logs() as logs:
        for _ in range(12):
            answer = client.put("/models/fraud/versions/3/reference", content=mutate(rng, rng.choice(bodies)))
            assert answer.status_code in (200, 201, 409, 413, 415, 422), answer.text
    assert [log for log in logs if log["log_level"] == "error"] == []
    upload_reference(client)

"""Taking predictions in: into the log, the refused ones into the dead letters, in one transaction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection

from driftline.api.weights import Holder
from driftline.core.batch import Batch, drop_repeated, sample_batch
from driftline.core.schema import JoinKey, Schema
from driftline.log.log import Log
from driftline.log.micro_batches import cut_batch
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.batches import accept_batch
from driftline.store.dead_letters import Refused, add_dead_letters
from driftline.store.versions import Version


@dataclass(frozen=True, slots=True)
class Intake:
    """What a request brings of one model version, ready for the log.

    `rows` without the `repeated` ids and those `not_sampled`, in `records`; the rows `refused`. With a `key` it is
    taken in once in 24 hours. Rows that are of no version are kept once for each body that has the key: when the
    version has been registered, the same request is taken in. `low_weight` is the rows' weight when it is below
    the N in force.
    """

    model_id: str
    version: str
    rows: int
    records: Sequence[NewRecord]
    repeated: int
    refused: Sequence[Refused]
    key: str | None
    not_sampled: int = 0
    low_weight: tuple[Holder, int] | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """The version that predictions are of, as stored, and its schema."""

    version: Version
    schema: Schema


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many predictions were accepted, how many were there already, and how many were kept as refused."""

    accepted: int
    duplicates: int
    refused: int


def digest_of(body: bytes) -> bytes:
    """Give 32 bytes that tell a body from every other one."""
    return hashlib.blake2b(body, digest_size=32).digest()


def prepare_intake(
    destination: Destination,
    batch: Batch | None,
    refused: Sequence[Refused],
    key: str | None,
    *,
    sample: bool = False,
) -> Intake:
    """Drop repeated ids, with `sample` keep one prediction in N, and write the records; no lock is held yet."""
    version = destination.version
    named = (version.model_id, version.model_version)
    if batch is None:
        return Intake(*named, 0, (), 0, refused, key)
    once = drop_repeated(batch)
    by_entity = destination.schema.join_key is JoinKey.ENTITY_ID
    kept = sample_batch(once, version.sampling_n, by_entity=by_entity) if sample else once
    return Intake(
        *named,
        kept.rows,
        cut_batch(kept, destination.schema),
        batch.rows - once.rows,
        refused,
        key,
        once.rows - kept.rows,
        (Holder(*named, version.created_at), kept.weight) if kept.weight < version.sampling_n else None,
    )


def take_in(conn: Connection, log: Log, intakes: Sequence[Intake], digest: bytes) -> Outcome:
    """Append to the log and keep what was refused; durable once the caller's transaction commits.

    What was taken in before under the same key is left alone: its rows count as duplicates. `digest` is that
    of the request's body; AlreadyExists is raised when the key was used for another one.
    """
    in_order = sorted(intakes, key=lambda each: (each.model_id, each.version))  # no two wait for one another
    claimed = [_claim(conn, intake, digest) for intake in in_order]
    fresh = [intake for intake, new in zip(in_order, claimed, strict=True) if new]
    refused = [letter for intake in fresh for letter in intake.refused]
    add_dead_letters(conn, refused)
    log.append(conn, PREDICTION_SAMPLES, [record for intake in fresh for record in intake.records])
    accepted = sum(intake.rows for intake in fresh)
    return Outcome(
        accepted,
        sum(intake.rows + intake.repeated for intake in intakes) - accepted,
        sum(letter.rows for letter in refused),
    )


def claim_refused(conn: Connection, key: str | None, digest: bytes) -> bool:
    """Tell whether what a body has of no version is still to be kept: without a key, always."""
    return key is None or accept_batch(conn, "", f"{key}/{digest.hex()}", 0, digest)


def _claim(conn: Connection, intake: Intake, digest: bytes) -> bool:
    if not intake.model_id:
        return claim_refused(conn, intake.key, digest)
    if intake.key is None:
        return True
    return accept_batch(conn, intake.model_id, f"{intake.version}/{intake.key}", intake.rows, digest)

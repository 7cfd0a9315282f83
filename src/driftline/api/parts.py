"""Parts of a body, one per model version, prepared for the log before any lock is held."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from driftline.api.formats import Part
from driftline.api.intake import Destination, Intake, prepare_intake
from driftline.api.names import check_name
from driftline.api.problem import Refusal
from driftline.api.refused import Letter, keep_rows, letter_of, refuse_part
from driftline.api.schemas import Schemas
from driftline.core.finding import Finding
from driftline.log.received import Rejected
from driftline.store.database import Database
from driftline.store.versions import Version, find_versions

MAX_VERSIONS = 1_000
"""So many model versions a body may name."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be taken in, and beside it what was refused or odd, for the answer."""

    intakes: Sequence[Intake]
    letters: Sequence[Letter]
    findings: Sequence[Finding]


def prepare_parts(
    database: Database,
    schemas: Schemas,
    parts: Sequence[Part],
    nameless: Sequence[Rejected],
    *,
    key: str | None,
    latest: int,
    sample: bool,
) -> Prepared:
    """Pack the parts of a body by the schemas of their versions; `nameless` are its rows that name none.

    `latest` is the last acceptable event time (microseconds). Raises InvalidInput, and Refusal when the body is
    of one version only and that is not known.
    """
    known = _find_destinations(database, schemas, parts, alone=not nameless)
    return _pack(parts, known, nameless, key, latest, sample=sample)


def _find_destinations(
    database: Database, schemas: Schemas, parts: Sequence[Part], *, alone: bool
) -> list[Destination | Refusal]:
    """Find each part's version with its schema, or why there is none; that of the only part is raised."""
    if len(parts) > MAX_VERSIONS:
        raise Refusal(
            "invalid-request",
            f"the body names {len(parts):,} model versions; send at most {MAX_VERSIONS:,} of them at a time",
            field="version",
        )
    misnamed = [_check_names(part) for part in parts]
    usable = [(part.model_id, part.version) for part, why in zip(parts, misnamed, strict=True) if why is None]
    with database.transaction() as conn:
        versions = find_versions(conn, usable)
    found = [
        _find_destination(schemas, versions.get((part.model_id, part.version)), part) if why is None else why
        for part, why in zip(parts, misnamed, strict=True)
    ]
    if alone and len(found) == 1 and isinstance(found[0], Refusal):
        raise found[0]
    return found


def _check_names(part: Part) -> Refusal | None:
    for field, name in (("model_id", part.model_id), ("version", part.version)):
        try:
            check_name(name, field)
        except ValueError as error:
            return Refusal("invalid-request", str(error), field=field)
    return None


def _find_destination(schemas: Schemas, version: Version | None, part: Part) -> Destination | Refusal:
    if version is None:
        return Refusal(
            "not-found",
            f"there is no version {part.version!r} of model {part.model_id!r}; register it with POST /models, "
            "then send again",
            field="version",
        )
    if version.schema is None or version.schema_id is None:
        return Refusal(
            "no-schema",
            f"version {part.version!r} of model {part.model_id!r} has no schema yet; upload its reference, or "
            "register the version with a schema, then send again",
            field="version",
        )
    return Destination(version, schemas.read(version.schema_id, version.schema))


def _pack(
    parts: Sequence[Part],
    known: Sequence[Destination | Refusal],
    nameless: Sequence[Rejected],
    key: str | None,
    latest: int,
    *,
    sample: bool,
) -> Prepared:
    of_no_version = [letter_of(row, None, None) for row in nameless]
    letters: list[Letter] = []
    intakes: list[Intake] = []
    findings: list[Finding] = []
    for part, destination in zip(parts, known, strict=True):
        if isinstance(destination, Refusal):
            of_no_version += refuse_part(part, destination)
            continue
        its_key = key or part.batch_id
        received = part.pack(destination.schema, its_key or uuid.uuid4().hex, latest)
        refused = [letter_of(row, part.model_id, part.version) for row in received.rejected]
        letters += refused
        findings += received.findings
        intakes.append(prepare_intake(destination, received.batch, keep_rows(refused), its_key, sample=sample))
    if of_no_version:
        letters += of_no_version
        intakes.append(Intake("", "", 0, (), 0, keep_rows(of_no_version), key))
    return Prepared(intakes, sorted(letters, key=lambda letter: letter.index), findings)

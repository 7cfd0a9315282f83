"""Taking events in: halves of calls wait for one another, and pairs become predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from psycopg import Connection

from driftline.api.destinations import EventDestination
from driftline.api.intake import Destination, Intake, digest_of, prepare_intake, take_in
from driftline.api.refused import Letter, keep_rows, letter_of
from driftline.core.errors import InvalidPayload
from driftline.core.moment import from_micros
from driftline.core.sampling import keep
from driftline.core.schema import JoinKey, Schema, layout
from driftline.log.inference_call import CallFailed, read_inputs, read_outputs
from driftline.log.json_body import write_json
from driftline.log.json_format import Submission
from driftline.log.json_rows import pack_predictions
from driftline.log.log import Log
from driftline.store.batches import was_accepted
from driftline.store.dead_letters import Refused
from driftline.store.event_halves import Half, Side, pair_half, take_other_half
from driftline.store.sampling import note_weights
from driftline.workers.halves import refuse_half

_SAME = digest_of(b"")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Half of a call that has arrived at a place in the request's body, and the ids of its rows."""

    index: int
    half: Half
    destination: EventDestination
    ids: Sequence[str]

    def count_kept(self, n: int) -> int:
        """Count the rows that are kept when one in n is; where entities decide, any row may be."""
        if self.destination.to.schema.join_key is JoinKey.ENTITY_ID:
            return len(self.ids)
        return sum(keep(name, n) for name in self.ids)

    @property
    def may_be_kept(self) -> bool:
        """Whether it, or the half that it belongs to, is kept; else there is nothing to look up."""
        return self.count_kept(self.destination.recent_n) > 0


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """What became of events: predictions made, seen before, not kept or refused; and halves that wait."""

    accepted: int
    duplicates: int
    waiting: int
    not_sampled: int
    letters: Sequence[Letter]


FindVersion: TypeAlias = Callable[[str, str], EventDestination]


def arrive(index: int, half: Half, destination: EventDestination) -> Arrival:
    """Name the rows of a half: the event's id for one, with -0, -1 … for more."""
    schema = destination.to.schema
    try:
        rows = len((read_inputs if half.side == Side.REQUEST else read_outputs)(half.payload, schema))
    except InvalidPayload:  # is said of the pair
        rows = 1
    ids = [half.event_id] if rows == 1 else [f"{half.event_id}-{i}" for i in range(rows)]
    return Arrival(index, half, destination, ids)


def take_in_events(
    conn: Connection, log: Log, arrivals: Sequence[Arrival], find: FindVersion, latest: int
) -> EventOutcome:
    """Let halves wait or be paired; durable once the caller's transaction commits.

    Whether a half is kept is decided before anything is looked up. `latest` is the last acceptable event time.
    """
    intakes: list[Intake] = []
    letters: list[Letter] = []
    low: dict[tuple[str, str], int] = {}
    waiting = duplicates = not_sampled = 0
    for arrival in sorted(arrivals, key=_order):  # no two wait for one another
        half = arrival.half
        kept = arrival.count_kept(arrival.destination.n)
        if kept and was_accepted(conn, half.model_id, f"{half.model_version}/{_key(half)}"):
            duplicates += kept
        elif other := _find_other(conn, arrival, kept=kept > 0):
            intake = _pair(half, other, find, latest)
            intakes.append(intake)
            letters += [Letter(arrival.index, letter) for letter in intake.refused]
            not_sampled += intake.not_sampled
            key = (other.model_id, other.model_version)
            low[key] = min(other.n, low.get(key, other.n))
        elif kept:
            waiting += 1
        else:
            not_sampled += count_not_sampled(arrival)
    note_weights(conn, low)
    outcome = take_in(conn, log, intakes, _SAME)
    return EventOutcome(outcome.accepted, duplicates + outcome.duplicates, waiting, not_sampled, letters)


def count_not_sampled(arrival: Arrival) -> int:
    """Count the predictions of a half that is not kept: with the request, so that none counts twice."""
    return len(arrival.ids) if arrival.half.side == Side.REQUEST else 0


def _order(arrival: Arrival) -> tuple[str, str, str]:
    return arrival.half.model_id, arrival.half.event_id, arrival.half.side


def _key(half: Half) -> str:
    return f"event/{half.event_id}"


def _find_other(conn: Connection, arrival: Arrival, *, kept: bool) -> Half | None:
    """Find the other half; a half that is not kept any more may belong to one that was, by a smaller N."""
    half = arrival.half
    if kept:
        return pair_half(conn, half)
    if arrival.count_kept(arrival.destination.recent_n):
        return take_other_half(conn, half.model_id, half.event_id, Side(half.side))
    return None


def _pair(half: Half, first: Half, find: FindVersion, latest: int) -> Intake:
    """Make predictions of two halves, by the version and the N of the one that came first."""
    request, response = (half, first) if half.side == Side.REQUEST else (first, half)
    to = find(first.model_id, first.model_version).to
    try:
        rows = _read_rows(request, response, to.schema)
    except InvalidPayload as error:
        code = "inference_failed" if isinstance(error, CallFailed) else "malformed_payload"
        refused = _refuse_pair(request, response, code, str(error))
        return Intake(first.model_id, first.model_version, 0, (), 0, [refused], _key(first))
    submission = Submission(first.model_id, first.model_version, rows, range(len(rows)))
    received = pack_predictions(submission, to.schema, batch_id=_key(first), latest=latest)
    letters = [letter_of(row, first.model_id, first.model_version) for row in received.rejected]
    destination = Destination(replace(to.version, sampling_n=first.n), to.schema)
    return prepare_intake(destination, received.batch, keep_rows(letters), _key(first), sample=True)


def _read_rows(request: Half, response: Half, schema: Schema) -> list[dict[str, Any]]:
    inputs, outputs = read_inputs(request.payload, schema), read_outputs(response.payload, schema)
    if len(inputs) != len(outputs):
        raise InvalidPayload(f"{len(inputs)} rows were asked for and {len(outputs)} answered", field="data")
    said = {"timestamp": from_micros(request.event_time).isoformat()}
    several = len(inputs) > 1
    return [
        {
            "prediction_id": f"{request.event_id}-{i}" if several else request.event_id,
            **said,
            **_split(features, schema),
            **output,
        }
        for i, (features, output) in enumerate(zip(inputs, outputs, strict=True))
    ]


def _split(values: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Tell features from the entity and from segment columns, which may stand among them."""
    beside = {schema.entity_id, *layout(schema).segments} - {feature.name for feature in schema.features}
    return {
        "features": {name: value for name, value in values.items() if name not in beside},
        "entity_id": values.get(schema.entity_id),
        "segments": {name: values[name] for name in layout(schema).segments if name in values},
    }


def _refuse_pair(request: Half, response: Half, code: str, reason: str) -> Refused:
    both = {str(half.side): half.payload.decode(errors="replace") for half in (request, response)}
    return replace(refuse_half(request, code, reason), payload=write_json(both), headers={})

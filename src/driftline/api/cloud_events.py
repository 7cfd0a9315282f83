"""CloudEvents: what the payload loggers of KServe and Seldon send, request and response apart."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.body import WholeBody, unpack_body
from driftline.api.context import AppSettings, KnownDestinations, OpenDatabase, OpenLog
from driftline.api.destinations import Destinations
from driftline.api.event_intake import (
    Arrival,
    EventOutcome,
    arrive,
    count_not_sampled,
    take_in_events,
)
from driftline.api.formats import Named
from driftline.api.intake import digest_of
from driftline.api.meters import Meters
from driftline.api.moments import read_clock
from driftline.api.names import ModelId, VersionName, check_name
from driftline.api.problem import Refusal, describe_problems
from driftline.api.refused import Letter, keep_body, list_letters, reason_code_of
from driftline.core.errors import InvalidInput
from driftline.core.window import MICROSECONDS
from driftline.log.cloud_event import BATCHED, STRUCTURED, CloudEvent, read_events
from driftline.log.json_body import JSON
from driftline.log.log import Log
from driftline.log.received import id_problem, read_time
from driftline.store.database import Database
from driftline.store.dead_letters import Refused, add_dead_letters
from driftline.store.errors import NotFound
from driftline.store.event_halves import Half, Side
from driftline.workers.halves import CLOUD_EVENTS

router = APIRouter(tags=["predictions"])

_SIDES: Mapping[str, Side] = {
    "org.kubeflow.serving.inference.request": Side.REQUEST,
    "org.kubeflow.serving.inference.response": Side.RESPONSE,
    "io.seldon.serving.inference.request": Side.REQUEST,
    "io.seldon.serving.inference.response": Side.RESPONSE,
}


class EventQuery(BaseModel):
    """Whose calls these are, where the events do not say it."""

    model_config = ConfigDict(extra="forbid")

    model_id: ModelId | None = Field(default=None, description="Default: the name of the inference service.")
    version: VersionName | None = Field(default=None, description="Default: the version with most traffic.")


_EXAMPLE = {
    "specversion": "1.0",
    "id": "0b5e",
    "type": "org.kubeflow.serving.inference.request",
    "source": "http://localhost:9081/",
    "time": "2026-11-23T08:00:00Z",
    "inferenceservicename": "fraud",
    "data": {"instances": [[12.5, "DE"]]},
}
_EVENT = {
    "type": "object",
    "required": ["id", "type"],
    "properties": {"id": {"type": "string"}, "type": {"enum": list(_SIDES)}, "data": {}},
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The data of an event whose attributes are in ce- headers, or whole events.",
        "content": {
            JSON: {"schema": {"type": "object"}},
            STRUCTURED: {"schema": _EVENT, "example": _EXAMPLE},
            BATCHED: {"schema": {"type": "array", "items": _EVENT}},
        },
    }
}
_ANSWER = {"accepted": 0, "duplicates": 0, "waiting": 1, "not_sampled": 0, "dead_lettered": []}


@router.post(
    "/cloudevents",
    status_code=202,
    summary="Send logged calls of KServe or Seldon",
    response_class=Response,
    openapi_extra=_BODY,
    responses={
        202: {
            "description": "Durable: predictions of pairs, and halves that wait for the other one.",
            "content": {"application/json": {"example": _ANSWER}},
        },
        **describe_problems(
            "not-found", "no-schema", "invalid-request", "body-too-large", "unsupported-media-type"
        ),
    },
)
def receive(
    request: Request,
    body: WholeBody,
    query: Annotated[EventQuery, Query()],
    database: OpenDatabase,
    log: OpenLog,
    settings: AppSettings,
    destinations: KnownDestinations,
) -> Response:
    """Take requests and responses in, in any order; a pair with the same id becomes predictions.

    One prediction in N is kept, by the hash of its id, before anything is stored. A half waits an hour.
    """
    body = unpack_body(request, body, settings)
    latest = read_clock() + settings.max_future_s * MICROSECONDS
    named = Named(query.model_id, query.version)
    headers = dict(request.headers)
    key = None
    try:
        events = read_events(headers, body)
        if len(events) == 1:
            key = _name_event(events[0])
        arrivals, letters = _sort(database, destinations, events, named, latest)
    except (InvalidInput, NotFound, Refusal) as error:
        refusal = Refusal("not-found", str(error), field="model_id") if isinstance(error, NotFound) else error
        keep_body(database, body, named, refusal, key, topic=CLOUD_EVENTS, headers=_keep_attributes(headers))
        raise refusal from error
    outcome = _take_in(database, log, destinations, arrivals, letters, latest)
    meters: Meters = request.app.state.meters
    meters.count_events(
        accepted=outcome.accepted,
        duplicates=outcome.duplicates,
        not_sampled=outcome.not_sampled,
        dead_lettered=sum(letter.refused.rows for letter in (*letters, *outcome.letters)),
    )
    content = {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        "waiting": outcome.waiting,
        "not_sampled": outcome.not_sampled,
        **list_letters(sorted([*letters, *outcome.letters], key=lambda letter: letter.index)),
    }
    return Response(msgspec.json.encode(content), status_code=202, media_type=JSON)


def _take_in(
    database: Database,
    log: Log,
    destinations: Destinations,
    arrivals: Sequence[Arrival],
    letters: Sequence[Letter],
    latest: int,
) -> EventOutcome:
    """Take in what is kept; of what is not, the database hears nothing."""
    possible = [arrival for arrival in arrivals if arrival.may_be_kept]
    dropped = sum(count_not_sampled(arrival) for arrival in arrivals if not arrival.may_be_kept)
    if not possible and not letters:
        return EventOutcome(0, 0, 0, dropped, ())
    with database.transaction() as conn:
        add_dead_letters(conn, [letter.refused for letter in letters])
        outcome = take_in_events(
            conn, log, possible, partial(destinations.find, lambda: nullcontext(conn)), latest
        )
    return replace(outcome, not_sampled=outcome.not_sampled + dropped)


def _sort(
    database: Database, destinations: Destinations, events: Sequence[CloudEvent], named: Named, latest: int
) -> tuple[list[Arrival], list[Letter]]:
    """Tell events that can be used from others; that the only one cannot be is raised."""
    arrivals: list[Arrival] = []
    letters: list[Letter] = []
    for index, event in enumerate(events):
        try:
            arrivals.append(_receive_half(database, destinations, index, event, named, latest))
        except (NotFound, Refusal) as error:
            if len(events) == 1:
                raise
            letters.append(Letter(index, _refuse_event(event, error)))
    return arrivals, letters


def _receive_half(
    database: Database, destinations: Destinations, index: int, event: CloudEvent, named: Named, latest: int
) -> Arrival:
    side = _SIDES.get(event.attributes["type"])
    if side is None:
        raise Refusal(
            "invalid-request",
            f"events of type {event.attributes['type'][:100]!r} are not read, only {', '.join(_SIDES)}",
            field="ce-type",
        )
    model_id = named.model_id or event.attributes.get("inferenceservicename", "")
    try:
        check_name(model_id, "the model (ce-inferenceservicename, or ?model_id=)")
    except ValueError as error:
        raise Refusal("invalid-request", str(error), field="ce-inferenceservicename") from None
    event_id = _pair_id(event)
    if problem := id_problem(event_id):
        raise Refusal("invalid-request", problem[1].replace("prediction_id", "ce-id"), field="ce-id")
    micros = read_clock()
    if time := event.attributes.get("time"):
        micros, problem = read_time(time, latest, field="ce-time")
        if problem is not None:
            raise Refusal("invalid-request", problem[1], field="ce-time")
    destination = destinations.find(database.transaction, model_id, named.version)
    version = destination.to.version.model_version
    half = Half(model_id, version, event_id, side, destination.n, micros, event.data)
    return arrive(index, half, destination)


def _pair_id(event: CloudEvent) -> str:
    """Give what request and response have in common: Seldon's events have ids of their own beside it."""
    return event.attributes.get("requestid") or event.attributes["id"]


def _name_event(event: CloudEvent) -> str:
    """Name an event, so that it is kept once however often a broker sends it."""
    return "event/" + digest_of(f"{_pair_id(event)}/{event.attributes['type']}".encode()).hex()


def _refuse_event(event: CloudEvent, error: NotFound | Refusal) -> Refused:
    refusal = error if isinstance(error, Refusal) else Refusal("not-found", str(error))
    attributes = {f"ce-{name}": value for name, value in event.attributes.items()}
    return Refused(
        CLOUD_EVENTS,
        reason_code_of(refusal),
        str(refusal.detail),
        event.data,
        event.attributes.get("inferenceservicename"),
        None,
        _pair_id(event),
        headers=attributes,
    )


def _keep_attributes(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name == "content-type" or name.startswith("ce-")}

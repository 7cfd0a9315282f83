"""Is it up, is it ready, how is it doing: for orchestrators and Prometheus."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from prometheus_client.exposition import choose_encoder
from psycopg import OperationalError

from driftline.api.context import OpenDatabase, OpenLog
from driftline.api.meters import CONNECT_S, Meters
from driftline.api.moments import read_clock
from driftline.api.problem import Refusal, describe_problems
from driftline.core.window import MICROSECONDS
from driftline.log.errors import LogError
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.store.clocks import read_partition_clocks, read_relay_clocks
from driftline.store.migrate import check_migrated

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process up?", response_description="It is")
async def check_health() -> dict[str, str]:
    """Answer 200 as long as the process answers at all."""
    return {"status": "up"}


@router.get(
    "/readyz",
    summary="Can it take requests?",
    response_description="It can",
    responses=describe_problems("unavailable"),
)
def check_readiness(database: OpenDatabase, log: OpenLog) -> dict[str, Any]:
    """Answer 200 when the database answers and has the tables and the log that this version needs.

    `profiler_seconds_behind` is the age of the moment up to which all samples have been counted, null when no
    profiler has ever run; `sampler_seconds_behind` likewise of what is logged to be sampled, and
    `joiner_seconds_behind` of labels. They do not decide: what is accepted waits in the log, and nothing is lost.
    """
    try:
        with database.pool.connection(timeout=CONNECT_S) as conn:
            check_migrated(conn)
            sampled = [clock.append_time for clock in read_relay_clocks(conn, PREDICTION_LOGS).values() if clock]
            counted = list(read_partition_clocks(conn, PREDICTION_SAMPLES).values())
            joined = list(read_partition_clocks(conn, LABELS).values())
        partitions = log.count_partitions(PREDICTION_SAMPLES)
    except OperationalError as error:
        raise Refusal(
            "unavailable",
            "the database cannot be reached; check it, and DATABASE_URL",
            headers={"Retry-After": "5"},
        ) from error
    except LogError as error:
        raise Refusal("unavailable", str(error), headers={"Retry-After": "5"}) from error
    if not partitions:
        raise Refusal(
            "unavailable", f"the log has no topic {PREDICTION_SAMPLES!r}; start driftline again, which makes it"
        )
    return {
        "status": "ready",
        "database": "ok",
        "migrations": "ok",
        "log_partitions": partitions,
        "sampler_seconds_behind": _measure_age(sampled),
        "profiler_seconds_behind": _measure_age(counted),
        "joiner_seconds_behind": _measure_age(joined),
    }


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_description="The metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def show_metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """Give the metrics in the format that Prometheus asks for."""
    meters: Meters = request.app.state.meters
    encode, content_type = choose_encoder(accept)
    return Response(encode(meters.registry), headers={"Content-Type": content_type})


def _measure_age(clocks: Sequence[int]) -> float | None:
    return round((read_clock() - min(clocks)) / MICROSECONDS, 3) if clocks else None

"""How a model's labels are doing: how many have come, how long they take, what is still awaited."""

from typing import Any

import msgspec
import numpy as np
from fastapi import APIRouter, Response
from psycopg import Connection

from driftline.api.context import OpenDatabase
from driftline.api.moments import read_clock
from driftline.api.names import ModelIdInPath
from driftline.api.numbers import shorten_number
from driftline.api.problem import describe_problems
from driftline.core.maturity import DelayCurve, DelayStatus, label_coverage
from driftline.core.moment import format_time
from driftline.core.window import MICROSECONDS
from driftline.store.label_counts import read_counts
from driftline.store.models import Model, get_model
from driftline.store.performance_windows import count_predictions
from driftline.store.sampling import label_delay_of
from driftline.store.traffic import busiest_version
from driftline.workers.catalog import Catalog
from driftline.workers.measuring import read_curve, read_time

router = APIRouter(tags=["labels"])

_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_EXAMPLE = {
    "model_id": "fraud",
    "max_label_delay_s": 2_592_000,
    "label_on_expiry": 0,
    "predictions": {"kept": 91_200, "labeled": 61_350, "pending": 28_800, "expired": 1_050},
    "coverage": 0.672,
    "labels": {"joined": 61_350, "corrected": 17, "unmatched": 204, "late": 3},
    "delays": {
        "status": "ok",
        "horizon_s": 2_592_000,
        "until": [{"share": 0.5, "delay_s": 259_200}],
    },
    "oldest_window": "2026-10-20T00:00:00Z",
    "newest_window": "2026-11-23T07:45:00Z",
}


@router.get(
    "/models/{model_id}/labels/status",
    summary="Labels and how long they take",
    response_description="Counts and the delay curve",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"example": _EXAMPLE}}},
        **describe_problems("not-found"),
    },
)
def show_label_status(model_id: ModelIdInPath, database: OpenDatabase) -> Response:
    """Tell of the sampled predictions that are kept how many have a label, still may get one, or will not.

    `coverage` is the share, by sampling weight, that has one. `labels` counts what became of each label that came.
    `delays` says how long labels take, from a prediction until its label is known: after `delay_s` a `share` of
    those that ever come is there. Its status says why it is not known: `too_few` labels, or `too_young`, when the
    oldest predictions still get them.
    """
    with database.transaction() as conn:
        content = _describe(conn, get_model(conn, model_id), read_clock())
    return Response(msgspec.json.encode(content), media_type="application/json")


def _describe(conn: Connection, model: Model, now: int) -> dict[str, Any]:
    counts = count_predictions(conn, model.model_id)
    labels = read_counts(conn, model.model_id)
    return {
        "model_id": model.model_id,
        "max_label_delay_s": label_delay_of(model.settings) // MICROSECONDS,
        "label_on_expiry": model.settings.get("label_on_expiry"),
        "predictions": {
            "kept": counts.kept,
            "labeled": counts.labeled,
            "pending": counts.pending,
            "expired": counts.expired,
        },
        "coverage": shorten_number(label_coverage(counts.labeled_weight, counts.weight)),
        "labels": msgspec.to_builtins(labels),
        "delays": _describe_curve(read_curve(conn, model, _read_time(conn, model, now))),
        "oldest_window": None if counts.oldest is None else format_time(counts.oldest),
        "newest_window": None if counts.newest is None else format_time(counts.newest),
    }


def _read_time(conn: Connection, model: Model, now: int) -> int:
    name = busiest_version(conn, model.model_id)
    version = None if name is None else Catalog().find_version(conn, model.model_id, name)
    return now if version is None else read_time(conn, version, now)


def _describe_curve(curve: DelayCurve) -> dict[str, Any]:
    until = []
    if curve.status is DelayStatus.OK:
        shares = np.append(curve.shares[:-1], 1.0)
        places = np.searchsorted(shares, _SHARES)
        until = [
            {"share": share, "delay_s": round(int(curve.delays[place]) / MICROSECONDS)}
            for share, place in zip(_SHARES, places, strict=True)
        ]
    return {"status": curve.status, "horizon_s": curve.horizon // MICROSECONDS, "until": until}

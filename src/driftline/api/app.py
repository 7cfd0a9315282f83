"""The app: routers, limits and errors put together."""

from fastapi import FastAPI

from driftline import __version__
from driftline.api import (
    actions,
    alert_rules,
    alerts,
    approvals,
    audit,
    callbacks,
    cloud_events,
    dead_letters,
    distribution,
    docs,
    drift,
    health,
    incidents,
    label_status,
    labels,
    models,
    performance,
    predictions,
    references,
    silences,
    summary,
    version_settings,
)
from driftline.api.body import LimitBody
from driftline.api.destinations import Destinations
from driftline.api.meters import make_meters
from driftline.api.observe import Observe
from driftline.api.problem import answer_problems, describe_problems
from driftline.api.schemas import Schemas
from driftline.api.weights import SeenWeights
from driftline.log.log import Log
from driftline.settings import Settings
from driftline.store.database import Database

_TAGS = [
    {"name": "models", "description": "What is watched: models, their versions, their references."},
    {"name": "predictions", "description": "What the models see and say, as it happens."},
    {"name": "labels", "description": "What came true, sooner or later."},
    {"name": "drift", "description": "How far each window lies from the reference, feature by feature."},
    {"name": "performance", "description": "How good the predictions were, by the labels and before they come."},
    {"name": "alert rules", "description": "Which numbers are wrong when, for how long, and whom that concerns."},
    {
        "name": "alerts",
        "description": "What the rules have fired, by incident; who was told, who is on it.",
    },
    {"name": "audit", "description": "Who did what."},
    {"name": "dead letters", "description": "What could not be used, and why; sent again once that has changed."},
    {"name": "actions", "description": "What alerts have done: proposed, approved, started, followed to the end."},
    {"name": "health", "description": "For orchestrators and Prometheus."},
]


def create_app(database: Database, log: Log, settings: Settings) -> FastAPI:
    """Make the app on an open database and log, which stay the caller's to close. Raises UnknownTopic."""
    log.prepare(settings.log_partitions)
    app = FastAPI(
        title="driftline",
        version=__version__,
        summary="Watches machine-learning models in production.",
        description="Every error is a problem document (RFC 9457) whose `detail` says what to change.",
        openapi_tags=_TAGS,
        docs_url=None,  # these pages load scripts from other people's servers; see docs.py
        redoc_url=None,
        responses=describe_problems("invalid-request", "unavailable"),
    )
    app.state.database = database
    app.state.log = log
    app.state.settings = settings
    app.state.approval_key = None  # read, or made, when somebody asks for it
    app.state.schemas = Schemas()
    app.state.weights = SeenWeights()
    app.state.destinations = Destinations(app.state.schemas)
    app.state.meters = make_meters(database, log)
    for router in (
        models.router,
        references.router,
        version_settings.router,
        predictions.router,
        cloud_events.router,
        dead_letters.router,
        labels.router,
        label_status.router,
        drift.router,
        summary.router,
        performance.router,
        distribution.router,
        alert_rules.router,
        alerts.router,
        incidents.router,
        silences.router,
        audit.router,
        actions.router,
        approvals.router,
        callbacks.router,
        health.router,
        docs.router,
    ):
        app.include_router(router)
    answer_problems(app)
    app.add_middleware(LimitBody, settings=settings)
    app.add_middleware(Observe, meters=app.state.meters)
    return app

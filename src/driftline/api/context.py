"""What endpoints are given: the database, the log, the settings, and what their app knows already."""

from typing import Annotated

from fastapi import Depends, Request

from driftline.api.destinations import Destinations
from driftline.api.schemas import Schemas
from driftline.api.weights import SeenWeights
from driftline.log.log import Log
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.workers.approval_key import read_approval_key


async def _give_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _give_log(request: Request) -> Log:
    log: Log = request.app.state.log
    return log


async def _give_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _give_schemas(request: Request) -> Schemas:
    schemas: Schemas = request.app.state.schemas
    return schemas


async def _give_weights(request: Request) -> SeenWeights:
    seen: SeenWeights = request.app.state.weights
    return seen


async def _give_destinations(request: Request) -> Destinations:
    destinations: Destinations = request.app.state.destinations
    return destinations


def _give_approval_key(request: Request) -> bytes:
    state = request.app.state
    if state.approval_key is None:
        state.approval_key = read_approval_key(state.settings)
    key: bytes = state.approval_key
    return key


OpenDatabase = Annotated[Database, Depends(_give_database)]
OpenLog = Annotated[Log, Depends(_give_log)]
AppSettings = Annotated[Settings, Depends(_give_settings)]
KnownSchemas = Annotated[Schemas, Depends(_give_schemas)]
KnownWeights = Annotated[SeenWeights, Depends(_give_weights)]
ApprovalKey = Annotated[bytes, Depends(_give_approval_key)]
KnownDestinations = Annotated[Destinations, Depends(_give_destinations)]

"""How far a run is, as its provider says."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a provider says of a run."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a provider said of a run; `external_id` is what it calls the run, `detail` has no credentials."""

    state: State
    external_id: str = ""
    detail: str = ""

"""One action of the settings: what it is for, what it is allowed, and who does it."""

from dataclasses import dataclass
from enum import StrEnum

from driftline.actions.command import Command
from driftline.actions.fallback_flag import FallbackFlag
from driftline.actions.webhook import Webhook
from driftline.core.guard_rails import Policy

Provider = Webhook | Command | FallbackFlag


class Purpose(StrEnum):
    """What an action is for."""

    RETRAIN = "retrain"  # it ends with a new version
    FALLBACK = "fallback"  # it lasts while the alerts fire
    TELL = "tell"  # it is done once somebody has taken it


@dataclass(frozen=True, slots=True)
class Action:
    """An action: `name` is what rules call it. `time_out` is how long a run may take, microseconds."""

    name: str
    purpose: Purpose
    policy: Policy
    provider: Provider
    time_out: int

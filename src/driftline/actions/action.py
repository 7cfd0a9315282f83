"""One action of the settings: what it is for, what it is allowed, and who does it."""

from dataclasses import dataclass
from enum import StrEnum

from driftline.actions.airflow import Airflow
from driftline.actions.argo import Argo
from driftline.actions.command import Command
from driftline.actions.fallback_flag import FallbackFlag
from driftline.actions.github import Github
from driftline.actions.kserve import Kserve
from driftline.actions.kubeflow import Kubeflow
from driftline.actions.webhook import Webhook
from driftline.core.guard_rails import Policy
from driftline.notify.jira import Jira

Provider = Webhook | Command | FallbackFlag | Jira | Kserve | Airflow | Github | Kubeflow | Argo


class Purpose(StrEnum):
    """What an action is for."""

    RETRAIN = "retrain"  # it ends with a new version
    FALLBACK = "fallback"  # it lasts while the alerts fire
    TELL = "tell"  # it is done once somebody has taken it


@dataclass(frozen=True, slots=True)
class Action:
    """An action: `name` is what rules call it. `time_out` is how long a run may take, microseconds.

    `ca_file` has the certificates that its provider is trusted by; "" means the usual ones.
    """

    name: str
    purpose: Purpose
    policy: Policy
    provider: Provider
    time_out: int
    ca_file: str = ""

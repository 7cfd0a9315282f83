"""KServe: traffic of an InferenceService, by a merge patch of `canaryTrafficPercent` at the Kubernetes API.

With 0 all traffic goes to the revision before the newest one; ending the fallback gives the newest what it had, or
`percent_after`. https://kserve.github.io/website/docs/model-serving/predictive-inference/rollout-strategies/canary
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.notify.call import call, encode
from driftline.notify.secret import Secret

_MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Kserve:
    """An InferenceService, and how much of its traffic the newest revision gets during a fallback and after it."""

    url: str  # of the Kubernetes API server
    namespace: str
    service: str
    token: Secret
    percent: int = 0
    percent_after: int = 100


def payload(percent: int, run_id: str) -> dict[str, Any]:
    """Make the patch. Patching again what is so already changes nothing.

    >>> payload(0, "r1")["spec"]
    {'predictor': {'canaryTrafficPercent': 0}}
    """
    return {
        "metadata": {"annotations": {"driftline.io/run": run_id}},
        "spec": {"predictor": {"canaryTrafficPercent": percent}},
    }


def start(client: httpx.Client, kserve: Kserve, request: Request) -> Progress:
    """Send the traffic to the revision before. Raises Undelivered."""
    _patch(client, kserve, request, kserve.percent)
    return Progress(
        State.RUNNING, f"{kserve.namespace}/{kserve.service}", f"{kserve.percent} % to the newest revision"
    )


def end(client: httpx.Client, kserve: Kserve, request: Request) -> None:
    """Send the traffic back. Raises Undelivered."""
    _patch(client, kserve, request, kserve.percent_after)


def _patch(client: httpx.Client, kserve: Kserve, request: Request, percent: int) -> None:
    path = f"namespaces/{quote(kserve.namespace, safe='')}/inferenceservices/{quote(kserve.service, safe='')}"
    call(
        client,
        "PATCH",
        f"{kserve.url.rstrip('/')}/apis/serving.kserve.io/v1beta1/{path}?fieldManager=driftline",
        body=encode(payload(percent, request.run_id)),
        headers={"Authorization": f"Bearer {kserve.token.reveal()}", "Content-Type": _MERGE},
        secrets=[kserve.token, request.token],
    )

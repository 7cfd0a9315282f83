"""What a provider is asked, as action.schema.json describes it: the same in every attempt to start a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from driftline.notify.call import encode
from driftline.notify.secret import Secret

SCHEMA = "urn:driftline:action:1"


class Phase(StrEnum):
    """What is asked."""

    START = "start"
    END = "end"  # of what lasts while the alerts fire: send traffic back


@dataclass(frozen=True, slots=True)
class Request:
    """A run to start, follow or end.

    `content` is everything but the token with which the run's outcome may be reported, which is never stored;
    `external_id` is what the provider called the run, "" before it has been started.
    """

    run_id: str
    content: Mapping[str, Any]
    token: Secret
    external_id: str = ""

    @property
    def model_id(self) -> str:
        """The model."""
        return str(self.content.get("model_id", ""))

    def write(self, phase: Phase = Phase.START) -> dict[str, Any]:
        """Give the whole content.

        >>> request = Request("r1", {"model_id": "fraud", "callback": {"url": "/actions"}}, Secret("t0ken"))
        >>> request.write()["callback"], request.write()["phase"]
        ({'url': '/actions', 'token': 't0ken'}, 'start')
        """
        callback = {**self.content.get("callback", {}), "token": self.token.reveal()}
        return {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "phase": str(phase),
            **self.content,
            "callback": callback,
        }

    def encode(self, phase: Phase = Phase.START) -> bytes:
        """Give the content as JSON."""
        return encode(self.write(phase))

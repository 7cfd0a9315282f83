"""What the table of every destination may say, whatever its type: which notices it takes, and when."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from driftline.core.routing import Route, check_time_zone, read_quiet_hours, read_span
from driftline.core.rules import Severity


def _check_span(text: str) -> str:
    read_span(text, "it")
    return text


Span = Annotated[str, AfterValidator(_check_span)]
"""Such as 30m, 4h or 1d, or never."""


class Routed(BaseModel):
    """The fields of all types; a subclass for each adds its own. TAKES are the severities it takes by default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    TAKES: ClassVar[frozenset[Severity]] = frozenset(Severity)

    type: str
    severities: frozenset[Severity] | None = Field(None, min_length=1)
    teams: frozenset[Annotated[str, Field(min_length=1)]] = frozenset()
    quiet_hours: str | None = None
    time_zone: str = "UTC"
    holds_critical: bool = False
    repeat_interval: Span = "4h"
    escalate_after: Span = "30m"

    @field_validator("quiet_hours")
    @classmethod
    def _check_quiet_hours(cls, text: str | None) -> str | None:
        if text is not None:
            read_quiet_hours(text)
        return text

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, name: str) -> str:
        check_time_zone(name)
        return name

    def route(self, name: str) -> Route:
        """Give what the destination of this name takes."""
        return Route(
            name,
            severities=self.TAKES if self.severities is None else self.severities,
            teams=self.teams,
            quiet_hours=None if self.quiet_hours is None else read_quiet_hours(self.quiet_hours, self.time_zone),
            holds_critical=self.holds_critical,
            repeat_interval=read_span(self.repeat_interval, "repeat_interval"),
            escalate_after=read_span(self.escalate_after, "escalate_after"),
        )

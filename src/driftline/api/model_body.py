"""What is sent about models, as pydantic reads it."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from driftline.api.names import ModelId, VersionName
from driftline.core.sampling import MAX_N
from driftline.core.schema import Feature, Kind, Schema, Task
from driftline.core.system_rules import SYSTEM_MODEL
from driftline.core.window import format_length, parse_length
from driftline.store.sampling import MAX_LABEL_DELAY_S


def _check_text(text: str) -> str:
    if "\x00" in text:
        raise ValueError("there is a NUL character in it; remove it")
    return text


def _check_window(text: str) -> str:
    return format_length(parse_length(text))


def _check_free(model_id: str) -> str:
    if model_id == SYSTEM_MODEL:
        raise ValueError(f"model_id {model_id!r} stands for driftline itself; choose another one")
    return model_id


Text = Annotated[str, Field(max_length=256), AfterValidator(_check_text)]
RuleId = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_check_text)]
Author = Annotated[
    str,
    Field(
        min_length=1, max_length=128, description="Who does it, for the audit trail; driftline takes their word."
    ),
    AfterValidator(_check_text),
]
Comment = Annotated[str, Field(max_length=2_000), AfterValidator(_check_text)]
_EXAMPLE_SCHEMA = Schema(
    (Feature("amount", Kind.NUMERIC, unit="EUR"), Feature("country", Kind.CATEGORICAL)),
    Task.BINARY,
    segments=("country",),
).to_dict()
_SCHEMA_SHAPE = {
    "type": "object",
    "description": "What the version sees. Left out, it is inferred from the reference when that arrives.",
    "properties": {
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "kind"],
                "properties": {
                    "name": {"type": "string"},
                    "kind": {"enum": [str(kind) for kind in Kind]},
                    "dtype": {"enum": ["float32", "float64", "category"]},
                    "unit": {"type": "string"},
                    "description": {"type": "string"},
                    "source": {"type": "string"},
                },
            },
        },
        "segments": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "join_key": {"enum": ["prediction_id", "entity_id"]},
    },
    "examples": [_EXAMPLE_SCHEMA],
}


class ModelSettings(BaseModel):
    """What a model may have otherwise than the defaults; null is the default."""

    model_config = ConfigDict(extra="forbid")

    expected_rows: int | None = Field(
        default=None, ge=1, le=10**12, description="Rows that a window brings; it decides how many bins PSI has."
    )
    reference_kinds: list[Literal["training", "rolling", "seasonal"]] | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        description="What windows are compared with: training data, the windows before, the same hour last weeks.",
    )
    allowed_lateness_s: int | None = Field(
        default=None, ge=0, le=86_400, description="How long a window waits for events."
    )
    idle_close_s: int | None = Field(
        default=None, ge=1, le=604_800, description="After how long a silence windows close without newer events."
    )
    sampling_n: int | None = Field(
        default=None, ge=1, le=MAX_N, description="One prediction in so many is kept; by default it adapts."
    )
    fallback_active: bool | None = Field(
        default=None, description="Whether inference services are to answer with their fallback model."
    )
    max_label_delay_s: int | None = Field(
        default=None, ge=1, le=MAX_LABEL_DELAY_S, description="How long after its prediction a label may come."
    )
    label_on_expiry: bool | int | float | Text | None = Field(
        default=None,
        description="What a prediction without a label counts as once max_label_delay_s is over, such as 0 for "
        "payments that nobody disputes; by default as unlabelled.",
    )
    join_tolerance_s: int | None = Field(
        default=None,
        ge=0,
        le=MAX_LABEL_DELAY_S,
        description="How long before its timestamp the prediction of an entity's label may have been made.",
    )
    positive_class: Text | None = Field(
        default=None,
        description="Which of two classes the score is the probability of; by default that of the first reference "
        "with labels, else the last one.",
    )


class StartingRules(BaseModel):
    """Which alert rules a new model starts with; read when the model is made, and changed as rules afterwards."""

    model_config = ConfigDict(extra="forbid")

    preset: Literal["quiet", "default", "sensitive", "none"] = Field(
        default="default", description="How easily they fire; docs/alerts.md lists the rules of each."
    )
    features: list[Text] = Field(
        default=[], max_length=100, description="Inputs to watch by themselves, beside the model as a whole."
    )


class NewVersion(BaseModel):
    """A model version to register. The model is made with its first version."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "model_id": "fraud",
                    "version": "3",
                    "task": "binary",
                    "window": "15m",
                    "owner": "payments-ml",
                    "team": "payments",
                    "schema": {
                        "features": [
                            {"name": "amount", "kind": "numeric", "unit": "EUR"},
                            {"name": "country", "kind": "categorical"},
                        ],
                        "segments": ["country"],
                        "join_key": "prediction_id",
                    },
                }
            ]
        },
    )

    model_id: Annotated[ModelId, AfterValidator(_check_free)]
    version: VersionName
    task: Task | None = Field(default=None, description="What it predicts; classes are monitored as categories.")
    window: Annotated[str, AfterValidator(_check_window)] = Field(
        default="1h", description="Length of a window, a divisor of a day: 15m, 1h, 6h, 1d."
    )
    owner: Text | None = None
    team: Text | None = None
    time_zone: Text = Field("UTC", description="The IANA zone in which days begin.")
    schema_: Annotated[dict[str, Any] | None, WithJsonSchema(_SCHEMA_SHAPE)] = Field(default=None, alias="schema")
    settings: ModelSettings = ModelSettings()
    alerts: StartingRules = StartingRules()


class ModelChange(BaseModel):
    """What can be changed of a model. A setting set to null is the default again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"owner": "risk-ml"}]})

    owner: Text | None = None
    team: Text | None = None
    settings: ModelSettings = ModelSettings()

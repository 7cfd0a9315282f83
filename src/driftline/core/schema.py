"""What a model version sees and says: its columns, their kinds, and how they travel.

A schema belongs to one version and never changes; `schema_id` is the digest of its content.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from driftline.core.category import mend_text
from driftline.core.errors import InvalidSchema

PREDICTION = "__prediction__"
SCORE = "__score__"
LABEL = "label"
MAX_FEATURES = 10_000
MAX_SEGMENTS = 5
MAX_NAME = 256
MAX_TEXT = 1_000

_E = TypeVar("_E", bound=StrEnum)


class Kind(StrEnum):
    """What a feature's values mean."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"


class Dtype(StrEnum):
    """How a feature's values travel: in one of the packed float blocks or as category codes."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    CATEGORY = "category"


class Task(StrEnum):
    """What the model predicts; it decides the kind of `__prediction__`."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    RANKING = "ranking"


class JoinKey(StrEnum):
    """What a label is joined by."""

    PREDICTION_ID = "prediction_id"
    ENTITY_ID = "entity_id"


_DEFAULT_DTYPE = {
    Kind.NUMERIC: Dtype.FLOAT32,
    Kind.BOOLEAN: Dtype.FLOAT32,
    Kind.DATETIME: Dtype.FLOAT64,
    Kind.CATEGORICAL: Dtype.CATEGORY,
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column of a model.

    `dtype` is how it travels: float32 unless the values need more (large integers, datetimes as
    seconds since the epoch), `category` for categorical features only. `source` names what it comes from, such
    as a table or a feature view: alerts of models that share a source are told together.

    >>> Feature("amount", Kind.NUMERIC, unit="EUR").dtype
    <Dtype.FLOAT32: 'float32'>
    """

    name: str
    kind: Kind
    dtype: Dtype | None = None
    unit: str | None = None
    description: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Fill in the dtype of the kind, and refuse one that cannot hold it; plain texts will do for both."""
        object.__setattr__(self, "kind", _read_enum(Kind, self.kind, f"kind of feature {self.name!r}"))
        dtype = _DEFAULT_DTYPE[self.kind] if self.dtype is None else self.dtype
        object.__setattr__(self, "dtype", _read_enum(Dtype, dtype, f"dtype of feature {self.name!r}"))
        if (self.dtype is Dtype.CATEGORY) != (self.kind is Kind.CATEGORICAL):
            raise InvalidSchema(
                f"feature {self.name!r}: kind {self.kind} cannot travel as {self.dtype}; leave `dtype` out",
                field=self.name,
            )
        for what, text in (("unit", self.unit), ("description", self.description), ("source", self.source)):
            if text is not None and (not isinstance(text, str) or len(text) > MAX_TEXT or mend_text(text) != text):
                raise InvalidSchema(
                    f"feature {self.name!r}: {what} must be text of at most {MAX_TEXT:,} characters, no NUL",
                    field=self.name,
                )
        if self.kind is Kind.DATETIME and self.dtype is not Dtype.FLOAT64:
            raise InvalidSchema(
                f"feature {self.name!r}: a datetime needs dtype float64; leave `dtype` out", field=self.name
            )


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of one model version.

    `prediction`, `score`, `timestamp` and `entity_id` name columns of *frames* (training data, exports);
    in events they have fields of their own. A column that a frame does not have is simply not profiled.
    `label` names the column of training data that says what came true.
    `segments` are columns by which windows are also profiled separately: categorical features, or further
    string columns that are no features.

    >>> schema = Schema((Feature("amount", Kind.NUMERIC), Feature("country", Kind.CATEGORICAL)), Task.BINARY)
    >>> layout(schema).names
    ('amount', '__score__', 'country', '__prediction__')
    """

    features: tuple[Feature, ...]
    task: Task | None = None
    segments: tuple[str, ...] = ()
    join_key: JoinKey = JoinKey.PREDICTION_ID
    time_zone: str = "UTC"
    prediction: str = "prediction"
    score: str = "score"
    timestamp: str = "timestamp"
    entity_id: str = "entity_id"
    label: str = LABEL
    schema_id: str = field(init=False, repr=False)
    """16 hexadecimal digits of the content: equal schemas have equal ids."""

    def __post_init__(self) -> None:
        """Refuse what could not be monitored, naming the field."""
        _check_names(self)
        _check_segments(self)
        _check_label(self)
        if self.time_zone not in _zones():
            raise InvalidSchema(
                f"time_zone {self.time_zone!r} is not an IANA name; write e.g. 'Europe/Berlin'",
                field="time_zone",
            )
        content = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "schema_id", hashlib.blake2b(content.encode(), digest_size=8).hexdigest())

    def __eq__(self, other: object) -> bool:
        """Compare the ids: schemas of 500 features are dictionary keys on hot paths."""
        return self.schema_id == other.schema_id if isinstance(other, Schema) else NotImplemented

    def __hash__(self) -> int:
        """Hash the id: the same in every process."""
        return int(self.schema_id, 16)

    @property
    def prediction_kind(self) -> Kind:
        """Classes are categories; every other prediction is a number."""
        return Kind.CATEGORICAL if self.task in (Task.BINARY, Task.MULTICLASS) else Kind.NUMERIC

    @property
    def label_column(self) -> str | None:
        """The column of labels in a frame; None where a column of that name is something else."""
        others = {self.prediction, self.score, self.timestamp, self.entity_id, *self.segments}
        is_taken = self.label in others or any(feature.name == self.label for feature in self.features)
        return None if is_taken else self.label

    def feature(self, name: str) -> Feature:
        """Find a feature by name; KeyError when there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, without fields that say nothing."""
        return {
            "features": [
                {key: value for key in _FEATURE_KEYS if (value := getattr(feature, key)) is not None}
                for feature in self.features
            ],
            "task": self.task,
            "segments": list(self.segments),
            "join_key": self.join_key,
            "time_zone": self.time_zone,
            "prediction": self.prediction,
            "score": self.score,
            "timestamp": self.timestamp,
            "entity_id": self.entity_id,
            **({} if self.label == LABEL else {"label": self.label}),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Schema":
        """Read the JSON form; InvalidSchema names the field that does not fit.

        >>> Schema.from_dict({"features": [{"name": "x", "kind": "number"}]})
        Traceback (most recent call last):
        ...
        driftline.core.errors.InvalidSchema: features[0].kind is 'number'; use numeric, categorical, \
boolean or datetime
        """
        known = {"features", *_SCALAR_KEYS, "task", "join_key", "segments"}
        if unknown := sorted(set(content) - known):
            raise InvalidSchema(
                f"schema has no field {unknown[0]!r}; it has {', '.join(sorted(known))}", field=unknown[0]
            )
        features = content.get("features", [])
        if not isinstance(features, list | tuple):
            raise InvalidSchema("features must be a list of {name, kind}", field="features")
        segments = content.get("segments", ())
        if not isinstance(segments, list | tuple) or not all(isinstance(name, str) for name in segments):
            raise InvalidSchema("segments must be a list of column names", field="segments")
        task = content.get("task")
        return cls(
            features=tuple(_read_feature(f"features[{i}]", entry) for i, entry in enumerate(features)),
            task=None if task is None else _read_enum(Task, task, "task"),
            segments=tuple(segments),
            join_key=_read_enum(JoinKey, content.get("join_key", "prediction_id"), "join_key"),
            **{key: _read_text(content[key], key) for key in _SCALAR_KEYS if key in content},
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each column of a schema lies in the packed blocks, and in a profile.

    A profile's features are the float32 columns, then the float64 columns, then the categories: `names`.
    `segments` are the extra category columns that are no features; they follow in the code block and are
    not profiled.
    """

    float32: tuple[str, ...]
    float64: tuple[str, ...]
    categories: tuple[str, ...]
    segments: tuple[str, ...]
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    index: Mapping[str, int]

    @property
    def codes(self) -> tuple[str, ...]:
        """Columns of the code block: profiled categories, then segment columns that are no features."""
        return self.categories + self.segments


@lru_cache(maxsize=4096)
def layout(schema: Schema) -> Layout:
    """Lay out the columns of a schema; `__prediction__` and `__score__` are monitored like features."""
    of_dtype = {
        dtype: tuple(feature.name for feature in schema.features if feature.dtype is dtype) for dtype in Dtype
    }
    numeric_prediction = schema.prediction_kind is Kind.NUMERIC
    float64 = of_dtype[Dtype.FLOAT64] + ((PREDICTION,) if numeric_prediction else ()) + (SCORE,)
    categories = of_dtype[Dtype.CATEGORY] + (() if numeric_prediction else (PREDICTION,))
    names = of_dtype[Dtype.FLOAT32] + float64 + categories
    kind_of = {feature.name: feature.kind for feature in schema.features}
    kind_of |= {PREDICTION: schema.prediction_kind, SCORE: Kind.NUMERIC}
    return Layout(
        float32=of_dtype[Dtype.FLOAT32],
        float64=float64,
        categories=categories,
        segments=tuple(name for name in schema.segments if name not in kind_of),
        names=names,
        kinds=tuple(kind_of[name] for name in names),
        index={name: position for position, name in enumerate(names)},
    )


_FEATURE_KEYS = ("name", "kind", "dtype", "unit", "description", "source")
_SCALAR_KEYS = ("time_zone", "prediction", "score", "timestamp", "entity_id", "label")


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415  reads the disk: only when a zone is named

    return frozenset(available_timezones())


def zone(schema: Schema) -> ZoneInfo:
    """Give the model's time zone, in which its days begin."""
    return ZoneInfo(schema.time_zone)


def _check_names(schema: Schema) -> None:
    if len(schema.features) > MAX_FEATURES:
        raise InvalidSchema(
            f"there are {len(schema.features):,} features, at most {MAX_FEATURES:,} are monitored; leave columns "
            "out of the data, or list the features to watch in a schema",
            field="features",
        )
    names = [feature.name for feature in schema.features]
    for name in names + list(schema.segments):
        if not name or len(name) > MAX_NAME or mend_text(name) != name:
            raise InvalidSchema(f"feature name {name[:40]!r}: use 1 to {MAX_NAME} characters, no NUL", field=name)
        if name.startswith("__"):
            raise InvalidSchema(f"feature name {name!r}: names that begin with __ are reserved", field=name)
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise InvalidSchema(f"feature {twice!r} is there twice; names must be unique", field=twice)


def _check_segments(schema: Schema) -> None:
    if len(schema.segments) > MAX_SEGMENTS or len(set(schema.segments)) < len(schema.segments):
        raise InvalidSchema(f"segments: name at most {MAX_SEGMENTS} different columns", field="segments")
    for feature in schema.features:
        if feature.name in schema.segments and feature.kind is not Kind.CATEGORICAL:
            raise InvalidSchema(
                f"segment {feature.name!r} is {feature.kind}; segments must be categorical features "
                "or columns that are no features",
                field=feature.name,
            )


def _check_label(schema: Schema) -> None:
    if schema.label and schema.label != LABEL and schema.label_column is None:
        raise InvalidSchema(
            f"label {schema.label!r} is a feature, a segment or an output as well; name the column that says what "
            "came true, or leave `label` out",
            field="label",
        )


def _read_feature(path: str, entry: object) -> Feature:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise InvalidSchema(f'{path} must be an object like {{"name": "amount", "kind": "numeric"}}', field=path)
    if unknown := sorted(set(entry) - set(_FEATURE_KEYS)):
        raise InvalidSchema(f"{path} has no field {unknown[0]!r}; it has {', '.join(_FEATURE_KEYS)}", field=path)
    dtype = entry.get("dtype")
    return Feature(
        name=entry["name"],
        kind=_read_enum(Kind, entry.get("kind"), f"{path}.kind"),
        dtype=None if dtype is None else _read_enum(Dtype, dtype, f"{path}.dtype"),
        unit=entry.get("unit"),
        description=entry.get("description"),
        source=entry.get("source"),
    )


def _read_enum(kind: type[_E], value: object, path: str) -> _E:
    try:
        return kind(str(value))
    except ValueError:
        *others, last = kind
        options = f"{', '.join(others)} or {last}"
        raise InvalidSchema(f"{path} is {value!r}; use {options}", field=path) from None


def _read_text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidSchema(f"{path} must be a non-empty string, not {value!r}", field=path)
    if len(value) > MAX_NAME or mend_text(value) != value:
        raise InvalidSchema(f"{path} {value[:40]!r}: use 1 to {MAX_NAME} characters, no NUL", field=path)
    return value

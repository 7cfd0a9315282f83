"""Registering: what makes a model, a version and its schema, and what contradicts one that is there."""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection

from driftline.api.model_body import NewVersion
from driftline.api.problem import Refusal
from driftline.core.errors import InvalidSchema
from driftline.core.rule_presets import Preset, make_preset
from driftline.core.schema import PREDICTION, SCORE, Schema, Task, layout
from driftline.core.window import format_length, parse_length
from driftline.store.alert_rules import add_rules
from driftline.store.errors import NotFound
from driftline.store.models import Model, create_model, get_model, update_model
from driftline.store.traffic import busiest_version, name_versions
from driftline.store.versions import Version, create_version, get_version, set_schema


def find_version(conn: Connection, model_id: str, version: str | None) -> Version:
    """Find a version of a model, by default the one with most traffic. Raises NotFound."""
    name = version or busiest_version(conn, model_id)
    if name is None:
        get_model(conn, model_id)
        raise NotFound(f"model {model_id!r} has no version; register one with POST /models")
    try:
        return get_version(conn, model_id, name)
    except NotFound:
        get_model(conn, model_id)
        known = name_versions(conn, [model_id])[model_id]
        raise NotFound(f"model {model_id!r} has no version {name!r}; it has {', '.join(known[-10:])}") from None


def refuse_schemaless(model_id: str, version: str) -> Refusal:
    """Make the 409 of a version that has no schema yet."""
    return Refusal(
        "no-schema",
        f"version {version!r} of model {model_id!r} has no schema yet; upload its reference, or register the "
        "version with a schema",
        field="version",
    )


def register(conn: Connection, new: NewVersion) -> bool:
    """Make the model, the version and its schema where they are not there yet; False when all were.

    Raises Refusal when the model or the version is there and different, InvalidInput, AlreadyExists when
    another transaction makes the same at this moment.
    """
    try:
        model = get_model(conn, new.model_id)
    except NotFound:
        model = _make_model(conn, new)
        install_rules(conn, model, new)
    else:
        _check_same(model, new)
        if model.task is None and new.task is not None:
            model = update_model(conn, new.model_id, {"task": str(new.task)})
    made = new.version not in name_versions(conn, [new.model_id])[new.model_id]
    if made:
        create_version(conn, new.model_id, new.version, sampling_n=model.settings.get("sampling_n", 1))
    if new.schema_ is not None:
        schema = _read_schema(model, new.schema_)
        known = get_version(conn, new.model_id, new.version, lock=True)
        if known.schema is None:
            register_schema(conn, model, new.version, schema)
            made = True
        elif known.schema_id != schema.schema_id:
            raise Refusal(
                "conflict",
                f"version {new.version!r} of model {new.model_id!r} has another schema "
                f"({describe_difference(Schema.from_dict(known.schema), schema)}); "
                "a schema never changes: register a new version",
                field="schema",
            )
    return made


def _make_model(conn: Connection, new: NewVersion) -> Model:
    inner = new.schema_ or {}
    task, time_zone = new.task or inner.get("task"), new.time_zone
    if "time_zone" not in new.model_fields_set:
        time_zone = inner.get("time_zone", time_zone)
    Schema.from_dict({"task": task, "time_zone": time_zone})
    check_expiry_label(task, new.settings.model_dump())
    return create_model(
        conn,
        new.model_id,
        window_length=parse_length(new.window),
        task=task,
        owner=new.owner,
        team=new.team,
        time_zone=time_zone,
        settings=new.settings.model_dump(exclude_none=True),
    )


def install_rules(conn: Connection, model: Model, new: NewVersion) -> None:
    """Give a new model the alert rules of its preset; rules of their names that are there already stay."""
    if new.alerts.preset == "none":
        return
    outputs: tuple[str, ...] = (PREDICTION, SCORE)
    if new.schema_ is not None:
        names = layout(_read_schema(model, new.schema_)).names
        outputs = tuple(name for name in outputs if name in names)
        if unknown := [name for name in new.alerts.features if name not in names]:
            raise Refusal(
                "invalid-request",
                f"alerts.features: the schema has no feature {unknown[0]!r}; correct its name or leave it out",
                field="alerts.features",
            )
    rules = make_preset(
        Preset(new.alerts.preset),
        model.model_id,
        outputs=outputs,
        features=new.alerts.features,
        task=None if model.task is None else Task(model.task),
    )
    add_rules(conn, rules, "preset")


def check_expiry_label(task: str | None, settings: Mapping[str, Any]) -> None:
    """Refuse a text as label of a model that predicts numbers."""
    label = settings.get("label_on_expiry")
    if isinstance(label, str) and task in (Task.REGRESSION, Task.RANKING):
        raise Refusal(
            "invalid-request",
            f"label_on_expiry is the text {label!r}, but the model predicts numbers; write a number",
            field="settings.label_on_expiry",
        )


def _check_same(model: Model, new: NewVersion) -> None:
    """Refuse to change a model by registering a version of it; what is left out is not asked for."""
    given = {
        "task": new.task and str(new.task),
        "window": new.window,
        "owner": new.owner,
        "team": new.team,
        "time_zone": new.time_zone,
    }
    known = {
        "task": model.task,
        "window": format_length(model.window_length),
        "owner": model.owner,
        "team": model.team,
        "time_zone": model.time_zone,
    }
    differing = [
        (name, known[name], value)
        for name, value in given.items()
        if name in new.model_fields_set and value != known[name] and (name, known[name]) != ("task", None)
    ]
    differing += [
        (f"settings.{name}", model.settings.get(name), value)
        for name, value in new.settings.model_dump(exclude_unset=True).items()
        if value != model.settings.get(name)
    ]
    if differing:
        name, before, value = differing[0]
        fix = (
            f"leave it out, and change it with PATCH /models/{model.model_id}"
            if name in ("owner", "team") or name.startswith("settings")
            else "leave it out, or register another model: what was measured depends on it"
        )
        raise Refusal(
            "conflict",
            f"{name} of model {model.model_id!r} is {before!r}, not {value!r}; {fix}",
            field=name,
        )


def _read_schema(model: Model, content: Mapping[str, Any]) -> Schema:
    """Read a schema, which takes task and time zone from the model. Raises InvalidSchema, Refusal."""
    given = {name: value for name, value in content.items() if value is not None}
    try:
        schema = Schema.from_dict({"task": model.task, "time_zone": model.time_zone, **given})
    except InvalidSchema as error:
        field = "schema" if error.field is None else f"schema.{error.field}"
        raise InvalidSchema(f"schema: {error}", field=field) from None
    check_schema(model, schema)
    return schema


def check_schema(model: Model, schema: Schema) -> None:
    """Refuse a schema whose task or time zone is not the model's; a model's task may still be open."""
    for name, of_schema, of_model in (
        ("task", schema.task, model.task or schema.task),
        ("time_zone", schema.time_zone, model.time_zone),
    ):
        if of_schema != of_model:
            raise Refusal(
                "conflict",
                f"{name} of the schema is {_shown(of_schema)}, of model {model.model_id!r} {_shown(of_model)}; "
                "make them equal, or register another model",
                field=f"schema.{name}",
            )


def register_schema(conn: Connection, model: Model, version: str, schema: Schema) -> None:
    """Give a version its schema, and the model its task when that was still open."""
    plan = layout(schema)
    if model.task is None and schema.task is not None:
        update_model(conn, model.model_id, {"task": str(schema.task)})
    set_schema(
        conn,
        model.model_id,
        version,
        schema=schema.to_dict(),
        schema_id=schema.schema_id,
        feature_names=plan.names,
        feature_kinds=plan.kinds,
    )


def describe_difference(known: Schema, other: Schema) -> str:
    """Say how another schema differs from the known one, the first difference in words.

    >>> describe_difference(Schema((), segments=("country",)), Schema((), segments=("city",)))
    "segments is ['city'], was ['country']"
    """
    before = {feature.name: feature for feature in known.features}
    after = {feature.name: feature for feature in other.features}
    if missing := [name for name in before if name not in after]:
        return f"feature {missing[0]!r} is missing"
    if new := [name for name in after if name not in before]:
        return f"feature {new[0]!r} is new"
    for name, feature in before.items():
        for key in ("kind", "dtype", "unit", "description", "source"):
            was, is_ = getattr(feature, key), getattr(after[name], key)
            if was != is_:
                return f"{key} of feature {name!r} is {_shown(is_)}, was {_shown(was)}"
    old, now = ({**schema.to_dict(), "label": schema.label} for schema in (known, other))
    for key in old:
        if old[key] != now[key] and key != "features":
            return f"{key} is {_shown(now[key])}, was {_shown(old[key])}"
    return "the order of the features"


def _shown(value: object) -> str:
    return "not set" if value is None else repr(str(value) if isinstance(value, str) else value)

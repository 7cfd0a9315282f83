"""Schemas: what is refused and why, the JSON form, and where columns lie."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.errors import InvalidInput, InvalidSchema
from driftline.core.schema import (
    MAX_NAME,
    PREDICTION,
    SCORE,
    Dtype,
    Feature,
    JoinKey,
    Kind,
    Schema,
    Task,
    layout,
    zone,
)

X, C = Feature("x", Kind.NUMERIC), Feature("c", Kind.CATEGORICAL)

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
names = st.text(characters, min_size=1, max_size=20).filter(lambda name: not name.startswith("__"))
features = st.builds(
    Feature,
    names,
    st.sampled_from([Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN, Kind.DATETIME]),
    unit=st.none() | st.text(characters, max_size=5),
    description=st.none() | st.text(characters, max_size=20),
    source=st.none() | st.text(characters, max_size=5),
) | st.builds(Feature, names, st.just(Kind.NUMERIC), st.just(Dtype.FLOAT64))
schemas = st.builds(
    Schema,
    st.lists(features, max_size=8, unique_by=lambda feature: feature.name).map(tuple),
    st.none() | st.sampled_from(Task),
    join_key=st.sampled_from(JoinKey),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    prediction=names,
)


@given(schemas)
def test_the_json_form_says_everything(schema: Schema) -> None:
    read = Schema.from_dict(schema.to_dict())
    assert read == schema
    assert read.schema_id == schema.schema_id
    assert len(schema.schema_id) == 16


@given(schemas)
def test_every_feature_has_one_place(schema: Schema) -> None:
    plan = layout(schema)
    assert sorted(plan.names) == sorted([*(feature.name for feature in schema.features), PREDICTION, SCORE])
    assert plan.names == (*plan.float32, *plan.float64, *plan.categories)
    assert [plan.index[name] for name in plan.names] == list(range(len(plan.names)))
    for feature in schema.features:
        assert plan.kinds[plan.index[feature.name]] == feature.kind
        assert (feature.name in plan.categories) == (feature.kind == Kind.CATEGORICAL)
    assert (PREDICTION in plan.categories) == (schema.task in (Task.BINARY, Task.MULTICLASS))


@given(schemas, schemas)
def test_schemas_have_one_id_each(one: Schema, other: Schema) -> None:
    assert (one.schema_id == other.schema_id) == (one == other)


def test_segments_that_are_no_features_follow_the_categories() -> None:
    plan = layout(Schema((X, C), segments=("region", "c")))
    assert plan.segments == ("region",)
    assert plan.codes == ("c", "region")
    assert "region" not in plan.names


def test_each_kind_travels_as_it_needs() -> None:
    assert {kind: Feature("x", kind).dtype for kind in Kind} == {
        Kind.NUMERIC: Dtype.FLOAT32,
        Kind.BOOLEAN: Dtype.FLOAT32,
        Kind.DATETIME: Dtype.FLOAT64,
        Kind.CATEGORICAL: Dtype.CATEGORY,
    }


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (Kind.NUMERIC, Dtype.CATEGORY),
        (Kind.CATEGORICAL, Dtype.FLOAT32),
        (Kind.DATETIME, Dtype.FLOAT32),
        (Kind.BOOLEAN, Dtype.CATEGORY),
    ],
)
def test_a_dtype_that_cannot_hold_the_kind_is_refused(kind: Kind, dtype: Dtype) -> None:
    with pytest.raises(InvalidSchema, match="leave `dtype` out") as caught:
        Feature("amount", kind, dtype)
    assert caught.value.field == "amount"


@pytest.mark.parametrize(
    ("make", "field", "says"),
    [
        (lambda: Schema((X, X)), "x", "there twice"),
        (lambda: Schema((Feature("", Kind.NUMERIC),)), "", "1 to 256 characters"),
        (lambda: Schema((Feature("n" * (MAX_NAME + 1), Kind.NUMERIC),)), "n" * 257, "1 to 256 characters"),
        (lambda: Schema((Feature("a\x00b", Kind.NUMERIC),)), "a\x00b", "no NUL"),
        (lambda: Schema((Feature("__score__", Kind.NUMERIC),)), "__score__", "reserved"),
        (lambda: Schema((X,), segments=("x",)), "x", "must be categorical"),
        (lambda: Schema((C,), segments=("c", "c")), "segments", "at most 5 different"),
        (lambda: Schema((), segments=tuple("abcdef")), "segments", "at most 5 different"),
        (
            lambda: Schema(tuple(Feature(f"x{i}", Kind.NUMERIC) for i in range(10_001))),
            "features",
            "10,001 features",
        ),
        (lambda: Schema((), segments=("__other",)), "__other", "reserved"),
        (lambda: Schema((), time_zone="Berlin"), "time_zone", "Europe/Berlin"),
    ],
)
def test_contradictions_are_refused_by_name(make: Any, field: str, says: str) -> None:
    with pytest.raises(InvalidSchema, match=says) as caught:
        make()
    assert caught.value.field == field
    assert isinstance(caught.value, InvalidInput)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("content", "field", "says"),
    [
        ({"colour": 1}, "colour", "no field 'colour'"),
        ({"features": {"x": "numeric"}}, "features", "must be a list"),
        ({"features": ["x"]}, "features[0]", "must be an object"),
        ({"features": [{"name": 5, "kind": "numeric"}]}, "features[0]", "must be an object"),
        ({"features": [{"name": "x"}]}, "features[0].kind", "use numeric"),
        ({"features": [{"name": "x", "kind": "number"}]}, "features[0].kind", "is 'number'"),
        ({"features": [{"name": "x", "kind": "numeric", "dtype": "int8"}]}, "features[0].dtype", "is 'int8'"),
        ({"features": [{"name": "x", "kind": "numeric", "Unit": "EUR"}]}, "features[0]", "no field 'Unit'"),
        ({"segments": "country"}, "segments", "list of column names"),
        ({"segments": [1]}, "segments", "list of column names"),
        ({"task": "classify"}, "task", "binary, multiclass, regression or ranking"),
        ({"join_key": "id"}, "join_key", "prediction_id or entity_id"),
        ({"time_zone": ""}, "time_zone", "non-empty string"),
        ({"prediction": None}, "prediction", "non-empty string"),
    ],
)
def test_json_that_does_not_fit_names_the_field(content: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidSchema, match=says) as caught:
        Schema.from_dict(content)
    assert caught.value.field == field


def test_features_are_found_by_name() -> None:
    schema = Schema((X, C), time_zone="Asia/Kolkata")
    assert schema.feature("c") is C
    assert zone(schema).key == "Asia/Kolkata"
    with pytest.raises(KeyError):
        schema.feature("y")


def test_equal_schemas_are_one_key() -> None:
    assert len({Schema((X, C)), Schema((X, C)), Schema((C, X))}) == 2


@pytest.mark.parametrize(
    ("content", "field", "says"),
    [
        ({"features": [{"name": "x", "kind": "numeric", "unit": "\x00"}]}, "x", "unit must be text"),
        ({"features": [{"name": "x", "kind": "numeric", "unit": {"a": 1}}]}, "x", "unit must be text"),
        (
            {"features": [{"name": "x", "kind": "numeric", "description": "\ud800"}]},
            "x",
            "description must be text",
        ),
        ({"features": [{"name": "x", "kind": "numeric", "description": "a" * 1001}]}, "x", "at most 1,000"),
        ({"features": [{"name": "\ud800", "kind": "numeric"}]}, "\ud800", "no NUL"),
        ({"prediction": "a\x00"}, "prediction", "no NUL"),
        ({"entity_id": "a" * 300}, "entity_id", "1 to 256 characters"),
    ],
)
def test_texts_that_nothing_can_store_are_refused(content: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(InvalidSchema, match=says) as caught:
        Schema.from_dict(content)
    assert caught.value.field == field

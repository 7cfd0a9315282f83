"""Models and their versions: made once, found, changed, deleted with all that was measured."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import Connection

from driftline.core.moment import from_micros
from driftline.core.schema import Feature, Kind, Schema, layout
from driftline.core.window import MICROSECONDS
from driftline.store.database import Database
from driftline.store.dead_letters import Refused, add_dead_letters
from driftline.store.drift import DriftWindow, upsert_drift
from driftline.store.errors import AlreadyExists, NotFound
from driftline.store.models import create_model, delete_model, get_model, list_models, update_model
from driftline.store.parts import Part, add_parts
from driftline.store.profiles import StoredProfile, upsert_profiles
from driftline.store.samples import SampleFile, SampleStatus, register_samples
from driftline.store.versions import (
    create_version,
    get_version,
    list_versions,
    set_bins,
    set_schema,
)
from driftline.store.windows import WindowGrowth, grow_windows, list_windows

HOUR = 3600 * MICROSECONDS


def test_create_and_get(conn: Connection) -> None:
    made = create_model(
        conn,
        "fraud",
        window_length=HOUR // 4,
        task="binary",
        owner="a@b",
        team="payments",
        time_zone="Europe/Berlin",
        settings={"expected_rows": 900},
    )
    assert get_model(conn, "fraud") == made
    assert (made.window_seconds, made.window_length) == (900, HOUR // 4)
    assert made.settings == {"expected_rows": 900}
    assert isinstance(made.created_at, int)
    assert from_micros(made.created_at).year >= 2026
    assert create_model(conn, "bare", window_length=HOUR).settings == {}


def test_a_model_is_made_once(conn: Connection) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    with pytest.raises(AlreadyExists, match="model 'fraud' already exists"):
        create_model(conn, "fraud", window_length=HOUR)


def test_two_at_once_make_it_once(database: Database) -> None:
    def create(_: int) -> bool:
        try:
            with database.transaction() as conn:
                create_model(conn, "fraud", window_length=HOUR)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [False, False, False, True]


def test_other_constraints_pass_through(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        create_model(conn, "odd", window_length=7 * MICROSECONDS)


def test_unknown_models_are_not_found(conn: Connection) -> None:
    for call in (
        lambda: get_model(conn, "no"),
        lambda: update_model(conn, "no", {"owner": "x"}),
        lambda: delete_model(conn, "no"),
        lambda: get_version(conn, "no", "1"),
        lambda: set_bins(conn, "no", "1", 50),
    ):
        with pytest.raises(NotFound, match="'no'"):
            call()
    with pytest.raises(NotFound, match="no model 'no'"):
        create_version(conn, "no", "1")


def test_list_pages_and_searches(conn: Connection) -> None:
    for name, team in (("b-fraud", "Payments"), ("a-churn", "crm"), ("c_100%", None)):
        create_model(conn, name, window_length=HOUR, team=team)
    assert [m.model_id for m in list_models(conn)] == ["a-churn", "b-fraud", "c_100%"]
    assert [m.model_id for m in list_models(conn, limit=1, after="a-churn")] == ["b-fraud"]
    assert [m.model_id for m in list_models(conn, search="PAY")] == ["b-fraud"]
    assert [m.model_id for m in list_models(conn, search="_100%")] == ["c_100%"]
    assert list_models(conn, search="%") == list_models(conn, search="c_")
    assert list_models(conn, after="z") == []


def test_update(conn: Connection) -> None:
    made = create_model(conn, "fraud", window_length=HOUR, settings={"a": 1, "b": 2})
    changed = update_model(conn, "fraud", {"owner": "x", "settings": {"b": 3}})
    assert (changed.owner, changed.settings, changed.team) == ("x", {"b": 3}, made.team)
    assert get_model(conn, "fraud") == changed
    assert update_model(conn, "fraud", {"owner": None}).owner is None
    assert update_model(conn, "fraud", {}).settings == {"b": 3}
    with pytest.raises(ValueError, match="window_seconds of a model cannot be changed"):
        update_model(conn, "fraud", {"window_seconds": 60})


def test_versions(conn: Connection) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    made = create_version(conn, "fraud", "3", sampling_n=10)
    assert (made.schema, made.schema_id, made.feature_names, made.bins, made.sampling_n) == (
        None, None, [], None, 10,
    )  # fmt: skip
    with pytest.raises(AlreadyExists, match="version '3' of model 'fraud'"), conn.transaction():
        create_version(conn, "fraud", "3")
    create_version(conn, "fraud", "4")
    assert [v.model_version for v in list_versions(conn, "fraud")] == ["3", "4"]
    assert list_versions(conn, "churn") == []
    set_bins(conn, "fraud", "3", 50)
    assert get_version(conn, "fraud", "3").bins == 50
    assert get_version(conn, "fraud", "4").bins is None


def test_a_schema_never_changes(conn: Connection) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    create_version(conn, "fraud", "3")
    schema = Schema((Feature("country", Kind.CATEGORICAL), Feature("amount", Kind.NUMERIC)))

    def give(schema: Schema) -> None:
        columns = layout(schema)
        set_schema(
            conn,
            "fraud",
            "3",
            schema=schema.to_dict(),
            schema_id=schema.schema_id,
            feature_names=columns.names,
            feature_kinds=columns.kinds,
        )

    give(schema)
    give(schema)
    version = get_version(conn, "fraud", "3")
    assert Schema.from_dict(version.schema or {}) == schema
    assert tuple(version.feature_names) == layout(schema).names
    assert tuple(version.feature_kinds) == layout(schema).kinds
    with pytest.raises(AlreadyExists, match="register a new version"):
        give(Schema((Feature("amount", Kind.NUMERIC),)))
    assert get_version(conn, "fraud", "3") == version


def test_delete_takes_everything_of_the_model_and_nothing_else(conn: Connection) -> None:
    for model in ("fraud", "churn"):
        create_model(conn, model, window_length=HOUR)
        create_version(conn, model, "1")
        grow_windows(conn, [WindowGrowth(model, "1", 0, HOUR, "g", 1, 1, 5, 5, 5)])
        add_parts(conn, [Part("t", 0, 0, model, "1", 0, "g", 1, b"", None)])
        upsert_profiles(conn, [StoredProfile(model, "1", "", 0, "g", 1, 1.0, b"", None)])
        window = DriftWindow(model, "1", "", "training", 0, HOUR, HOUR, 0, "g", "ok", False, 1, 1.0, 5)
        upsert_drift(
            conn, window, {"sample_count": [1], "level": [0], "drifted": [False], "feature_status": ["ok"]}
        )
        register_samples(
            conn, [SampleFile(f"{model}.parquet", model, "1", "t", 0, 0, 0, 1, 5, 5, SampleStatus.PROFILED, 9)]
        )
        add_dead_letters(conn, [Refused("t", "bad", "why", b"", model_id=model)])
    before = _count_rows(conn)
    delete_model(conn, "fraud")
    assert dict.fromkeys(before, 2) == before
    assert _count_rows(conn) == dict.fromkeys(before, 1)
    create_model(conn, "fraud", window_length=HOUR)
    create_version(conn, "fraud", "1")
    assert list_windows(conn, "fraud", "1", 0, HOUR) == []


def _count_rows(conn: Connection) -> dict[str, int]:
    tables = (
        "models", "model_versions", "windows", "profile_parts", "profiles", "drift_windows", "sample_files",
        "dead_letters",
    )  # fmt: skip
    return {table: (conn.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0] for table in tables}

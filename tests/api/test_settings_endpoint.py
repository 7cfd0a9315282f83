"""GET /models/{model_id}/versions/{version}/settings: what SDKs poll."""

import httpx
import pytest

from driftline.core.schema import Schema
from driftline.store.database import Database
from driftline.store.sampling import announce_n, list_rates
from tests.api.examples import FRAUD, upload_reference

PATH = "/models/fraud/versions/3/settings"


def test_all_that_an_sdk_needs(fraud: httpx.Client) -> None:
    answer = fraud.get(PATH)
    assert answer.status_code == 200
    content = answer.json()
    schema = Schema.from_dict(content.pop("schema"))
    assert content == {
        "model_id": "fraud",
        "version": "3",
        "schema_id": schema.schema_id,
        "join_key": "prediction_id",
        "sampling_n": 1,
        "label_n": 1,
        "fallback_active": False,
    }
    assert [feature.name for feature in schema.features] == ["amount", "age", "member", "country"]


def test_the_tag_changes_with_the_content(fraud: httpx.Client, database: Database) -> None:
    first = fraud.get(PATH)
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = fraud.get(PATH, headers={"If-None-Match": known})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    fraud.patch("/models/fraud", json={"settings": {"fallback_active": True}})
    changed = fraud.get(PATH, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["fallback_active"]) == (200, True)
    with database.transaction() as conn:
        announce_n(conn, "fraud", "3", 50)
    again = fraud.get(PATH, headers={"If-None-Match": changed.headers["ETag"]}).json()
    assert (again["sampling_n"], again["label_n"]) == (50, 1)


def test_a_fixed_n_holds_at_once_for_every_version(fraud: httpx.Client, database: Database) -> None:
    fraud.patch("/models/fraud", json={"settings": {"sampling_n": 20}})
    assert fraud.get(PATH).json()["sampling_n"] == 20
    fraud.post("/models", json={**FRAUD, "version": "4"})
    content = fraud.get(PATH.replace("3", "4")).json()
    assert (content["sampling_n"], content["label_n"]) == (20, 20)
    fraud.patch("/models/fraud", json={"settings": {"sampling_n": None}})
    assert fraud.get(PATH).json()["sampling_n"] == 20
    with database.transaction() as conn:
        assert [rate.n for rate in list_rates(conn, "fraud", "3")] == [1, 20]


def test_the_label_delay_decides_how_long_an_old_n_counts(fraud: httpx.Client, database: Database) -> None:
    fraud.patch("/models/fraud", json={"settings": {"sampling_n": 20, "max_label_delay_s": 3600}})
    with database.transaction() as conn:
        conn.execute("UPDATE sampling_rates SET since = since - interval '2 hours'")
    assert fraud.get(PATH).json()["label_n"] == 20


def test_without_a_schema_there_is_nothing_to_keep(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "fraud", "version": "3", "task": "binary"})
    refused = client.get(PATH)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:driftline:problem:no-schema")
    upload_reference(client)
    assert client.get(PATH).status_code == 200


@pytest.mark.parametrize("path", ["/models/fraud/versions/9/settings", "/models/churn/versions/3/settings"])
def test_what_is_not_registered_is_not_found(refusing: httpx.Client, path: str) -> None:
    assert refusing.get(path).status_code == 404


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"sampling_n": 0}, "settings.sampling_n"),
        ({"sampling_n": 2**20 + 1}, "settings.sampling_n"),
        ({"max_label_delay_s": 181 * 86_400}, "settings.max_label_delay_s"),
        ({"fallback_active": "perhaps"}, "settings.fallback_active"),
    ],
)
def test_settings_have_bounds(refusing: httpx.Client, settings: dict[str, object], field: str) -> None:
    refused = refusing.patch("/models/fraud", json={"settings": settings})
    assert (refused.status_code, refused.json()["field"]) == (422, field)

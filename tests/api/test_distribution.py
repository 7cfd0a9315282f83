"""GET /models/{model_id}/features/{feature}/distribution."""

from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from driftline.core.coarse import coarsen_profile
from driftline.core.drift import Status
from driftline.core.profile import decode_profile, encode_profile
from driftline.core.reference import decode_reference
from driftline.store.database import Database
from driftline.store.profiles import read_profiles
from driftline.store.references import current_reference
from tests.api.examples import FRAUD, HOUR, NOON, make_frame, upload_reference, write_window


@pytest.fixture
def watched(fraud: httpx.Client) -> httpx.Client:
    """Fraud with a reference."""
    upload_reference(fraud, make_frame(20_000).drop(columns="timestamp"))
    return fraud


def get(client: httpx.Client, feature: str, **query: str) -> dict[str, Any]:
    answer = client.get(f"/models/fraud/features/{quote(feature, safe='')}/distribution", params=query)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_numbers(watched: httpx.Client, database: Database) -> None:
    frame = make_frame(1000, seed=1, shift=3.0)
    frame.loc[:99, "amount"] = np.nan
    write_window(database, frame)
    said = get(watched, "amount")
    assert (said["model_id"], said["version"], said["feature_name"]) == ("fraud", "3", "amount")
    assert (said["kind"], said["unit"], said["rows"], said["segment"]) == ("numeric", "EUR", 1000, "")
    assert said["window"] == {"start": "2024-11-25T12:00:00Z", "end": "2024-11-25T13:00:00Z", "status": "ok"}
    histogram = said["histogram"]
    edges = histogram["edges"]
    assert len(edges) == 51
    assert np.all(np.diff(edges) > 0)
    for side, values in (("window", frame["amount"].dropna()), ("reference", make_frame(20_000)["amount"])):
        shares = histogram[side]
        assert sum(shares) == pytest.approx(1)
        expected = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        assert np.abs(np.cumsum(shares) - np.cumsum(expected)).max() < 0.02
        stats = said["stats"][side]
        assert stats["mean"] == pytest.approx(values.mean(), rel=1e-5)
        assert stats["std"] == pytest.approx(values.std(ddof=0), rel=1e-4)
        assert (stats["min"], stats["max"]) == (values.min(), values.max())
        assert stats["p50"] == pytest.approx(values.median(), abs=1)
    assert said["stats"]["window"]["missing_rate"] == 0.1
    assert said["stats"]["reference"]["distinct"] == make_frame(20_000)["amount"].nunique()
    assert (said["drift"]["drifted"], said["drift"]["status"], said["categories"]) == (True, "ok", None)
    assert said["drift"]["missing_rate"] == pytest.approx(0.1)


def test_categories(watched: httpx.Client, database: Database) -> None:
    frame = make_frame(1000, seed=1)
    frame["country"] = ["DE"] * 500 + ["XX"] * 200 + ["YY"] * 100 + [None] * 200
    write_window(database, frame)
    said = get(watched, "country")
    shares = {each["category"]: (each["window"], each["reference"]) for each in said["categories"]}
    was = make_frame(20_000)["country"].value_counts(normalize=True)
    assert list(shares) == ["DE", "FR", "IT"]
    assert shares["DE"] == (0.5, pytest.approx(was["DE"]))
    assert shares["FR"] == (0.0, pytest.approx(was["FR"]))
    assert said["missing"] == {"window": 0.2, "reference": 0.0}
    assert said["other"] == {"window": 0.0, "reference": 0.0}
    assert said["never_seen"] == {
        "window": 0.3,
        "reference": 0.0,
        "new_values": [{"value": "XX", "count": 200}, {"value": "YY", "count": 100}],
    }
    assert said["histogram"] is None
    assert said["stats"]["window"]["never_seen_rate"] == pytest.approx(0.375)


def test_booleans_have_two_bars(watched: httpx.Client, database: Database) -> None:
    frame = make_frame(1000, seed=1)
    write_window(database, frame)
    said = get(watched, "member")
    yes = frame["member"].mean()
    assert said["histogram"]["edges"] == [-0.5, 0.5, 1.5]
    assert said["histogram"]["window"] == pytest.approx([1 - yes, yes])


@pytest.mark.parametrize(("feature", "part"), [("__score__", "histogram"), ("__prediction__", "categories")])
def test_outputs(watched: httpx.Client, database: Database, feature: str, part: str) -> None:
    write_window(database, make_frame(500))
    assert get(watched, feature)[part] is not None


def test_segments_in_their_coarse_grid(watched: httpx.Client, database: Database) -> None:
    frame = make_frame(2000, seed=1)
    write_window(database, frame)
    said = get(watched, "amount", segment="country=FR")
    french = frame[frame["country"] == "FR"]
    assert said["rows"] == len(french)
    assert said["stats"]["window"]["mean"] == pytest.approx(french["amount"].mean(), rel=1e-5)
    training = make_frame(20_000)
    expected = training[training["country"] == "FR"]["amount"].mean()
    assert said["stats"]["reference"]["mean"] == pytest.approx(expected, rel=1e-5)


def test_a_window_is_found_by_any_time_in_it(watched: httpx.Client, database: Database) -> None:
    for k in range(3):
        write_window(database, make_frame(500 + k, seed=k), NOON + k * HOUR)
    assert get(watched, "amount")["rows"] == 502
    for moment in ("2024-11-25T13:00:00Z", "2024-11-25T13:59:59Z", "2024-11-25T14:30:00+01:00"):
        assert get(watched, "amount", window=moment)["rows"] == 501


def test_an_open_window_can_be_looked_at(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(60), status=Status.PARTIAL)
    said = get(watched, "amount")
    assert (said["rows"], said["window"]["status"], said["drift"]["status"]) == (60, "partial", "partial")


def test_a_window_of_which_only_the_coarse_profile_is_kept(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(900, seed=1))
    whole = get(watched, "amount")
    with database.transaction() as conn:
        stored = current_reference(conn, "fraud", "3")
        assert stored is not None
        reference = decode_reference(stored.payload)
        (profile,) = read_profiles(conn, "fraud", "3", since=NOON, until=NOON + 1)
        assert profile.payload is not None
        coarse = coarsen_profile(reference.coarse, reference.coarse_cells, decode_profile(profile.payload))
        conn.execute(
            "UPDATE profiles SET coarse = %b, payload = NULL WHERE segment = ''", (encode_profile(coarse),)
        )
    kept = get(watched, "amount")
    assert kept["stats"]["window"]["mean"] == whole["stats"]["window"]["mean"]
    place = np.linspace(35, 65, 50)
    fine, rough = (
        np.interp(place, said["histogram"]["edges"][1:], np.cumsum(said["histogram"]["window"]))
        for said in (whole, kept)
    )
    assert np.abs(fine - rough).max() < 0.03


def test_a_window_of_an_older_reference(watched: httpx.Client, database: Database) -> None:
    write_window(database, make_frame(900, seed=1))
    before = get(watched, "amount")
    upload_reference(watched, make_frame(seed=5, shift=9))
    assert get(watched, "amount") == before


def test_a_feature_without_any_value(fraud: httpx.Client, database: Database) -> None:
    upload_reference(fraud, make_frame().assign(age=np.nan).drop(columns="timestamp"))
    write_window(database, make_frame(500).assign(age=np.nan))
    said = get(fraud, "age")
    assert (said["histogram"], said["stats"]["window"]["mean"]) == (None, None)
    assert said["stats"]["reference"]["missing_rate"] == 1.0


def test_a_feature_with_a_slash_in_its_name(client: httpx.Client, database: Database) -> None:
    schema = {"features": [{"name": "debit/credit", "kind": "numeric"}]}
    client.post("/models", json={**FRAUD, "schema": schema})
    frame = make_frame(600).rename(columns={"amount": "debit/credit"}).drop(columns="timestamp")
    upload_reference(client, frame)
    write_window(database, frame)
    assert get(client, "debit/credit")["feature_name"] == "debit/credit"


@pytest.mark.parametrize(
    ("path", "status", "field", "says"),
    [
        ("amuont/distribution", 404, "feature", "did you mean 'amount'?"),
        ("amount/distribution", 404, "window", "has no window yet; send predictions"),
        ("amount/distribution?segment=country%3DDE", 404, "window", "with rows of segment 'country=DE'"),
        (
            "amount/distribution?window=2020-01-01T00:00:00Z",
            404,
            "window",
            "no window of version '3' starts at 2020",
        ),
        ("amount/distribution?window=7", 422, "window", "is no time"),
        ("amount/distribution?version=9", 404, None, "no version '9'"),
        ("amount/distribution?step=1d", 422, "step", "no query parameter"),
    ],
)
def test_bad_questions(refusing: httpx.Client, path: str, status: int, field: str | None, says: str) -> None:
    answer = refusing.get(f"/models/fraud/features/{path}")
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says in problem["detail"]
    assert problem.get("field") == field

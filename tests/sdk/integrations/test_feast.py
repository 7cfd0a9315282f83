"""Feast's responses, in each of their forms."""

from typing import Any

import pytest

from driftline.sdk.integrations.feast import feast_features, feature_name

COLUMNS = {"driver_id": [1, 2], "hourly__conv_rate": [0.5, None], "hourly__trips": [3, 4]}
ROWS = [{"hourly__conv_rate": 0.5, "hourly__trips": 3}, {"hourly__conv_rate": None, "hourly__trips": 4}]


class OnlineResponse:
    def to_dict(self) -> dict[str, list[Any]]:
        return COLUMNS


SERVED = {
    "metadata": {"feature_names": list(COLUMNS)},
    "results": [{"values": values, "statuses": ["PRESENT", "PRESENT"]} for values in COLUMNS.values()],
}


@pytest.mark.parametrize("response", [OnlineResponse(), COLUMNS, SERVED], ids=["response", "dict", "server"])
def test_all_forms_give_the_same_rows(response: Any) -> None:
    assert feast_features(response, entities=["driver_id"]) == ROWS


def test_entities_are_features_unless_they_are_named() -> None:
    assert [row["driver_id"] for row in feast_features(COLUMNS)] == [1, 2]


def test_references_name_the_columns() -> None:
    assert {feature_name("hourly:conv_rate"), feature_name("hourly:trips")} == ROWS[0].keys()


@pytest.mark.parametrize("reference", ["conv_rate", ":conv_rate", "hourly:", ""])
def test_references_without_a_view_are_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="is not VIEW:FEATURE"):
        feature_name(reference)

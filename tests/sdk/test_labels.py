"""Labels on their way: each names its prediction by the id that it is joined by."""

import json

import pytest

from driftline.sdk.labels import Label, encode_labels


@pytest.mark.parametrize(
    ("prediction_id", "entity_id", "by_entity", "named"),
    [
        ("p", "e", False, {"prediction_id": "p"}),
        ("p", "e", True, {"entity_id": "e"}),  # else Kafka would spread an entity's labels over its partitions
        ("p", None, True, {"prediction_id": "p"}),  # of no use, which the server says
        (None, "e", True, {"entity_id": "e"}),
    ],
)
def test_a_label_names_what_it_is_joined_by(prediction_id, entity_id, by_entity, named):
    label = Label(prediction_id, entity_id, 1, None, None, None)
    assert json.loads(encode_labels([label], "fraud", by_entity=by_entity)) == {
        "model_id": "fraud",
        "value": 1,
        **named,
    }

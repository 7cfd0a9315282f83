"""Models whose labels come by entity: a window's evidence is its entities, whatever flush their rows came in."""

from dataclasses import replace

import pytest

from driftline.core.schema import JoinKey
from tests.workers.plant import SCHEMA, Plant, at, make_batch, make_reference

BY_ENTITY = replace(SCHEMA, join_key=JoinKey.ENTITY_ID, segments=("country",))


def send(plant: Plant, hour: float, *, part: int, entities: int = 40, named: bool = True) -> None:
    """Each part brings one row of every entity."""
    batch = make_batch([f"{hour}-{part}-{i}" for i in range(entities)], at(hour), seed=part, schema=BY_ENTITY)
    names = tuple(f"customer {i}" for i in range(entities))
    plant.send(replace(batch, entity_ids=names if named else None), schema=BY_ENTITY)


@pytest.fixture
def plant(bare: Plant) -> Plant:
    bare.register(schema=BY_ENTITY)
    return bare


def test_rows_of_an_entity_are_one_piece_of_evidence_over_all_flushes(plant: Plant) -> None:
    plant.refer(make_reference(schema=BY_ENTITY))
    for part in range(5):
        send(plant, 0.5, part=part)
        plant.drain()
        plant.cycle()
    send(plant, 0.5, part=4)  # again
    plant.drain()
    plant.cycle()
    profile = plant.profile(at(0))
    assert (profile.rows, profile.effective_rows) == (200, 40)
    assert sum(plant.profile(at(0), f"country={c}").rows for c in ("DE", "FR", "US")) == 200
    assert all(plant.profile(at(0), f"country={c}").effective_rows <= 40 for c in ("DE", "FR", "US"))


def test_windows_wait_for_one_another_until_there_are_enough_entities(plant: Plant) -> None:
    plant.refer(make_reference(schema=BY_ENTITY))
    for hour in range(3):
        for part in range(3):
            send(plant, hour, part=part)
    for part in range(10):
        send(plant, 3, part=part, entities=120)
    send(plant, 9, part=0)
    plant.drain()
    plant.cycle()
    assert plant.statuses() == {
        0: ("pooling", 0),
        1: ("pooling", 0),  # forty customers again, not forty others
        2: ("pooling", 0),
        3: ("ok", 0),
        9: ("partial", 9),
    }


def test_rows_that_waited_for_a_reference_keep_their_entities(plant: Plant) -> None:
    for part in range(5):
        send(plant, 0.5, part=part)
    plant.drain()
    plant.refer(make_reference(schema=BY_ENTITY))
    plant.drain()
    plant.cycle()
    assert plant.profile(at(0)).effective_rows == 40


def test_rows_without_an_entity_count_by_themselves(plant: Plant) -> None:
    plant.refer(make_reference(schema=BY_ENTITY))
    send(plant, 0.5, part=0)
    send(plant, 0.5, part=1, named=False)
    plant.drain()
    plant.cycle()
    assert plant.profile(at(0)).effective_rows == 80


def test_n_is_chosen_for_enough_entities_rather_than_rows(plant: Plant) -> None:
    plant.refer(make_reference(schema=BY_ENTITY))
    for part in range(3):
        send(plant, 0.5, part=part, entities=1_000)
    send(plant, 9, part=0)
    plant.drain()
    plant.cycle()
    assert plant.execute("SELECT sampling_n FROM model_versions") == [(1,)]
    for part in range(3):
        send(plant, 10, part=part, entities=3_000)
    send(plant, 20, part=0)
    plant.drain()
    plant.cycle()
    assert plant.execute("SELECT sampling_n FROM model_versions") == [(3,)]


def test_entities_do_not_matter_to_models_whose_labels_come_by_prediction(bare: Plant) -> None:
    bare.register()
    bare.refer(make_reference())
    batch = make_batch(range(200), at(0.5))
    bare.send(replace(batch, entity_ids=("one",) * 200))
    bare.drain()
    bare.cycle()
    assert bare.profile(at(0)).effective_rows == 200

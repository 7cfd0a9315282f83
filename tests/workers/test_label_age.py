"""Labels that are old: which are dropped, and that no pair is lost by it."""

from driftline.store.label_counts import LabelCounts
from driftline.workers.label_expiry import expire_labels
from driftline.workers.up import read_clock
from tests.workers.plant import DAY, HOUR, MINUTE, Plant, at
from tests.workers.registry import ENTITY, Registry


def read_labels(registry: Registry) -> list[tuple[object, ...]]:
    return registry.plant.execute("SELECT predicted_at, label_class FROM labeled_predictions ORDER BY 1")


def count_labels(registry: Registry) -> int:
    return len(registry.plant.execute("SELECT 1 FROM waiting_labels"))


def test_an_entitys_pair_stays_when_its_delay_is_over(bare: Plant) -> None:
    registry = Registry(bare, ENTITY)
    registry.register(max_label_delay_s=3600, join_tolerance_s=86_400)
    registry.predict(["p1"], at(0.5), entities=["ann"])
    registry.label(["ann"], ["1"], at(1), timestamps=[at(1)], by_entity=True)
    registry.join()
    expire_labels(bare.database, read_clock() + 62 * MINUTE)
    registry.predict(["p2"], at(2), entities=["ann"])
    registry.join()
    assert read_labels(registry) == [(at(0.5), "1")]
    registry.predict(["p3"], at(0.9), entities=["ann"])  # a nearer one still takes it over
    registry.join()
    registry.close()
    assert read_labels(registry) == [(at(0.9), "1")]


def test_a_pair_is_not_touched_by_other_entities(bare: Plant) -> None:
    registry = Registry(bare, ENTITY)
    registry.register()
    registry.predict(["p1"], at(0.5), entities=["ann"])
    registry.label(["ann"], ["1"], at(1), by_entity=True)
    registry.join()
    bare.execute("DELETE FROM waiting_labels")
    registry.predict(["p2"], at(35 * 24), entities=["ann"])
    registry.label(["bob"], ["1"], at(35 * 24), timestamps=[at(15 * 24)], by_entity=True)
    registry.join()
    registry.close()
    assert read_labels(registry) == [(at(0.5), "1")]


def test_a_label_that_is_not_kept_any_more_was_not_taken_away(bare: Plant) -> None:
    registry = Registry(bare, ENTITY)
    registry.register()
    registry.predict(["p1", "p2"], [at(0.5), at(2)], entities=["ann", "ann"])
    registry.label(["ann"], ["1"], at(1), by_entity=True)
    registry.join()
    bare.execute("DELETE FROM waiting_labels")
    registry.predict(["p3"], at(3), entities=["ann"])
    registry.join()
    registry.close()
    assert read_labels(registry) == [(at(0.5), "1")]


def test_labels_far_from_what_comes_stay_joined(bare: Plant) -> None:
    """The prediction of a label in reach may itself be out of it."""
    registry = Registry(bare, ENTITY)
    registry.register(max_label_delay_s=3600, join_tolerance_s=3600)
    registry.predict(["p1", "p2"], [at(0.5), at(1.7)], entities=["ann", "ann"])
    registry.label(["ann", "ann"], ["1", "0"], at(9), timestamps=[at(1.2), at(2.1)], by_entity=True)
    registry.join()
    registry.predict(["p3"], at(3), entities=["ann"])
    registry.join()
    registry.close()
    assert bare.execute("SELECT joined FROM waiting_labels") == [(True,), (True,)]
    assert read_labels(registry) == [(at(0.5), "1"), (at(1.7), "0")]


def test_an_entitys_label_is_kept_as_long_as_its_prediction_and_dropped_then(bare: Plant) -> None:
    registry = Registry(bare, ENTITY)
    registry.register(max_label_delay_s=3600, join_tolerance_s=7200)
    registry.predict(["p1"], at(0.5), entities=["ann"])
    registry.label(["ann", "bob"], ["1", "1"], at(1), timestamps=[at(1), at(1)], by_entity=True)
    registry.join()
    registry.close()
    now = read_clock()
    expire_labels(bare.database, now + 7 * DAY + 3 * HOUR - MINUTE)
    assert (count_labels(registry), registry.counts().waiting, registry.counts().unmatched) == (1, 0, 1)
    expire_labels(bare.database, now + 7 * DAY + 3 * HOUR + MINUTE)
    assert (count_labels(registry), registry.counts().unmatched) == (0, 1)


def test_old_labels_are_dropped_a_few_at_a_time(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register(max_label_delay_s=3600)
    registry.label([f"id {number}" for number in range(8)], ["1"] * 8, at(1))
    registry.join()
    registry.close()
    expire_labels(bare.database, read_clock() + 2 * HOUR, limit=3)
    assert (count_labels(registry), registry.counts().waiting, registry.counts().unmatched) == (0, 0, 8)


def test_what_was_joined_never_waits_again(bare: Plant) -> None:
    """A label that is withdrawn was counted as joined: it is not counted a second time, nor as waiting in vain."""
    registry = Registry(bare, ENTITY)
    registry.register(max_label_delay_s=3600)
    registry.predict(["p1", "p2"], at(0.5), entities=["ann", "bob"])
    for hour, values in ((1, ["1", "1"]), (2, [None, None]), (3, ["0"])):
        names = ["ann", "bob"][: len(values)]
        registry.label(names, values, at(hour), timestamps=[at(1)] * len(values), by_entity=True)
        registry.join()
    registry.close()
    assert registry.counts() == LabelCounts(joined=3, withdrawn=2, late=1)
    expire_labels(bare.database, read_clock() + 62 * MINUTE)
    assert (count_labels(registry), registry.counts().waiting, registry.counts().unmatched) == (2, 0, 0)

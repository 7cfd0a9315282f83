"""How long predictions wait, and what removes them: the label delay of their model, not their age alone."""

from types import SimpleNamespace

from driftline.core.moment import from_micros
from driftline.store.partitions import maintain_partitions
from driftline.store.retention import apply_retention
from driftline.workers.up import read_clock
from tests.workers.plant import DAY, HOUR, Plant, at
from tests.workers.registry import Registry

KEEP = SimpleNamespace(
    retention_log_days=7, retention_profiles_days=7, retention_metrics_days=90, retention_dead_letters_days=30
)


def apply(plant: Plant, now: int) -> list[str]:
    with plant.database.connection() as conn:
        return [name for name in apply_retention(conn, now, KEEP) if name.startswith("predictions")]


def waiting(plant: Plant) -> list[tuple[object, ...]]:
    return plant.execute(
        "SELECT m.model_id, p.predicted_at FROM predictions p LEFT JOIN performance_windows USING (window_id)"
        " LEFT JOIN joined_versions USING (version_no) LEFT JOIN joined_models m USING (model_no) ORDER BY 1, 2"
    )


def test_a_partition_goes_when_no_model_needs_it(bare: Plant) -> None:
    now = read_clock()
    with bare.database.connection() as conn:
        maintain_partitions(conn, now)
    today = now - now % DAY
    for name, days in (("short", 1), ("long", 3)):
        registry = Registry(bare, model=name)
        registry.register(max_label_delay_s=days * 86_400)
        registry.predict(["a"], today + HOUR)
        registry.join()
        registry.close()
    assert apply(bare, today + 8 * DAY) == []
    assert len(waiting(bare)) == 2
    assert apply(bare, today + 10 * DAY) == []  # the long one waits for its labels, and late ones for a week
    registry.label(["a"], ["1"], now)
    registry.join()
    registry.close()
    assert registry.counts().joined == 1
    assert f"predictions_{from_micros(today):%Y%m%d}" in apply(bare, today + 12 * DAY)
    assert waiting(bare) == []
    assert bare.execute("SELECT 1 FROM performance_windows") == []


def test_a_replay_of_the_past_has_its_time_from_when_it_came(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register(max_label_delay_s=86_400)
    registry.predict(["a"], at(0.5))
    registry.join()
    registry.close()
    now = read_clock()
    apply(bare, now + 7 * DAY)
    assert waiting(bare) == [("loans", at(0.5))]
    apply(bare, now + 9 * DAY)
    assert waiting(bare) == []


def test_history_and_imports_are_kept_half_a_year(bare: Plant) -> None:
    registry = Registry(bare)
    registry.register()
    registry.predict(["a"], at(0.5))
    for value in ("1", "0"):
        registry.label(["a"], [value], at(1), import_id="i")
        registry.join()
    registry.close()
    now = read_clock()
    apply(bare, now + 179 * DAY)
    assert (len(bare.execute("SELECT 1 FROM label_history")), registry.counts("i").joined) == (1, 1)
    apply(bare, now + 181 * DAY)
    assert (len(bare.execute("SELECT 1 FROM label_history")), registry.counts("i").joined) == (0, 0)
    assert registry.counts().joined == 1

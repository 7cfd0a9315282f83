"""What goes wrong between the log and the profiler: every distinct prediction is counted, once."""

from collections.abc import Callable

import pytest

from driftline.core.batch import Batch
from driftline.log.batch_format import encode_batch
from driftline.log.errors import OffsetConflict
from driftline.log.record import NewRecord
from driftline.workers import partition
from driftline.workers.partition import PartitionProfiler
from driftline.workers.up import read_clock
from tests.system.site import Site
from tests.workers.plant import (
    DAY,
    HOUR,
    MINUTE,
    MONDAY,
    SCHEMA,
    assert_equal,
    at,
    count_at_once,
    make_batch,
    make_reference,
    record_of,
)

REFERENCE = make_reference()


def check_counts(site: Site, batches: list[Batch], start: int = MONDAY) -> None:
    """What is counted is what one count of all batches gives, each id once."""
    distinct = {text for batch in batches for text in batch.ids}
    assert site.plant.windows()[start].row_count == len(distinct)
    assert_equal(site.plant.counted(start), count_at_once(REFERENCE, batches))


def make_batches(numbers: range, rows: int = 50) -> list[Batch]:
    """Batches of the first window; each has the second half of the one before it again."""
    return [make_batch(range(n * rows // 2, n * rows // 2 + rows), at(0.5), seed=n) for n in numbers]


def test_a_zombie_writes_nothing(site: Site) -> None:
    batches = make_batches(range(3))
    zombie = site.hire()
    site.send(batches[0])
    site.read(zombie)
    site.cut_off()
    successor = site.hire()
    site.send(batches[1])
    site.drain(successor)
    with pytest.raises(OffsetConflict):
        zombie.flush()
    site.send(batches[2])
    site.drain(successor)
    check_counts(site, batches)


def test_a_zombie_that_is_first_makes_its_successor_start_over(site: Site) -> None:
    batches = make_batches(range(2))
    zombie = site.hire()
    site.send(*batches)
    site.read(zombie)
    site.cut_off()
    successor = site.hire()
    site.read(successor)
    zombie.flush()
    with pytest.raises(OffsetConflict):
        successor.flush()
    assert not successor.has_pending
    site.drain(successor)
    check_counts(site, batches)


@pytest.mark.parametrize(
    "step", ["advance_offset", "write_samples", "add_dead_letters", "advance_partition_clock"]
)
def test_a_worker_joins_inside_the_flush_of_another(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The newcomer reads from the stored offset, what the flush will have counted; only one of them may."""
    batches = make_batches(range(4))
    first = site.hire()
    site.send(*batches[:2])
    site.read(first)
    joined: list[PartitionProfiler] = []
    original: Callable[..., object] = getattr(partition, step)

    def join(*arguments: object, **named: object) -> object:
        if not joined:
            site.cut_off()
            joined.append(site.hire())
            site.read(joined[0])
        return original(*arguments, **named)

    monkeypatch.setattr(partition, step, join)
    first.flush()
    (second,) = joined
    site.send(batches[2])
    with pytest.raises(OffsetConflict):
        second.flush()
    site.drain(second)
    site.send(batches[3])
    site.drain(second)
    check_counts(site, batches)


def test_a_worker_takes_over_before_the_flush_of_another_has_the_offset(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = make_batches(range(3))
    first = site.hire()
    site.send(batches[0])
    site.read(first)
    original, joined = partition.advance_offset, []

    def take_over(*arguments: object, **named: object) -> None:
        if not joined:
            site.cut_off()
            joined.append(site.hire())
            site.send(batches[1])
            site.drain(joined[0])
        original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(partition, "advance_offset", take_over)
    with pytest.raises(OffsetConflict):
        first.flush()
    site.send(batches[2])
    site.drain(joined[0])
    check_counts(site, batches)


def test_a_record_delivered_again_and_again_counts_once(site: Site) -> None:
    """By a producer without idempotence, in one read, after the flush, and to a worker that knows nothing yet."""
    batches = make_batches(range(3))
    worker = site.hire()
    site.send(batches[0], batches[0], *batches, batches[1])
    site.drain(worker)
    site.send(*batches)
    site.drain(worker)
    site.cut_off()
    successor = site.hire()
    site.send(*reversed(batches))
    site.drain(successor)
    check_counts(site, batches)
    assert site.plant.letters() == []


GOOD = make_batches(range(1))[0]
WHOLE = encode_batch(GOOD, SCHEMA)
POISON: dict[str, tuple[NewRecord, str]] = {
    "nothing": (NewRecord(b"fraud/3", b"", {"model": "fraud", "version": "3"}), "malformed_batch"),
    "no batch": (NewRecord(b"fraud/3", b"\xc1" * 99, {"model": "fraud", "version": "3"}), "malformed_batch"),
    "half a batch": (
        NewRecord(b"fraud/3", WHOLE[: len(WHOLE) // 2], {"model": "fraud", "version": "3"}),
        "malformed_batch",
    ),
    "a map that claims to be endless": (
        NewRecord(b"fraud/3", b"\xdf\xff\xff\xff\xff", {"model": "fraud", "version": "3"}),
        "malformed_batch",
    ),
    "arrays without end": (
        NewRecord(b"fraud/3", b"\x91" * 100_000, {"model": "fraud", "version": "3"}),
        "malformed_batch",
    ),
    "another version's": (
        record_of(make_batch(range(9), at(0.5), version="4")),
        "unknown_version",
    ),
    "headers that lie": (NewRecord(b"x", WHOLE, {"model": "nobody's", "version": "3"}), "unknown_version"),
    "no headers": (NewRecord(b"", WHOLE), "unknown_version"),
}


def test_poison_among_good_records(site: Site) -> None:
    batches = make_batches(range(len(POISON) + 1))
    worker = site.hire()
    site.send(batches[0])
    for batch, (poison, _) in zip(batches[1:], POISON.values(), strict=True):
        site.append(poison, record_of(batch))
    site.drain(worker)
    check_counts(site, batches)
    letters = site.plant.letters()
    assert [letter.reason_code for letter in letters] == [code for _, code in POISON.values()]
    assert [(letter.payload, letter.record_key) for letter in letters] == [
        (poison.payload, poison.key) for poison, _ in POISON.values()
    ]


def test_a_producer_whose_clock_is_a_day_ahead(site: Site) -> None:
    """Its predictions are dead letters; they close no window, and the others go on into the open one."""
    now = read_clock()
    start = now - now % HOUR
    recent = max(start, now - MINUTE)
    worker = site.hire()
    good = [make_batch(range(n * 100, n * 100 + 100), recent, seed=n) for n in range(2)]
    site.send(good[0], make_batch(range(1_000, 1_030), now + DAY), make_batch([1, 2_000], [recent, now + DAY]))
    site.drain(worker)
    site.plant.cycle()
    assert [window.closed_at for window in site.plant.windows().values()] == [None]
    site.send(good[1])
    site.drain(worker)
    site.plant.let_pass(2 * 3600)
    site.plant.cycle()
    assert site.plant.windows()[start].closed_at is not None
    check_counts(site, good, start)
    assert [(letter.reason_code, letter.rows) for letter in site.plant.letters()] == [
        ("timestamp_in_future", 30),
        ("timestamp_in_future", 1),
    ]


def test_a_monitor_whose_clock_is_a_day_ahead_closes_nothing_early(site: Site) -> None:
    now = read_clock()
    worker = site.hire()
    site.send(make_batch(range(100), now))
    site.drain(worker)
    site.plant.now = now + DAY
    site.plant.cycle()
    ((start, window),) = site.plant.windows().items()
    assert (window.row_count, window.closed_at) == (100, None)
    site.send(make_batch(range(50, 150), now, seed=1))
    site.drain(worker)
    site.plant.cycle()
    assert site.plant.windows()[start].row_count == 150

"""The register of the sample lake."""

from dataclasses import replace

from psycopg import Connection

from driftline.core.window import MICROSECONDS
from driftline.store.samples import (
    SampleFile,
    SampleStatus,
    find_registered,
    forget_samples,
    list_missing,
    list_samples,
    list_samples_before,
    mark_samples,
    register_samples,
)

HOUR = 3600 * MICROSECONDS


def file(first_offset: int, hour: int = 10, **changes: object) -> SampleFile:
    made = SampleFile(
        f"fraud/3/{first_offset}.parquet", "fraud", "3", "t", 0, first_offset, first_offset + 9, 30,
        hour * HOUR, hour * HOUR + HOUR // 2, SampleStatus.PROFILED, 4096,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def paths(files: list[SampleFile]) -> list[int]:
    return [found.first_offset for found in files]


def test_registered_files_are_listed_in_the_order_of_the_log(conn: Connection) -> None:
    register_samples(conn, [file(20, 11), file(0), file(10, model_version="4")])
    listed = list_samples(conn, "fraud", "3")
    assert [replace(found, created_at=0) for found in listed] == [file(0), file(20, 11)]
    assert all(isinstance(found.status, SampleStatus) for found in listed)
    assert all(found.created_at > 0 for found in listed)


def test_by_time(conn: Connection) -> None:
    register_samples(conn, [file(0, 10), file(10, 11), file(20, 12)])
    assert paths(list_samples(conn, "fraud", "3", since=11 * HOUR, until=12 * HOUR)) == [10]
    assert paths(list_samples(conn, "fraud", "3", since=10 * HOUR + HOUR // 2)) == [0, 10, 20]
    assert paths(list_samples(conn, "fraud", "3", until=10 * HOUR)) == []


def test_kept_until_the_reference_comes(conn: Connection) -> None:
    waiting = [file(0, status=SampleStatus.NO_REFERENCE), file(10, status=SampleStatus.NO_REFERENCE)]
    register_samples(conn, [*waiting, file(20)])
    assert paths(list_samples(conn, "fraud", "3", status=SampleStatus.NO_REFERENCE)) == [0, 10]
    mark_samples(conn, [waiting[0].path], SampleStatus.PROFILED)
    assert paths(list_samples(conn, "fraud", "3", status=SampleStatus.NO_REFERENCE)) == [10]
    assert paths(list_samples(conn, "fraud", "3", status=SampleStatus.PROFILED)) == [0, 20]


def test_missing_files_wait_for_nothing_but_the_lake(conn: Connection) -> None:
    register_samples(conn, [file(first, status=SampleStatus.NO_REFERENCE) for first in (0, 10, 20)])
    mark_samples(conn, [file(0).path, file(20).path], SampleStatus.MISSING)
    assert sorted(paths(list_missing(conn, "t", 0))) == [0, 20]
    assert list_missing(conn, "t", 1) == []
    assert len(list_missing(conn, "t", 0, limit=1)) == 1


def test_registered_again_replaces(conn: Connection) -> None:
    register_samples(conn, [file(0)])
    register_samples(conn, [file(0, row_count=31, last_offset=12, bytes=5)])
    (found,) = list_samples(conn, "fraud", "3")
    assert (found.row_count, found.last_offset, found.bytes) == (31, 12, 5)


def test_orphans_are_the_paths_not_registered(conn: Connection) -> None:
    register_samples(conn, [file(0)])
    assert find_registered(conn, [file(0).path, "orphan.parquet"]) == {file(0).path}
    assert find_registered(conn, []) == set()


def test_old_files_are_listed_then_forgotten(conn: Connection) -> None:
    register_samples(conn, [file(0), file(10)])
    (oldest, newest) = list_samples(conn, "fraud", "3")
    assert list_samples_before(conn, oldest.created_at) == []
    assert list_samples_before(conn, newest.created_at + 1, limit=1) == [oldest]
    assert forget_samples(conn, [oldest.path]) == [oldest]
    assert list_samples(conn, "fraud", "3") == [newest]

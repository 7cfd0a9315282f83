"""A local command: an argument list from the settings, run without a shell, and stopped with all it started.

The command gets the request as JSON on standard input and in its environment. It runs under a guard process, which
ends the command's process group when its time is over, when the command itself ends, or when this process dies.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.notify.secret import Secret, scrub
from driftline.notify.text import clean_line, cut

PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""Variables that every command gets; others only where the settings name them, since some hold credentials."""
_MOST_VARIABLE = 100_000  # of bytes; Linux takes 128 KiB
_MOST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: an absolute path or a name in PATH, and its arguments; `environment` names what it is given."""

    argv: tuple[str, ...]
    time_out_s: float
    folder: Path | None = None
    environment: tuple[str, ...] = ()


def make_environment(command: Command, request: Request, environ: Mapping[str, str]) -> dict[str, str]:
    """Make the variables of a command; the request itself is left out where it is too long for one.

    >>> from driftline.notify.secret import Secret
    >>> request = Request("r1", {"model_id": "fraud"}, Secret("t"))
    >>> made = make_environment(Command(("train",), 60), request, {"PATH": "/bin", "DATABASE_URL": "secret"})
    >>> made["DRIFTLINE_RUN_ID"], "DATABASE_URL" in made
    ('r1', False)
    """
    content = request.write()
    body = request.encode().decode()
    named = {name: environ[name] for name in (*PASSED_ON, *command.environment) if name in environ}
    ours = {
        "RUN_ID": request.run_id,
        "ACTION": content.get("action"),
        "MODEL_ID": content.get("model_id"),
        "MODEL_VERSION": content.get("model_version"),
        "REASON": content.get("reason"),
        "CALLBACK_URL": content["callback"].get("url"),
        "CALLBACK_TOKEN": request.token.reveal(),
        "REQUEST": body if len(body.encode()) <= _MOST_VARIABLE else None,
    }
    return named | {f"DRIFTLINE_{name}": str(value).replace("\0", "") for name, value in ours.items() if value}


class RunningCommand:
    """A command that runs. Not to be shared between threads."""

    def __init__(self, command: Command, request: Request, environ: Mapping[str, str]) -> None:
        passed_on = {environ[name] for name in command.environment if name not in PASSED_ON and name in environ}
        self._secrets = [request.token, *map(Secret, passed_on)]
        guard = files("driftline.actions").joinpath("command_guard.py")
        order = {
            "argv": command.argv,
            "folder": None if command.folder is None else str(command.folder),
            "environment": make_environment(command, request, environ),
            "input": request.encode().decode(),
            "time_out_s": command.time_out_s,
        }
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(guard)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which then ends the guard
        )
        self._said = b""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        assert self._guard.stdin is not None
        self._guard.stdin.write(json.dumps(order).encode() + b"\n")
        self._guard.stdin.flush()  # it stays open: when it closes, the guard ends the command

    @property
    def name(self) -> str:
        """What the run is called."""
        return f"{os.uname().nodename}:{self._guard.pid}"

    def poll(self, wait_s: float = 0.0) -> Progress | None:
        """Tell how the command ended; None while it runs, after having waited for at most `wait_s`."""
        self._reading.join(wait_s)
        if self._reading.is_alive():
            return None
        self._close()
        return self._describe()

    def stop(self) -> None:
        """End the command and all that it started, and wait until they are gone."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._reading.join()
        self._close()

    def _read(self) -> None:
        """Read the number of the command's process group, then how it ended; kill it if the guard was killed."""
        assert self._guard.stdout is not None
        group = self._guard.stdout.readline()
        self._said = self._guard.stdout.read()
        if group.strip().isdigit() and self._guard.wait() < 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(group), signal.SIGKILL)

    def _close(self) -> None:
        with self._guard:  # waits for it, and closes what it was connected by
            pass

    def _describe(self) -> Progress:
        try:
            end: dict[str, Any] = json.loads(self._said)
        except ValueError:
            return Progress(State.FAILED, self.name, "the command's guard died")
        output = cut(clean_line(scrub(str(end["output"]), self._secrets)), _MOST_DETAIL)
        said = f"; it said: {output}" if output else ""
        if end["why"]:
            return Progress(State.FAILED, self.name, f"{end['why']}{said}")
        if end["code"]:
            return Progress(State.FAILED, self.name, f"the command ended with exit code {end['code']}{said}")
        return Progress(State.SUCCEEDED, self.name, output)

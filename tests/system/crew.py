"""Workers, each in a process of its own, that are killed and started again."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_S = 120.0
_LOOK_S = 0.1
_SHOWN = 1_500


class Worker:
    """`driftline worker NAME` with the settings of an environment; what it says goes to a file."""

    def __init__(self, name: str, number: int, environment: Mapping[str, str], folder: Path) -> None:
        self.name = f"{name} {number}"
        self._command = [sys.executable, "-m", "driftline", "worker", name]
        self._environment, self._folder = dict(environment), folder
        self._file = folder / f"{name}-{number}.log"
        self.process = self._start()

    @property
    def runs(self) -> bool:
        """Whether it has said that it runs since it was last started."""
        return b" runs" in self._file.read_bytes()[self._said_before :]

    def kill(self) -> None:
        """End it in the middle of whatever it does, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Start it again."""
        self.process = self._start()

    def finish(self) -> None:
        """Wait until it has ended as it was asked to."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {PATIENCE_S:.0f} s:\n{self.said()}") from None
        assert code == 0, f"{self.name} ended with {code}:\n{self.said()}"

    def said(self) -> str:
        """The end of what it said."""
        return self._file.read_text(errors="replace")[-_SHOWN:]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._file.open("ab") as file:
            self._said_before = file.tell()
            return subprocess.Popen(
                self._command, env=self._environment, stdout=file, stderr=file, cwd=self._folder
            )


class Crew:
    """Some workers of each name. They are killed by chance, with a fixed seed."""

    def __init__(self, names: Sequence[str], settings: Mapping[str, str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        ours = ("DRIFTLINE_", "DATABASE_URL")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.workers = [
            Worker(name, number, clean | dict(settings), folder) for number, name in enumerate(names, 1)
        ]
        self._chance = random.Random(7)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.stop()
        finally:
            for worker in self.workers:
                worker.kill()

    def stop(self) -> None:
        """Let all finish, at the same time; none may have ended by itself."""
        self.await_all()
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.finish()

    def await_all(self) -> None:
        """Wait until all have started."""
        self.await_true(lambda: all(worker.runs for worker in self.workers), "starting")

    def check(self) -> None:
        """See that all run: what goes wrong outside must not end a worker."""
        for worker in self.workers:
            code = worker.process.poll()
            assert code is None, f"{worker.name} ended by itself, with {code}:\n{worker.said()}"

    def kill_one(self) -> None:
        """Kill one of them, and start it again after a moment of nobody doing its work."""
        worker = self._chance.choice(self.workers)
        worker.kill()
        time.sleep(self._chance.random())
        worker.start()

    def pause(self, longest_s: float) -> None:
        """Let them work for a random time."""
        time.sleep(self._chance.random() * longest_s)

    def await_true(self, condition: Callable[[], bool], what: str, state: Callable[[], object] = str) -> None:
        """Wait until a condition holds; when it never does, say how it stands and what the workers said."""

        def holds() -> bool:
            self.check()
            return condition()

        def tell() -> str:
            return "\n".join([str(state()), *(f"--- {worker.name}\n{worker.said()}" for worker in self.workers)])

        await_true(holds, what, tell)


def await_true(condition: Callable[[], bool], what: str, state: Callable[[], object] = str) -> None:
    """Wait until a condition holds; fails in time, with what was awaited and how it stands."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} took longer than {PATIENCE_S:.0f} s: {state()}")
        time.sleep(_LOOK_S)

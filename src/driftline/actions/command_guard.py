"""Run one command and see to its end: a program of its own, so that it lives on when the worker is killed.

The first line of standard input is the order, as JSON; when standard input ends, the worker is gone, and the
command is ended. Standard output gets two lines: the number of the command's process group, empty where it cannot
be run, and a JSON object: the exit code, why the command was ended if it was, and the end of what it said.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_GRACE_S = 5.0
_LISTEN_S = 1.0  # to what was said last; somebody outside the group may hold the pipe for ever
_KEPT = 2000  # bytes of what it said last


def main() -> None:
    """Run the command of the order."""
    order = json.loads(sys.stdin.buffer.readline())
    try:
        process = subprocess.Popen(
            order["argv"],
            cwd=order["folder"],
            env=order["environment"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_follow_guard if sys.platform == "linux" else None,  # noqa: PLW1509 there are no threads yet
        )
    except OSError as error:
        _report_group("")
        _say(1, f"the command cannot be run: {error.strerror} ({error.filename or order['argv'][0]})", b"")
        return
    _report_group(str(process.pid))
    said = bytearray()
    _begin(lambda: _feed(process, order["input"]))
    _begin(lambda: _watch(process))
    listening = _begin(lambda: _listen(process, said))
    why = ""
    try:
        code = process.wait(order["time_out_s"])
    except subprocess.TimeoutExpired:
        why = f"the command was ended after {order['time_out_s']:g} s (time_out)"
        _end_group(process)
        code = process.wait()
    _signal_group(process, signal.SIGKILL)  # what it has left behind
    listening.join(_LISTEN_S)
    _say(code, why, bytes(said))


def _follow_guard() -> None:
    """Have this process, the command to be, killed when the guard dies, also where no worker is left to do so."""
    with contextlib.suppress(OSError, AttributeError):  # without it, a worker that lives kills the group
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _report_group(number: str) -> None:
    with contextlib.suppress(OSError):  # the worker is gone: the command is ended at once
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def _begin(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _feed(process: "subprocess.Popen[bytes]", content: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it need not read it
        process.stdin.write(content.encode())
        process.stdin.close()


def _listen(process: "subprocess.Popen[bytes]", said: bytearray) -> None:
    assert process.stdout is not None
    while block := os.read(process.stdout.fileno(), 65_536):
        said += block
        del said[:-_KEPT]


def _watch(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the worker is gone, or wants the command to end."""
    while sys.stdin.buffer.read(1):
        pass
    _end_group(process)
    os._exit(1)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _say(code: int, why: str, said: bytes) -> None:
    end = {"code": code, "why": why, "output": said.decode("utf-8", "replace")}
    sys.stdout.write(json.dumps(end))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

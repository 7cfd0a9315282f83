"""Real processes: early exits, forks, preloading servers; each row arrives once."""

import os
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

from driftline.log.batch_format import decode_batch
from tests.sdk.conftest import SCHEMA

PREAMBLE = """
import os, sys
import driftline
monitor = driftline.Monitor("fraud", "3", flush_interval_s=60)
ROW = {"amount": 1.0, "country": "DE"}

def log(prediction=1):
    os.write(1, f"{monitor.log(ROW, prediction)}\\n".encode())  # whole lines, whoever else is writing
"""
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def run(stub, code, *, flags=()):
    """Run a program that logs to the stub; gives what it printed."""
    found = subprocess.run(
        [sys.executable, *flags, "-c", PREAMBLE + textwrap.dedent(code)],
        env=os.environ | {"DRIFTLINE_URL": stub.url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


def arrived(stub):
    return Counter(prediction_id for post in stub.posts() for prediction_id in decode_batch(post.body, SCHEMA).ids)


def test_a_process_that_exits_right_after_one_log_delivers_it(stub):
    (prediction_id,) = run(stub, "log()")
    assert arrived(stub) == {prediction_id: 1}


def test_so_does_one_that_exits_by_sys_exit_or_an_exception(stub):
    made = run(stub, "log(); sys.exit(0)")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(stub, "log(); 1 / 0")
    assert len(arrived(stub)) == 2
    assert set(made) <= arrived(stub).keys()


def test_a_process_ends_in_time_when_the_server_is_away(stub):
    code = """
    import time
    from driftline import Monitor
    lost = Monitor("fraud", "3", url="http://127.0.0.1:9", schema={"features": []}, exit_s=0.5)
    lost.log({}, 1)
    """
    assert run(stub, code) == []


def test_a_process_that_never_logs_starts_no_thread_and_sends_nothing(stub):
    assert run(stub, "import threading; print(threading.active_count())") == ["1"]
    assert not stub.requests


@forks
def test_a_forked_child_sends_its_own_rows_and_not_its_parent_s(stub):
    made = run(
        stub,
        """
        log()
        child = os.fork()
        log(0)
        if child:
            os.waitpid(child, 0)
        """,
        flags=["-W", "ignore::DeprecationWarning"],
    )
    assert arrived(stub) == Counter(made)
    assert len(set(made)) == 3


@forks
def test_workers_of_a_preloading_server_each_send_their_own(stub):
    made = run(
        stub,
        """
        children = []
        for worker in range(4):
            child = os.fork()
            if not child:
                for _ in range(5):
                    log()
                sys.exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        assert monitor.counts.kept == 0
        """,
    )
    assert len(made) == 20
    assert arrived(stub) == Counter(made)


@pytest.mark.parametrize("method", [pytest.param("fork", marks=forks), "spawn"])
def test_children_of_multiprocessing_deliver_before_they_end(stub, tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(
        PREAMBLE
        + textwrap.dedent(f"""
        import multiprocessing

        def work(place):
            log(place)

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            workers = [context.Process(target=work, args=(place,)) for place in range(3)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        """)
    )
    environment = os.environ | {"DRIFTLINE_URL": stub.url}
    found = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert len(found.stdout.split()) == 3
    assert arrived(stub) == Counter(found.stdout.split())


@forks
def test_a_closed_monitor_stays_closed_in_a_child(stub):
    code = """
    monitor.log(ROW, 1)
    monitor.close()
    if not os.fork():
        monitor.log(ROW, 1)
        assert monitor.counts.failed == 1, monitor.counts
    """
    run(stub, code)
    assert sum(arrived(stub).values()) == 1

"""The command as a whole: what it says when something is wrong, and with which exit code."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

COMMAND = [sys.executable, "-m", "driftline"]


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", ["up", "migrate"])
def test_a_database_that_does_not_answer_is_an_error_of_one_line(command, tmp_path):
    done = run(command, cwd=tmp_path, DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/none")
    assert done.returncode == 2
    assert "check DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_migrating_needs_a_database(tmp_path):
    done = run("migrate", cwd=tmp_path, DATABASE_URL="")
    assert done.returncode == 2
    assert "there is no DATABASE_URL to migrate" in done.stderr


def test_migrating_twice_finds_nothing_to_do(tmp_path, database_url):
    done = run("migrate", cwd=tmp_path, DATABASE_URL=url_of(database_url))
    assert (done.returncode, done.stdout) == (0, "the tables are up to date\n")


def test_a_wrong_setting_is_named(tmp_path):
    (tmp_path / "driftline.toml").write_text("max_body = 3\n")
    done = run("up", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean max_body_mb?" in done.stderr


def test_up_serves_until_it_is_told_to_stop(tmp_path, database_url):
    process = start_up(tmp_path, database_url, "--port", "0")
    try:
        url = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_named(tmp_path, database_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port), cwd=tmp_path, DATABASE_URL=url_of(database_url))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


def start_up(cwd, database_url, *arguments):
    return subprocess.Popen(
        [*COMMAND, "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env={**os.environ, "DATABASE_URL": url_of(database_url)},
    )


def url_of(conninfo):
    """Write a conninfo of the embedded server as the URL that the settings want."""
    from urllib.parse import quote, urlencode

    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(conninfo)
    query = urlencode(
        {name: value for name, value in parts.items() if name not in ("dbname", "user")}, quote_via=quote
    )
    return f"postgresql://{parts['user']}@/{parts['dbname']}?{query}"

"""E-mail against a local SMTP server."""

import socket

import pytest
from hypothesis import given, settings

from driftline.core.notice import Kind
from driftline.notify.delivery import Result
from driftline.notify.email import Email, payload, send
from driftline.notify.secret import Secret
from tests.notify.notices import make_huge, make_notice, notices
from tests.notify.smtp import run_mailbox

PASSWORD = "pa55word-0123"


def email_at(port: int, **changes) -> Email:
    return Email(
        "127.0.0.1",
        "driftline@example.com",
        ("ana@example.com", "ben@example.com"),
        port,
        starttls=False,
        **changes,
    )


def test_the_mails_of_an_alert_are_a_thread():
    with run_mailbox() as mailbox:
        email = email_at(mailbox.port, user="bot", password=Secret(PASSWORD))
        ends = [send(email, make_notice(kind=kind), delivery_id=str(n)) for n, kind in enumerate(Kind)]
    assert {(end.result, end.detail) for end in ends} == {(Result.SENT, "")}
    assert len({mail["References"] for mail in mailbox.mails}) == 1
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 4
    assert [mail["Subject"].split(":")[0] for mail in mailbox.mails] == [
        "CRITICAL",
        "CRITICAL, update",
        "Acknowledged",
        "Resolved",
    ]
    text = mailbox.mails[0].get_body(("plain",)).get_content()
    assert "amount: psi 0.417 (threshold 0.2)" in text
    assert "Runbook: https://wiki.example.com/fraud-drift" in text
    assert any(command.startswith("rcpt TO:<ben@example.com>") for command in mailbox.commands)


def test_a_huge_mail_is_taken_and_escaped():
    with run_mailbox() as mailbox:
        assert send(email_at(mailbox.port), make_huge(), delivery_id="1").result == Result.SENT
    html = mailbox.mails[0].get_body(("html",)).get_content()
    assert "&lt;&amp;&gt;" in html
    assert "<&>" not in html


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        ("MAIL", "451 try later", Result.RETRY),
        ("MAIL", "550 no", Result.REFUSED),
        ("RCPT", "450 busy", Result.RETRY),
        ("RCPT", "550 no such user", Result.REFUSED),
        ("AUTH", f"535 bad password {PASSWORD}", Result.REFUSED),
        ("END", "452 full", Result.RETRY),
        ("END", "554 spam", Result.REFUSED),
        ("DATA", "", Result.RETRY),
        ("END", "", Result.RETRY),
        ("EHLO", "", Result.RETRY),
    ],
)
def test_bad_days(command, answer, expected):
    with run_mailbox() as mailbox:
        mailbox.replies = {command: answer}
        email = email_at(mailbox.port, user="bot", password=Secret(PASSWORD))
        end = send(email, make_notice(), delivery_id="1")
    assert end.result == expected
    assert end.maybe_taken == ((command, answer) in (("DATA", ""), ("END", "")))
    assert end.detail
    assert PASSWORD not in repr(end)


def test_no_server_and_no_tls():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert send(email_at(port), make_notice(), delivery_id="1").result == Result.RETRY
    with run_mailbox() as mailbox:
        secure = Email("127.0.0.1", "driftline@example.com", ("ana@example.com",), mailbox.port)
        end = send(secure, make_notice(), delivery_id="1")
    assert (end.result, end.detail) == (Result.REFUSED, "STARTTLS extension not supported by server.")
    assert not mailbox.mails


@given(notices)
@settings(max_examples=50)
def test_every_notice_is_a_mail(notice):
    written = payload(notice, email_at(25), delivery_id="1").as_bytes()
    assert max(map(len, written.split(b"\r\n"))) <= 998

"""E-mail through an SMTP server: plain text and HTML, the mails of one alert in one thread."""

import hashlib
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

from driftline.core.notice import Kind, Notice
from driftline.notify.delivery import Delivery, Result
from driftline.notify.secret import Secret, scrub
from driftline.notify.text import clean, clean_line, cut, list_breaches, list_facts, list_links

_SILENT_S = 10.0
_MOST_SUBJECT, _MOST_TEXT, _MOST_DETAIL, _MOST_BREACHES = 200, 20_000, 500, 100
_WORDS = {
    Kind.TRIGGER: "{}",
    Kind.UPDATE: "{}, update",
    Kind.ACKNOWLEDGE: "Acknowledged",
    Kind.RESOLVE: "Resolved",
}


@dataclass(frozen=True, slots=True)
class Email:
    """Who is written to, and the server that takes the mail. TLS is required unless `starttls` is switched off."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int = 587
    user: str = ""
    password: Secret | None = None
    starttls: bool = True


def payload(notice: Notice, email: Email, *, delivery_id: str) -> EmailMessage:
    """Make the mail. Its Message-ID is the same in every attempt; all mails of an alert refer to the thread's.

    >>> from driftline.core.rules import Severity
    >>> email = Email("localhost", "driftline@example.com", ("ana@example.com",))
    >>> notice = Notice(Kind.RESOLVE, Severity.HIGH, "m", "1", "drift", "", "k", 0)
    >>> payload(notice, email, delivery_id="7")["Subject"]
    'Resolved: drift'
    """
    domain = email.sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"] = email.sender
    message["To"] = ", ".join(email.recipients)
    words = _WORDS[notice.kind].format(notice.severity)
    message["Subject"] = cut(f"{words}: {clean_line(notice.title)}", _MOST_SUBJECT)
    message["Message-ID"] = f"<{_digest(delivery_id)}@{domain}>"
    message["References"] = f"<{_digest(notice.dedup_key)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # no replies from those who are on holiday (RFC 3834)
    message.set_content(_write_plain(notice))
    message.add_alternative(_write_html(notice), subtype="html")
    return message


def send(email: Email, notice: Notice, *, delivery_id: str) -> Delivery:
    """Send a notice. A mail sent twice is seen twice, unless the mailbox drops one by its Message-ID."""
    message = payload(notice, email, delivery_id=delivery_id)
    secrets = [email.password] if email.password else []
    begun = False
    try:
        with _connect(email) as server:
            begun = True
            refused = server.send_message(message, email.sender, list(email.recipients))
    except smtplib.SMTPRecipientsRefused as error:
        passing = all(400 <= code < 500 for code, _ in error.recipients.values())
        return Delivery(Result.RETRY if passing else Result.REFUSED, _explain(str(error.recipients), secrets))
    except smtplib.SMTPResponseException as error:
        passing = 400 <= error.smtp_code < 500 or error.smtp_code <= 0
        words = f"SMTP {error.smtp_code}: {_decode(error.smtp_error)}"
        return Delivery(Result.RETRY if passing else Result.REFUSED, _explain(words, secrets))
    except smtplib.SMTPNotSupportedError as error:
        return Delivery(Result.REFUSED, _explain(str(error), secrets))
    except (smtplib.SMTPException, OSError) as error:
        words = _explain(f"no answer: {type(error).__name__} {error}", secrets)
        return Delivery(Result.RETRY, words, maybe_taken=begun)
    return Delivery(
        Result.SENT, _explain(f"not taken for {refused}", secrets) if refused else "", reference=delivery_id
    )


def _connect(email: Email) -> smtplib.SMTP:
    server = smtplib.SMTP(email.host, email.port, timeout=_SILENT_S)
    try:
        if email.starttls:
            server.starttls(context=ssl.create_default_context())
        if email.password:
            server.login(email.user, email.password.reveal())
    except BaseException:
        server.close()
        raise
    return server


def _write_plain(notice: Notice) -> str:
    facts = "\n".join(f"{name}: {value}" for name, value in list_facts(notice))
    links = "\n".join(f"{text}: {address}" for text, address in list_links(notice))
    blocks = [clean(notice.summary).strip(), "\n".join(list_breaches(notice, _MOST_BREACHES)), facts, links]
    return cut("\n\n".join(block for block in blocks if block), _MOST_TEXT) + "\n"


def _write_html(notice: Notice) -> str:
    summary = escape(cut(clean(notice.summary).strip(), _MOST_TEXT)).replace("\n", "<br>\n")
    breaches = "\n".join(f"<li>{escape(cut(line, 200))}</li>" for line in list_breaches(notice, _MOST_BREACHES))
    facts = "\n".join(
        f"<tr><th>{name}</th><td>{escape(cut(value, 500))}</td></tr>" for name, value in list_facts(notice)
    )
    links = "\n".join(f'<p><a href="{escape(address)}">{text}</a></p>' for text, address in list_links(notice))
    return f"<p>{summary}</p>\n<ul>\n{breaches}\n</ul>\n<table>\n{facts}\n</table>\n{links}\n"


def _digest(text: str) -> str:
    return "driftline." + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _decode(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words


def _explain(words: str, secrets: list[Secret]) -> str:
    return cut(clean_line(scrub(words, secrets)), _MOST_DETAIL)

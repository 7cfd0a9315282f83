"""A local SMTP server: enough of RFC 5321 to take a mail, to refuse one, and to go away."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default


@dataclass
class Mailbox:
    """`replies` gives for a command what is answered instead; "" hangs up."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)


ANSWERS = {"EHLO": "250-local\r\n250 AUTH PLAIN", "AUTH": "235 ok", "DATA": "354 go on", "QUIT": "221 bye"}


@contextmanager
def run_mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 local\r\n")
            while line := self.rfile.readline().decode().strip():
                mailbox.commands.append(line)
                command = line.split(":")[0].split(" ")[0].upper()
                answer = mailbox.replies.get(command, ANSWERS.get(command, "250 ok"))
                if not answer:
                    return
                self.wfile.write(f"{answer}\r\n".encode())
                if answer.startswith("354") and not self.take():
                    return
                if command == "QUIT":
                    return

        def take(self) -> bool:
            lines = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
                assert len(line) <= 1000, "RFC 5321 allows 1,000 bytes a line"
            answer = mailbox.replies.get("END", "250 taken")
            if answer:
                mailbox.mails.append(message_from_bytes(b"".join(lines), policy=default))
                self.wfile.write(f"{answer}\r\n".encode())
            return bool(answer)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        mailbox.port = server.server_address[1]
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join()

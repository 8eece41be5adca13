"""Sends notifications as mail, by the operator's SMTP server."""

from __future__ import annotations

import asyncio
import hashlib
import html
import smtplib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from services.budget.domain.delivery import EXCERPT_CHARACTERS, DeliveryAttempt
from services.budget.domain.notification import Notification
from services.kernel.clock import Clock, SystemClock

SMTP_SECONDS = 15.0  # for each answer of the server
# For the whole mail, its turn for a thread included. Shorter than the lease of a delivery: whoever
# takes a mail over when that ends never sends it beside the one who still does.
MAIL_SECONDS = 75.0
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
SCHEMES = tuple(_PORTS)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails go. url: `smtp[s]://[user:password@]host[:port]` or `smtp+starttls://…`."""

    url: str
    sender: str


class MailSender:
    """Sends one mail a call."""

    def __init__(
        self,
        server: MailServer | None,
        *,
        clock: Clock | None = None,
        mail_seconds: float = MAIL_SECONDS,
    ) -> None:
        """server: None where the operator has none; then every attempt fails and says so.

        mail_seconds: after which an attempt is cut, however the server keeps it busy.
        """
        self._server = server
        self._clock = clock or SystemClock()
        self._mail_seconds = mail_seconds

    async def send(
        self,
        addresses: Sequence[str],
        notification: Notification,
        *,
        message_id: str,
        created_at: datetime,
    ) -> DeliveryAttempt:
        """Makes one attempt; whatever goes wrong is in what it returns."""
        began_at = self._clock.now()
        loop = asyncio.get_running_loop()
        began = loop.time()
        reply, error = "", ""
        if self._server is None:
            error = "this server sends no mail; set FINOPS_SMTP_URL and FINOPS_MAIL_SENDER"
        else:
            mail = mail_of(
                notification,
                sender=self._server.sender,
                addresses=addresses,
                message_id=message_id,
                created_at=created_at,
            )
            ends = time.monotonic() + self._mail_seconds
            try:
                reply = await asyncio.to_thread(_send, self._server, addresses, mail, ends)
            except (smtplib.SMTPException, OSError) as failed:
                error = f"{type(failed).__name__}: {failed}"[:EXCERPT_CHARACTERS]
        return DeliveryAttempt(
            attempted_at=began_at,
            latency=timedelta(seconds=loop.time() - began),
            response_excerpt=reply[:EXCERPT_CHARACTERS],
            response_digest=hashlib.sha256(reply.encode()).hexdigest() if reply else "",
            error=error,
        )


def mail_of(
    notification: Notification,
    *,
    sender: str,
    addresses: Sequence[str],
    message_id: str,
    created_at: datetime,
) -> EmailMessage:
    """Returns the mail. Its Message-ID is the delivery's, so that a repeat can be told."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(notification.title.split())
    mail["From"] = sender
    mail["To"] = ", ".join(addresses)
    mail["Date"] = format_datetime(created_at)
    mail["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2].strip('>')}>"
    mail["X-FinOps-Message-Id"] = message_id
    mail["X-FinOps-Event-Type"] = notification.event_type
    mail["Auto-Submitted"] = "auto-generated"
    text = notification.text_body or notification.title
    if notification.link:
        text += f"\n\n{notification.link}"
    mail.set_content(text)
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in text.splitlines() if line)
    mail.add_alternative(notification.html_body or paragraphs, subtype="html")
    for attachment in notification.attachments:
        main, _, sub = attachment.content_type.partition("/")
        mail.add_attachment(
            attachment.content,
            maintype=main or "application",
            subtype=sub.partition(";")[0] or "octet-stream",
            filename=attachment.filename,
        )
    return mail


def _send(server: MailServer, addresses: Sequence[str], mail: EmailMessage, ends: float) -> str:
    """Returns the server's reply to the mail. Raises SMTPException, OSError.

    ends: when it is cut, in seconds of the monotonic clock.
    """
    parts = urlsplit(server.url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    client = kind(host, port, timeout=min(SMTP_SECONDS, _left(ends)))
    with _open_until(client, ends):
        if parts.scheme == "smtp+starttls":
            client.starttls()
        if parts.username:
            client.login(unquote(parts.username), unquote(parts.password or ""))
        client.ehlo_or_helo_if_needed()
        client.mail(server.sender.rpartition("<")[2].rstrip(">"))
        refused = {}
        for address in addresses:
            code, answer = client.rcpt(address)
            if code not in (250, 251):
                refused[address] = (code, answer)
        if refused:
            # All or none: sending to the others now would send to them again with every repeat.
            raise smtplib.SMTPRecipientsRefused(refused)
        code, answer = client.data(mail.as_bytes(policy=SMTP))
        if code != 250:  # noqa: PLR2004 - RFC 5321: requested mail action okay
            raise smtplib.SMTPDataError(code, answer)
        return f"{code} {answer.decode(errors='replace')}"


def _left(ends: float) -> float:
    """Returns the seconds that are left. Raises TimeoutError when none are."""
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the mail server did not take the mail in time")
    return left


@contextmanager
def _open_until(client: smtplib.SMTP, ends: float) -> Iterator[None]:
    """Closes the connection, at an instant at the latest.

    A server that answers by single bytes meets no timeout. However it takes the farewell, the mail
    was taken before.
    """
    try:
        timer = threading.Timer(_left(ends), _cut, [client])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            with suppress(smtplib.SMTPException, OSError):
                client.quit()
            timer.cancel()
    finally:
        client.close()


def _cut(client: smtplib.SMTP) -> None:
    if client.sock is not None:
        with suppress(OSError):
            client.sock.shutdown(socket.SHUT_RDWR)

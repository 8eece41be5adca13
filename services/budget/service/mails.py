"""Sends notifications as mail, by the operator's SMTP server."""

from __future__ import annotations

import asyncio
import hashlib
import html
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from services.budget.domain.delivery import EXCERPT_CHARACTERS, DeliveryAttempt
from services.budget.domain.notification import Notification
from services.kernel.clock import Clock, SystemClock

SMTP_SECONDS = 15.0
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
SCHEMES = tuple(_PORTS)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails go. url: `smtp[s]://[user:password@]host[:port]` or `smtp+starttls://…`."""

    url: str
    sender: str


class MailSender:
    """Sends one mail a call."""

    def __init__(self, server: MailServer | None, *, clock: Clock | None = None) -> None:
        """server: None where the operator has none; then every attempt fails and says so."""
        self._server = server
        self._clock = clock or SystemClock()

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
            try:
                reply = await asyncio.to_thread(_send, self._server, addresses, mail)
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


def _send(server: MailServer, addresses: Sequence[str], mail: EmailMessage) -> str:
    """Returns the server's reply to the mail. Raises SMTPException, OSError."""
    parts = urlsplit(server.url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    with kind(host, port, timeout=SMTP_SECONDS) as client:
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

"""Sends notifications to Slack, Teams, PagerDuty and the rest, by Apprise."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import apprise
from apprise import NotifyBase

from services.budget.domain.alert_errors import InvalidChannel
from services.budget.domain.channel import ChannelKind
from services.budget.domain.delivery import EXCERPT_CHARACTERS, DeliveryAttempt
from services.budget.domain.egress import EgressPolicy
from services.budget.domain.notification import Notification
from services.budget.domain.threshold import Severity
from services.budget.service.egress import watched
from services.kernel.clock import Clock, SystemClock

SEND_SECONDS = 30.0  # Apprise's own timeouts are 4 s a connection and 4 s an answer
# Which of Apprise's services a channel of a kind may use.
_SERVICES = {
    ChannelKind.SLACK: ("slack",),
    ChannelKind.TEAMS: ("msteams", "workflow", "workflows"),
    ChannelKind.PAGERDUTY: ("pagerduty",),
}
# These act on this machine, or send mail past the operator's server.
_REFUSED = frozenset(
    [
        "blink1",
        "dbus",
        "glib",
        "gnome",
        "kde",
        "macosx",
        "qt",
        "rsyslog",
        "syslog",
        "windows",
        "mailto",
        "mailtos",
    ]
)
_KINDS = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}
_STATUS = re.compile(r"error[= ](\d{3})\b")
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")


def _load_services() -> None:
    """Imports Apprise's hundred services now, so that the first alert does not wait for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of modules that Python will drop
        apprise.Apprise.instantiate("json://localhost")


_load_services()


def apprise_service(kind: ChannelKind, address: str) -> NotifyBase:
    """Returns Apprise's sender of an address. Raises InvalidChannel.

    address: an Apprise URL or, for Slack and Teams, the service's own webhook URL; for PagerDuty
    the integration key alone will do.
    """
    if kind is ChannelKind.PAGERDUTY and _KEY.fullmatch(address):
        # Events need the integration key only; Apprise asks for an API key besides.
        address = f"pagerduty://{address}@{address}"
    with _log_lines():
        made = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if not isinstance(made, NotifyBase):
        raise InvalidChannel(
            "address: it is not a URL that Apprise knows; see its list of services",
            field="address",
        )
    schemas = _schemas(made)
    allowed = _SERVICES.get(kind)
    if schemas & _REFUSED or (allowed is not None and not schemas & set(allowed)):
        raise InvalidChannel(
            f"address: a {kind.value} channel cannot send by {', '.join(sorted(schemas))}",
            field="address",
        )
    return made


class AppriseSender:
    """Sends one notification a call, in a thread that cannot reach into this network."""

    def __init__(self, policy: EgressPolicy, *, clock: Clock | None = None) -> None:
        """Takes where connections may go."""
        self._policy = policy
        self._clock = clock or SystemClock()

    async def send(
        self, kind: ChannelKind, address: str, notification: Notification
    ) -> DeliveryAttempt:
        """Makes one attempt; whatever goes wrong is in what it returns."""
        began_at = self._clock.now()
        loop = asyncio.get_running_loop()
        began = loop.time()
        lines, error = "", ""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                is_sent, lines = await asyncio.to_thread(self._send, kind, address, notification)
            error = "" if is_sent else lines[:EXCERPT_CHARACTERS] or "Apprise could not send it"
        except TimeoutError:
            error = f"not sent within {SEND_SECONDS:g} seconds"
        except InvalidChannel as refused:
            error = refused.message
        status = _STATUS.search(lines)
        return DeliveryAttempt(
            attempted_at=began_at,
            latency=timedelta(seconds=loop.time() - began),
            http_status=int(status[1]) if status else 0,
            response_excerpt=lines[:EXCERPT_CHARACTERS],
            response_digest=hashlib.sha256(lines.encode()).hexdigest() if lines else "",
            error=error,
        )

    def _send(
        self, kind: ChannelKind, address: str, notification: Notification
    ) -> tuple[bool, str]:
        text = notification.text_body or notification.title
        if notification.link:
            text += f"\n{notification.link}"
        sender = apprise_service(kind, address)
        with watched(self._policy), _log_lines() as lines:
            is_sent = sender.notify(
                body=text, title=notification.title, notify_type=_KINDS[notification.severity]
            )
        return bool(is_sent), "\n".join(lines)


def _schemas(made: NotifyBase) -> set[str]:
    found: set[str] = set()
    for name in ("protocol", "secure_protocol"):
        value = getattr(made, name, None) or ()
        found.update([value] if isinstance(value, str) else value)
    return found


class _ThreadLines(logging.Handler):
    """Keeps what one thread logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


@contextmanager
def _log_lines() -> Iterator[list[str]]:
    """Yields what Apprise says inside the block: it tells of an answer by its log alone."""
    handler = _ThreadLines()
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    logger.propagate = False
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)

"""Ways to reach people and programs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from urllib.parse import urlsplit

from services.budget.domain.alert_errors import InvalidChannel
from services.budget.domain.threshold import Severity

SECRET_PREFIX = "whsec_"  # noqa: S105 - the form of a secret, not one
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64  # as Standard Webhooks has it
# What the service sets itself, or what would change where a request goes.
RESERVED_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class ChannelKind(Enum):
    """How a channel sends."""

    EMAIL = "email"
    SLACK = "slack"
    TEAMS = "teams"
    PAGERDUTY = "pagerduty"
    WEBHOOK = "webhook"
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """How the last deliveries went."""

    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_error: str = ""
    consecutive_failures: int = 0
    queued_count: int = 0
    dead_count: int = 0


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as it is shown: without its secrets. header_names: of its extra headers."""

    channel_id: str
    tenant_id: str
    display_name: str
    kind: ChannelKind
    created_at: datetime
    updated_at: datetime
    email_addresses: tuple[str, ...] = ()
    address_hint: str = ""
    header_names: tuple[str, ...] = ()
    severity_min: Severity = Severity.INFO
    is_disabled: bool = False
    health: ChannelHealth = field(default_factory=ChannelHealth)
    revision: int = 1


@dataclass(frozen=True, slots=True)
class ChannelSecrets:
    """What a channel sends with, in clear: never stored or shown so."""

    address: str = ""
    signing_secret: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def require_sendable(channel: Channel, secrets: ChannelSecrets) -> None:
    """Refuses a channel that could never send. Raises InvalidChannel."""
    if not channel.display_name:
        raise InvalidChannel("display_name is required", field="display_name")
    is_email, is_webhook = (
        channel.kind is ChannelKind.EMAIL,
        channel.kind is ChannelKind.WEBHOOK,
    )
    if is_email != bool(channel.email_addresses):
        text = "needs email_addresses" if is_email else "has no email_addresses"
        raise InvalidChannel(f"{channel.kind.value}: it {text}", field="email_addresses")
    if is_email == bool(secrets.address):
        text = "has no address" if is_email else "needs an address"
        raise InvalidChannel(f"{channel.kind.value}: it {text}", field="address")
    if not is_webhook and secrets.signing_secret:
        raise InvalidChannel("only a webhook signs", field="signing_secret")
    if not is_webhook and secrets.headers:
        raise InvalidChannel("only a webhook has headers", field="headers")
    if is_webhook:
        webhook_url(secrets.address)
        require_secret(secrets.signing_secret)
    for name, value in secrets.headers.items():
        _require_header(name, value)


def webhook_url(address: str) -> str:
    """Returns the URL of a webhook unchanged. Raises InvalidChannel."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidChannel(f"address: {error}", field="address") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidChannel("address: a webhook is an http or https URL", field="address")
    if parts.username or parts.password:
        raise InvalidChannel("address: put credentials into headers", field="address")
    return address


def require_same_host(before: str, after: str) -> None:
    """Refuses to send headers that nobody can read any more to another host. Raises InvalidChannel.

    Whoever may change a channel would read them there.
    """
    if urlsplit(before)[:2] != urlsplit(after)[:2]:
        raise InvalidChannel(
            "headers: give all their values anew with an address on another host", field="headers"
        )


def require_secret(secret: str) -> None:
    """Refuses what Standard Webhooks does not take as a secret. Raises InvalidChannel."""
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not secret.startswith(SECRET_PREFIX) or not SECRET_BYTES_MIN <= size <= SECRET_BYTES_MAX:
        raise InvalidChannel(
            f"signing_secret: it is {SECRET_PREFIX} and base64 of {SECRET_BYTES_MIN} to "
            f"{SECRET_BYTES_MAX} bytes",
            field="signing_secret",
        )


def address_hint(kind: ChannelKind, address: str) -> str:
    """Returns what can be shown of an address: scheme and host, where the host is no secret."""
    if kind is ChannelKind.PAGERDUTY:
        return "pagerduty"
    parts = urlsplit(address)
    # The host of an Apprise URL is often a token: only the service's name is shown.
    if parts.scheme in ("http", "https") and parts.hostname:
        return f"{parts.scheme}://{parts.hostname}"
    return parts.scheme


def mask_mail(address: str) -> str:
    """Returns a mail address of which a reader sees the domain and a first letter."""
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}***@{domain}"


def _require_header(name: str, value: str) -> None:
    if not name or not set(name.lower()) <= _TOKEN:
        raise InvalidChannel(f"headers: {name[:40]!r} is no header name", field="headers")
    if name.lower() in RESERVED_HEADERS:
        raise InvalidChannel(f"headers: {name} is set by the service", field="headers")
    if any(character in value for character in "\r\n\0"):
        raise InvalidChannel(f"headers: {name} has a line break", field="headers")

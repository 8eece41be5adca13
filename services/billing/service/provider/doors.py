"""The doors that webhooks knock at: whose each is, what opens it, and what seals what comes in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe

from services.billing.domain.provider import RemoteEvent
from services.billing.errors import WebhookModeMismatch, WebhookSignatureInvalid
from services.billing.service.provider.providers import WEBHOOK_SECRET
from services.billing.service.provider.stripe_objects import event_of
from services.billing.store import provider_settings as rows
from services.kernel.database import Database
from services.kernel.envelope import Envelope, Sealer
from services.kernel.expiring import ExpiringMap

TOLERANCE_SECONDS = 300  # how old a signature may be: Stripe's own recommendation
KNOWN_SECONDS = 60.0  # how long opened secrets are kept: erasing their key counts from then on
KNOWN_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Knock:
    """A webhook at the door. body: the bytes as they were sent, which are what is signed."""

    endpoint_id: str
    body: bytes
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One endpoint, as its settings of one revision have it."""

    tenant_id: str
    revision: int
    live_mode: bool
    secrets: Sequence[str]
    sealer: Sealer

    def admitted(self, knock: Knock, now: datetime) -> RemoteEvent:
        """Returns the event. Raises WebhookSignatureInvalid, WebhookModeMismatch."""
        payload = _signed_event(knock.body, knock.signature, self.secrets, now=now)
        if payload is None:
            raise WebhookSignatureInvalid
        remote = event_of(payload)
        if remote.live_mode != self.live_mode:
            raise WebhookModeMismatch(live_mode=str(remote.live_mode).lower())
        return remote


class Doors:
    """Knows doors for a while. Whoever lets something in asks whether they have changed since."""

    def __init__(self, database: Database, envelope: Envelope) -> None:
        """envelope: opens signing secrets, and seals bodies."""
        self._database = database
        self._envelope = envelope
        self._known: ExpiringMap[str, Door] = ExpiringMap(KNOWN_MAX)

    def known(self, endpoint_ids: Iterable[str]) -> dict[str, Door]:
        """Returns those of the doors that were looked at a moment ago, by endpoint."""
        found = {each: self._known.get(each) for each in endpoint_ids}
        return {each: door for each, door in found.items() if door is not None}

    async def look_at(self, endpoint_ids: Iterable[str]) -> dict[str, Door]:
        """Returns the doors as they are now, by endpoint; one without a secret is none."""
        found: dict[str, Door] = {}
        async with self._database.system_transaction() as tx:
            for endpoint_id in endpoint_ids:
                stored = await rows.find_of_endpoint(tx, endpoint_id)
                sealed = () if stored is None else _secrets(stored)
                if stored is None or not sealed:
                    continue
                owner = stored.settings.tenant_id
                opened = [
                    await self._envelope.open(tx, owner, each, WEBHOOK_SECRET) for each in sealed
                ]
                found[endpoint_id] = Door(
                    tenant_id=owner,
                    revision=stored.settings.revision,
                    live_mode=stored.settings.live_mode,
                    secrets=[secret.decode() for secret in opened],
                    sealer=await self._envelope.sealer(tx, owner),
                )
        for endpoint_id, door in found.items():
            self._known.put(endpoint_id, door, KNOWN_SECONDS)
        return found


def _secrets(stored: rows.StoredSettings) -> Sequence[bytes]:
    found = (stored.webhook_secret, stored.previous_webhook_secret)
    return [sealed for sealed in found if sealed is not None]


def _signed_event(
    body: bytes, signature: str, secrets: Sequence[str], *, now: datetime
) -> dict[str, Any] | None:
    try:
        text = body.decode()
        if not any(_is_signed(text, signature, secret) for secret in secrets):
            return None
        if abs(now.timestamp() - _signed_at(signature)) > TOLERANCE_SECONDS:
            return None
        found: dict[str, Any] = json.loads(text)
        is_event = found["object"] == "event" and bool(found["data"]["object"])
    except (ValueError, KeyError, TypeError):
        return None
    return found if is_event else None


def _is_signed(text: str, signature: str, secret: str) -> bool:
    try:
        # The age is checked by our own clock, for which there is one source.
        return bool(stripe.WebhookSignature.verify_header(text, signature, secret, None))
    except stripe.SignatureVerificationError:
        return False


def _signed_at(signature: str) -> float:
    stamp = next(part for part in signature.split(",") if part.strip().startswith("t="))
    return datetime.fromtimestamp(int(stamp.strip()[2:]), UTC).timestamp()

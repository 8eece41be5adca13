"""Takes webhooks in: signature, mode, once. What they are about is looked at later, by a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import stripe
import structlog
from opentelemetry import metrics

from services.billing.domain.provider import RemoteEvent
from services.billing.domain.webhook import EventState, WebhookEvent
from services.billing.errors import (
    WebhookEndpointNotFound,
    WebhookEventNotFound,
    WebhookModeMismatch,
    WebhookSignatureInvalid,
    WebhookTooLarge,
)
from services.billing.service.provider.providers import WEBHOOK_SECRET
from services.billing.service.provider.queue import WEBHOOK_JOB
from services.billing.service.provider.stripe_objects import event_of
from services.billing.store import provider_settings as settings_rows
from services.billing.store import webhook_events as rows
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.coalescing import Coalescer
from services.kernel.database import Database
from services.kernel.database_errors import DatabaseBusy
from services.kernel.envelope import Envelope
from services.kernel.errors import Error
from services.kernel.expiring import ExpiringMap
from services.kernel.ids import new_id
from services.kernel.jobs import enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

BODY_BYTES_MAX = 1 << 20
TOLERANCE_SECONDS = 300  # how old a signature may be: Stripe's own recommendation
EVENT_BODY = "webhook.body"
JOB_KEYS = (WEBHOOK_JOB, f"{WEBHOOK_JOB}:next")
SECRET_SECONDS = 60.0  # how long an opened secret is kept: erasing its key counts from then on
SECRETS_MAX = 1_000

_OUTCOMES = {WebhookSignatureInvalid: "bad_signature", WebhookModeMismatch: "wrong_mode"}

log = structlog.get_logger(__name__)
_received = metrics.get_meter("finops.billing").create_counter(
    "finops_webhooks_received_total", description="Webhooks, by what became of them at the door."
)


@dataclass(frozen=True, slots=True)
class _Knock:
    """A webhook at the door. body: the bytes as they were sent, which are what is signed."""

    endpoint_id: str
    body: bytes
    signature: str


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Whose door it is, and the secrets that open it."""

    tenant_id: str
    secrets: Sequence[str]
    live_mode: bool

    def admitted(self, knock: _Knock, now: datetime) -> RemoteEvent:
        """Returns the event. Raises WebhookSignatureInvalid, WebhookModeMismatch."""
        payload = _signed_event(knock.body, knock.signature, self.secrets, now=now)
        if payload is None:
            raise WebhookSignatureInvalid
        remote = event_of(payload)
        if remote.live_mode != self.live_mode:
            raise WebhookModeMismatch(live_mode=str(remote.live_mode).lower())
        return remote


class Inbox:
    """The use cases of webhooks."""

    def __init__(
        self, database: Database, envelope: Envelope, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the envelope that opens signing secrets and seals bodies."""
        self._database = database
        self._envelope = envelope
        self._tokens = tokens
        self._clock = clock
        self._opened: ExpiringMap[bytes, str] = ExpiringMap(SECRETS_MAX)
        # A provider sends what piled up all at once, and waits for each answer.
        self._knocks: Coalescer[_Knock, bool] = Coalescer(
            self._answer, name="webhooks", refuse=DatabaseBusy
        )

    async def receive_stripe_webhook(self, endpoint_id: str, body: bytes, signature: str) -> None:
        """Stores an event of Stripe's, which may come often.

        body: the bytes as they were sent, because they are what is signed. Raises WebhookTooLarge,
        WebhookEndpointNotFound, WebhookSignatureInvalid, WebhookModeMismatch.
        """
        if len(body) > BODY_BYTES_MAX:
            raise WebhookTooLarge(bytes_max=BODY_BYTES_MAX)
        try:
            is_new = await self._knocks.submit(endpoint_id, _Knock(endpoint_id, body, signature))
        except (WebhookSignatureInvalid, WebhookModeMismatch) as error:
            _received.add(1, {"outcome": _OUTCOMES[type(error)]})
            raise
        _received.add(1, {"outcome": "new" if is_new else "known"})

    async def _answer(self, knocks: Sequence[_Knock]) -> Sequence[bool | Exception]:
        """Tells each whether its event is new, or why it is not let in."""
        try:
            return await self._let_in(knocks)
        except Exception as error:  # noqa: BLE001 - told to whoever knocked
            if len(knocks) == 1:
                return [error]
            log.warning("webhooks one by one", count=len(knocks), error=type(error).__name__)
        # What the database refuses keeps no other out.
        return [answer for knock in knocks for answer in await self._answer([knock])]

    async def _let_in(self, knocks: Sequence[_Knock]) -> Sequence[bool | Exception]:
        """Stores in one transaction what may come in of all that knocked at once."""
        now = self._clock.now()
        refused: dict[int, Error] = {}
        admitted: dict[int, tuple[str, RemoteEvent]] = {}
        async with self._database.system_transaction() as tx:
            endpoints: dict[str, _Endpoint | None] = {}
            for place, knock in enumerate(knocks):
                try:
                    endpoint = await self._endpoint(tx, knock.endpoint_id, endpoints)
                    admitted[place] = endpoint.tenant_id, endpoint.admitted(knock, now)
                except Error as error:
                    refused[place] = error
            sealed = await self._sealed(
                tx, {place: (owner, knocks[place].body) for place, (owner, _) in admitted.items()}
            )
            events = [(*admitted[place], sealed[place]) for place in admitted]
            are_new = dict(zip(admitted, await add_all(tx, events, now=now), strict=True))
        return [refused.get(place) or are_new[place] for place in range(len(knocks))]

    async def _sealed(
        self, tx: Transaction, bodies: Mapping[int, tuple[str, bytes]]
    ) -> dict[int, bytes]:
        """Returns bodies sealed with their owners' keys. bodies: owner and body, by place."""
        places: dict[str, list[int]] = {}
        for place, (owner, _) in bodies.items():
            places.setdefault(owner, []).append(place)
        found: dict[int, bytes] = {}
        for owner, own in places.items():
            plain = [bodies[place][1] for place in own]
            sealed = await self._envelope.seal_all(tx, owner, plain, EVENT_BODY)
            found |= dict(zip(own, sealed, strict=True))
        return found

    async def _endpoint(
        self, tx: Transaction, endpoint_id: str, known: dict[str, _Endpoint | None]
    ) -> _Endpoint:
        """known: what this transaction has read. Raises WebhookEndpointNotFound."""
        if endpoint_id not in known:
            stored = await settings_rows.find_of_endpoint(tx, endpoint_id)
            secrets = [] if stored is None else await self._secrets(tx, stored)
            known[endpoint_id] = (
                _Endpoint(stored.settings.tenant_id, secrets, stored.settings.live_mode)
                if stored is not None and secrets
                else None
            )
        found = known[endpoint_id]
        if found is None:
            raise WebhookEndpointNotFound
        return found

    async def _secrets(self, tx: Transaction, stored: settings_rows.StoredSettings) -> list[str]:
        owner = stored.settings.tenant_id
        return [
            await self._secret(tx, owner, sealed)
            for sealed in (stored.webhook_secret, stored.previous_webhook_secret)
            if sealed is not None
        ]

    async def _secret(self, tx: Transaction, owner: str, sealed: bytes) -> str:
        """Returns a secret, opened a moment ago or now."""
        secret = self._opened.get(sealed)
        if secret is None:
            secret = (await self._envelope.open(tx, owner, sealed, WEBHOOK_SECRET)).decode()
            self._opened.put(sealed, secret, SECRET_SECONDS)
        return secret

    async def list_webhook_events(self, page: PageRequest) -> Page[WebhookEvent]:
        """Returns a page of the inbox."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_events(tx, page, self._tokens)

    async def get_webhook_event(self, tenant_id: str, webhook_event_id: str) -> WebhookEvent:
        """Returns one event. Raises WebhookEventNotFound."""
        async with self._database.read(tenant_id) as tx:
            event = await rows.find_event(tx, tenant_id, webhook_event_id)
        if event is None:
            raise WebhookEventNotFound(webhook_event_id=webhook_event_id)
        return event

    async def replay_webhook_event(self, tenant_id: str, webhook_event_id: str) -> WebhookEvent:
        """Lets an event be handled again. Raises WebhookEventNotFound."""
        async with self._database.transaction(tenant_id) as tx:
            event = await rows.find_event(tx, tenant_id, webhook_event_id)
            if event is None:
                raise WebhookEventNotFound(webhook_event_id=webhook_event_id)
            replayed = replace(
                event,
                state=EventState.RECEIVED,
                attempt_count=0,
                error="",
                handled_at=None,
                next_attempt_at=self._clock.now(),
            )
            await rows.save_event(tx, replayed)
            await wake(tx, tenant_id)
            await audit.append(
                tx,
                action="webhook_events.replay",
                resource=f"webhook-events/{webhook_event_id}",
                before={"state": event.state},
                after={"state": replayed.state},
            )
        return replayed


async def add(
    tx: Transaction, tenant_id: str, remote: RemoteEvent, sealed: bytes | None, *, now: datetime
) -> bool:
    """Adds an event to the inbox, and wakes the worker; returns False for a known one."""
    (is_new,) = await add_all(tx, [(tenant_id, remote, sealed)], now=now)
    return is_new


async def add_all(
    tx: Transaction, events: Sequence[tuple[str, RemoteEvent, bytes | None]], *, now: datetime
) -> list[bool]:
    """Adds events, each with its tenant and sealed body, as `add`."""
    made = [
        WebhookEvent(
            tenant_id=tenant_id,
            webhook_event_id=new_id(),
            provider="stripe",
            provider_event_id=remote.event_id,
            event_type=remote.event_type,
            object_id=remote.object_id,
            api_version=remote.api_version,
            live_mode=remote.live_mode,
            state=EventState.RECEIVED,
            provider_created_at=remote.created_at,
            received_at=now,
        )
        for tenant_id, remote, _ in events
    ]
    bodies = [sealed for _, _, sealed in events]
    new, waits = await rows.add_events(tx, made, bodies, job_keys=JOB_KEYS)
    if new and not waits:
        await wake(tx, made[0].tenant_id)
    return [event.webhook_event_id in new for event in made]


async def wake(tx: Transaction, tenant_id: str) -> None:
    """Queues a look at the inbox: beside one that runs, which may not see what is added now."""
    for key in JOB_KEYS:
        if await enqueue(tx, WEBHOOK_JOB, tenant_id=tenant_id, key=key) is not None:
            return


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

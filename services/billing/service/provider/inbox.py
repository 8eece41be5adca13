"""Takes webhooks in: signature, mode, once. What they are about is looked at later, by a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from opentelemetry import metrics

from services.billing.domain.outage import ProviderOutage
from services.billing.domain.provider import RemoteEvent
from services.billing.domain.webhook import EventState, WebhookEvent
from services.billing.errors import (
    WebhookEndpointNotFound,
    WebhookEventNotFound,
    WebhookModeMismatch,
    WebhookSignatureInvalid,
    WebhookTooLarge,
)
from services.billing.service.provider.doors import Door, Doors, Knock
from services.billing.service.provider.queue import WEBHOOK_KEYS, wake_inbox
from services.billing.store import outages
from services.billing.store import webhook_events as rows
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.coalescing import Coalescer
from services.kernel.database import Database
from services.kernel.database_errors import DatabaseBusy, TransactionConflict
from services.kernel.envelope import Envelope
from services.kernel.errors import Error, Unavailable
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

BODY_BYTES_MAX = 1 << 20
BURST = 8  # webhooks that wait for their answers at once: more than a steady flow has
CALM_SECONDS_MAX = 2.0  # so that a burst without end delays what is handled, and stops it not
_CALM_LOOK_SECONDS = 0.02
EVENT_BODY = "webhook.body"

_OUTCOMES = {WebhookSignatureInvalid: "bad_signature", WebhookModeMismatch: "wrong_mode"}

log = structlog.get_logger(__name__)
_received = metrics.get_meter("finops.billing").create_counter(
    "finops_webhooks_received_total", description="Webhooks, by what became of them at the door."
)


class Inbox:
    """The use cases of webhooks."""

    def __init__(
        self, database: Database, envelope: Envelope, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the envelope that opens signing secrets and seals bodies."""
        self._database = database
        self._tokens = tokens
        self._clock = clock
        self._doors = Doors(database, envelope)
        self._waiting = 0
        # A provider sends what piled up all at once, and waits for each answer.
        self._knocks: Coalescer[Knock, bool] = Coalescer(
            self._answer, name="webhooks", refuse=DatabaseBusy
        )

    async def receive_stripe_webhook(self, endpoint_id: str, body: bytes, signature: str) -> None:
        """Stores an event of Stripe's, which may come often.

        body: the bytes as they were sent, because they are what is signed. Raises WebhookTooLarge,
        WebhookEndpointNotFound, WebhookSignatureInvalid, WebhookModeMismatch.
        """
        if len(body) > BODY_BYTES_MAX:
            raise WebhookTooLarge(bytes_max=BODY_BYTES_MAX)
        self._waiting += 1
        try:
            is_new = await self._knocks.submit(endpoint_id, Knock(endpoint_id, body, signature))
        except (WebhookSignatureInvalid, WebhookModeMismatch) as error:
            _received.add(1, {"outcome": _OUTCOMES[type(error)]})
            raise
        finally:
            self._waiting -= 1
        _received.add(1, {"outcome": "new" if is_new else "known"})

    async def calm(self) -> None:
        """Waits for a burst to end, a while at most: its sender waits, what is stored does not."""
        for _ in range(round(CALM_SECONDS_MAX / _CALM_LOOK_SECONDS)):
            if self._waiting < BURST:
                return
            await asyncio.sleep(_CALM_LOOK_SECONDS)

    async def _answer(self, knocks: Sequence[Knock]) -> Sequence[bool | Exception]:
        """Tells each whether its event is new, or why it is not let in."""
        try:
            return await self._let_in(knocks)
        except Unavailable as error:
            return [error] * len(knocks)
        except Exception as error:  # noqa: BLE001 - told to whoever knocked
            if len(knocks) == 1:
                return [error]
            log.warning("webhooks one by one", count=len(knocks), error=type(error).__name__)
        # What the database refuses keeps no other out.
        return [answer for knock in knocks for answer in await self._answer([knock])]

    async def _let_in(self, knocks: Sequence[Knock]) -> Sequence[bool | Exception]:
        """Tries the doors as they were a moment ago; whom they keep out, as they are now."""
        known = self._doors.known({knock.endpoint_id for knock in knocks})
        answers = await self._pass(knocks, known)
        left = [place for place, answer in enumerate(answers) if isinstance(answer, Exception)]
        if left:
            again = [knocks[place] for place in left]
            doors = await self._doors.look_at({knock.endpoint_id for knock in again})
            for place, answer in zip(left, await self._pass(again, doors), strict=True):
                answers[place] = answer
        return answers

    async def _pass(
        self, knocks: Sequence[Knock], doors: dict[str, Door]
    ) -> list[bool | Exception]:
        """Stores in one statement what may come in; tells each whether it is new, or why not."""
        now = self._clock.now()
        refused: dict[int, Exception] = {}
        admitted: dict[int, tuple[WebhookEvent, bytes]] = {}
        through: dict[str, Door] = {}
        for place, knock in enumerate(knocks):
            try:
                door = doors.get(knock.endpoint_id)
                if door is None:
                    raise WebhookEndpointNotFound
                event = _received_event(door.tenant_id, door.admitted(knock, now), now)
                if through.setdefault(door.tenant_id, door).revision != door.revision:
                    raise TransactionConflict  # a tenant may have two addresses
                admitted[place] = event, door.sealer.seal(knock.body, EVENT_BODY)
            except Error as error:
                refused[place] = error
        if not admitted:
            return list(refused.values())
        added = await rows.add_at_doors(
            self._database,
            *([event for event, _ in admitted.values()], [body for _, body in admitted.values()]),
            doors=[
                (each.tenant_id, each.revision, each.sealer.key_id) for each in through.values()
            ],
            job_keys=WEBHOOK_KEYS,
        )
        if added.new and not added.has_job:
            # The events are stored: should this not happen, the worker finds them by its own clock.
            async with self._database.system_transaction() as tx:
                await wake_inbox(tx, next(iter(through)))
        for place, (event, _) in admitted.items():
            if event.tenant_id not in added.tenants:
                refused[place] = TransactionConflict()
        return [
            refused.get(place) or admitted[place][0].webhook_event_id in added.new
            for place in range(len(knocks))
        ]

    async def list_webhook_events(self, page: PageRequest) -> Page[WebhookEvent]:
        """Returns a page of the inbox."""
        async with self._database.read(page.tenant_id) as tx:
            found = await rows.list_events(tx, page, self._tokens)
            outage = await outages.find(tx, page.tenant_id)
        return replace(found, items=[_shown(event, outage) for event in found.items])

    async def get_webhook_event(self, tenant_id: str, webhook_event_id: str) -> WebhookEvent:
        """Returns one event. Raises WebhookEventNotFound."""
        async with self._database.read(tenant_id) as tx:
            event = await rows.find_event(tx, tenant_id, webhook_event_id)
            outage = await outages.find(tx, tenant_id)
        if event is None:
            raise WebhookEventNotFound(webhook_event_id=webhook_event_id)
        return _shown(event, outage)

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
            await wake_inbox(tx, tenant_id)
            await audit.append(
                tx,
                action="webhook_events.replay",
                resource=f"webhook-events/{webhook_event_id}",
                before={"state": event.state},
                after={"state": replayed.state},
            )
        return replayed


async def add(tx: Transaction, tenant_id: str, remote: RemoteEvent, *, now: datetime) -> bool:
    """Adds an event without its body, and wakes the worker; returns False for a known one."""
    is_new = await rows.add_event(tx, _received_event(tenant_id, remote, now))
    if is_new:
        await wake_inbox(tx, tenant_id)
    return is_new


def _received_event(tenant_id: str, remote: RemoteEvent, now: datetime) -> WebhookEvent:
    return WebhookEvent(
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


def _shown(event: WebhookEvent, outage: ProviderOutage | None) -> WebhookEvent:
    """Tells of an event that waits what it waits for, and when that is asked next."""
    if event.state is not EventState.WAITING or outage is None:
        return event
    return replace(event, error=outage.error, next_attempt_at=outage.next_probe_at)

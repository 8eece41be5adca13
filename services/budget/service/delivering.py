"""Takes notifications from the durable queue to their receivers, each at least once.

A worker claims due deliveries for the time of a lease, sends without a transaction, and stores how
it went. One that dies leaves its claims to others when the lease ends; the receiver then gets the
same message id again.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from opentelemetry import metrics

from services.budget.domain.alert import AlertCause, AlertKind
from services.budget.domain.channel import Channel, ChannelKind, ChannelSecrets
from services.budget.domain.delivery import DeliveryAttempt, DeliveryState, next_attempt
from services.budget.domain.notification import Notification
from services.budget.domain.threshold import Severity
from services.budget.service.alert_life import AlertLife, Fired
from services.budget.service.apprises import AppriseSender
from services.budget.service.channel_secrets import open_secrets, previous_secrets
from services.budget.service.mails import MailSender
from services.budget.service.webhooks import WebhookCall, WebhookSender, webhook_body
from services.budget.store import channels, deliveries, notifications
from services.budget.store.deliveries import ClaimedDelivery
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope
from services.kernel.errors import Error

LEASE = timedelta(minutes=2)  # longer than the slowest attempt, its storing included
CONCURRENCY = 32  # attempts of one worker at once
PER_RECEIVER = 8  # of these to one channel, so that a slow one leaves room for the others
DISABLED_AGAIN = timedelta(minutes=1)  # how late a channel that was enabled again sends at worst

log = structlog.get_logger(__name__)
_meter = metrics.get_meter("finops.deliveries")
_attempts = _meter.create_counter(
    "finops_delivery_attempts_total", description="Attempts to deliver, by kind and outcome."
)
_latency = _meter.create_histogram(
    "finops_delivery_latency_seconds", unit="s", description="From queued to taken."
)


@dataclass(frozen=True, slots=True)
class Senders:
    """What sends by each kind of channel."""

    webhooks: WebhookSender
    mails: MailSender
    apprise: AppriseSender

    async def send(self, message: Message) -> DeliveryAttempt:
        """Makes one attempt; whatever goes wrong is in what it returns."""
        if message.channel is None or message.channel.kind is ChannelKind.EMAIL:
            return await self.mails.send(
                message.addresses,
                message.notification,
                message_id=message.claimed.message_id,
                created_at=message.claimed.created_at,
            )
        if message.channel.kind is ChannelKind.WEBHOOK:
            call = WebhookCall(
                url=message.secrets.address,
                message_id=message.claimed.message_id,
                secrets=(message.secrets.signing_secret, *message.previous_secrets),
                headers=message.secrets.headers,
                body=webhook_body(message.notification, message.claimed.created_at),
            )
            return await self.webhooks.send(call)
        kind = message.channel.kind
        return await self.apprise.send(kind, message.secrets.address, message.notification)


@dataclass(frozen=True, slots=True)
class Message:
    """All that an attempt needs. channel: None for a plain mail address."""

    claimed: ClaimedDelivery
    notification: Notification
    channel: Channel | None = None
    secrets: ChannelSecrets = field(default_factory=ChannelSecrets)
    previous_secrets: tuple[str, ...] = ()

    @property
    def addresses(self) -> Sequence[str]:
        """Where a mail goes."""
        return (self.claimed.mail_to,) if self.channel is None else self.channel.email_addresses


class Deliverer:
    """Delivers what is due."""

    def __init__(
        self,
        database: Database,
        envelope: Envelope,
        senders: Senders,
        life: AlertLife,
        *,
        clock: Clock,
    ) -> None:
        """Takes what sends, and what fires an alert about a channel that does not take anything."""
        self._database = database
        self._envelope = envelope
        self._senders = senders
        self._life = life
        self._clock = clock
        self._in_hand: Counter[str] = Counter()

    async def deliver(self, *, limit: int = CONCURRENCY) -> int:
        """Attempts what is due, up to `limit` at once, and returns how many attempts were made."""
        claimed = await self.claim(limit)
        await asyncio.gather(*(self.attempt(each) for each in claimed))
        return len(claimed)

    async def claim(self, limit: int) -> list[ClaimedDelivery]:
        """Takes what is due for the time of a lease; each is then given to `attempt`."""
        busy = [receiver for receiver, count in self._in_hand.items() if count >= PER_RECEIVER]
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            claimed = await deliveries.claim(
                tx,
                now,
                lease_until=now + LEASE,
                limit=limit,
                busy=busy,
                per_receiver=PER_RECEIVER,
            )
        for each in claimed:
            self._in_hand[_receiver(each)] += 1
        return claimed

    async def attempt(self, claimed: ClaimedDelivery) -> None:
        """Makes one attempt and stores how it went; never raises but for being cancelled."""
        try:
            try:
                message = await self._load(claimed)
                if message is None:
                    return
                attempt = await self._senders.send(message)
            except Error as error:
                # A secret that does not open, for example: its delivery must not fail the others'.
                attempt = DeliveryAttempt(self._clock.now(), timedelta(0), error=error.message)
            except Exception as error:
                # What no sender foresaw fails like the rest: backs off, ends as a dead letter.
                log.exception("delivery failed", delivery=claimed.delivery_id)
                name = type(error).__name__
                attempt = DeliveryAttempt(
                    self._clock.now(), timedelta(0), error=f"failed by {name}"
                )
            await self._conclude(claimed, attempt)
        except Exception:
            # The lease ends, and the delivery is tried again: nothing is lost, and seen in the log.
            log.exception("delivery interrupted", delivery=claimed.delivery_id)
        finally:
            receiver = _receiver(claimed)
            self._in_hand[receiver] -= 1
            if not self._in_hand[receiver]:
                del self._in_hand[receiver]

    async def _load(self, claimed: ClaimedDelivery) -> Message | None:
        """Returns what to send; None when its channel is gone or disabled, which is stored."""
        tenant_id = claimed.tenant_id
        async with self._database.system_transaction() as tx:
            notification = await notifications.find_notification(
                tx, tenant_id, claimed.notification_id
            )
            if not claimed.channel_id:
                return Message(claimed, notification)
            row = await channels.channel_row(tx, tenant_id, claimed.channel_id)
            if row is None:
                attempt = DeliveryAttempt(
                    self._clock.now(), timedelta(0), error="the channel was deleted"
                )
                await self._store(tx, claimed, attempt, DeliveryState.DEAD)
                return None
            channel = channels.channel_of(row)
            if channel.is_disabled:
                await deliveries.put_back(tx, claimed, self._clock.now() + DISABLED_AGAIN)
                return None
            return Message(
                claimed,
                notification,
                channel,
                await open_secrets(self._envelope, tx, tenant_id, row["secrets"]),
                await previous_secrets(self._envelope, tx, tenant_id, row, self._clock.now()),
            )

    async def _conclude(self, claimed: ClaimedDelivery, attempt: DeliveryAttempt) -> None:
        now = self._clock.now()
        due_at = None
        if attempt.is_success:
            state = DeliveryState.DELIVERED
            _latency.record(max((now - claimed.created_at).total_seconds(), 0))
        else:
            chance = random.random()  # noqa: S311 - spreads retries, keeps no secret
            due_at = next_attempt(attempt, claimed.round_count, now, chance=chance)
            state = DeliveryState.DEAD if due_at is None else DeliveryState.QUEUED
        _attempts.add(1, {"outcome": state.value})

        async def work(tx: Transaction) -> None:
            await deliveries.conclude(tx, claimed, attempt, state=state, due_at=due_at, at=now)
            if claimed.channel_id:
                await channels.record_health(
                    tx, claimed.tenant_id, claimed.channel_id, now, attempt.error[:500]
                )
            if state is DeliveryState.DEAD:
                await self._report(tx, claimed, attempt)

        await self._database.run(None, work)

    async def _store(
        self,
        tx: Transaction,
        claimed: ClaimedDelivery,
        attempt: DeliveryAttempt,
        state: DeliveryState,
    ) -> None:
        now = self._clock.now()
        await deliveries.conclude(tx, claimed, attempt, state=state, due_at=None, at=now)

    async def _report(
        self, tx: Transaction, claimed: ClaimedDelivery, attempt: DeliveryAttempt
    ) -> None:
        """Fires one alert a channel and day: its dead letters would be an alert each otherwise."""
        receiver = claimed.channel_id or "mail"
        row = await channels.channel_row(tx, claimed.tenant_id, claimed.channel_id)
        name = "Mail" if row is None else row["display_name"]
        day = self._clock.now().date().isoformat()
        cause = AlertCause(
            budget_id="",
            display_name=name,
            kind=AlertKind.DELIVERY_FAILURE,
            severity=Severity.WARNING,
            message=f"Notifications to {name} do not arrive: {attempt.error[:300]}",
            key=f"{receiver}@{day}",
        )
        await self._life.fire(tx, [Fired(claimed.tenant_id, cause)], at=self._clock.now())


def _receiver(claimed: ClaimedDelivery) -> str:
    return f"{claimed.tenant_id}/{claimed.channel_id}"

"""Shows deliveries, replays them, and takes notifications of the other services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.budget.domain.alert_errors import (
    ChannelNotFound,
    DeliveryNotEnded,
    DeliveryNotFound,
)
from services.budget.domain.delivery import Delivery, DeliveryState
from services.budget.domain.notification import Notification, Subject
from services.budget.service.channel_secrets import open_secrets, previous_secrets
from services.budget.service.delivering import Message, Senders
from services.budget.service.notifying import Notifier
from services.budget.store import channels, notifications
from services.budget.store import deliveries as store
from services.budget.store.deliveries import ClaimedDelivery, NewDelivery, message_id_of
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens

TEST_EVENT = "channel.test"
_ON_ITS_WAY = (DeliveryState.QUEUED, DeliveryState.SENDING)


class Deliveries:
    """A tenant's deliveries."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        senders: Senders,
        envelope: Envelope,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes what queues, what sends a test, and what opens the secrets for it."""
        self._database = database
        self._notifier = notifier
        self._senders = senders
        self._envelope = envelope
        self._tokens = tokens
        self._clock = clock

    async def list_deliveries(self, page: PageRequest) -> Page[Delivery]:
        """Returns deliveries. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_deliveries(tx, page, self._tokens)

    async def get_delivery(self, tenant_id: str, delivery_id: str) -> Delivery:
        """Returns a delivery with its attempts and what was sent. Raises DeliveryNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await self._whole(tx, tenant_id, delivery_id)

    async def replay_delivery(self, tenant_id: str, delivery_id: str) -> Delivery:
        """Queues a delivery again, under its first message id.

        Raises DeliveryNotFound, DeliveryNotEnded.
        """
        async with self._database.transaction(tenant_id) as tx:
            before = await store.find_delivery(tx, tenant_id, delivery_id, for_update=True)
            if before is None:
                raise DeliveryNotFound(delivery_id=delivery_id)
            if before.state in _ON_ITS_WAY:
                raise DeliveryNotEnded(delivery_id=delivery_id, state=before.state.value)
            await store.replay(tx, tenant_id, delivery_id, self._clock.now())
            self._notifier.wake(tx)
            await audit.append(
                tx,
                action="deliveries.replay",
                resource=f"deliveries/{delivery_id}",
                before={"state": before.state.value},
                after={"state": DeliveryState.QUEUED.value},
            )
            return await self._whole(tx, tenant_id, delivery_id)

    async def replay_deliveries(self, tenant_id: str, text: str) -> int:
        """Queues the dead letters that match a filter again, and returns how many.

        Raises InvalidFilter.
        """
        async with self._database.transaction(tenant_id) as tx:
            count = await store.replay_dead(tx, tenant_id, text, self._clock.now())
            self._notifier.wake(tx)
            await audit.append(
                tx,
                action="deliveries.replay_dead",
                resource="deliveries",
                after={"filter": text, "replayed": count},
            )
        return count

    async def publish_notification(
        self,
        tenant_id: str,
        notification: Notification,
        *,
        channel_ids: Sequence[str],
        email_addresses: Sequence[str],
    ) -> Sequence[str]:
        """Queues a notification of another service, and returns the ids of its deliveries.

        channel_ids: none for those whose subscriptions ask for the event. Raises ChannelNotFound.
        """
        subject = Subject(
            severity=notification.severity,
            kind=notification.event_type,
            department_id=_department(notification),
        )
        async with self._database.transaction(tenant_id) as tx:
            known = await channels.channels_of(tx, tenant_id, list(channel_ids))
            missing = [each for each in channel_ids if each not in known]
            if missing:
                raise ChannelNotFound(channel_id=missing[0])
            queued = await self._notifier.notify(
                tx,
                tenant_id,
                notification,
                subject,
                at=self._clock.now(),
                channel_ids=channel_ids,
                mail_to=email_addresses,
                is_broadcast=not channel_ids,
            )
        return queued.delivery_ids

    async def test_channel(self, tenant_id: str, channel_id: str, text: str) -> Delivery:
        """Sends a test message now, and returns how it went. Raises ChannelNotFound.

        Between the two transactions, because nothing is sent inside one.
        """
        now = self._clock.now()
        body = text or "This is a test of the channel. Nothing is wrong."
        notification = Notification(
            TEST_EVENT, "FinOps test message", body, payload={"message": body}
        )
        delivery_id, notification_id = new_id(), new_id()
        async with self._database.read(tenant_id) as tx:
            row = await channels.channel_row(tx, tenant_id, channel_id)
            if row is None:
                raise ChannelNotFound(channel_id=channel_id)
            channel = channels.channel_of(row)
            secrets = await open_secrets(self._envelope, tx, tenant_id, row["secrets"])
            previous = await previous_secrets(self._envelope, tx, tenant_id, row, now)
        claimed = ClaimedDelivery(
            tenant_id=tenant_id,
            delivery_id=delivery_id,
            message_id=message_id_of(delivery_id),
            notification_id=notification_id,
            channel_id=channel_id,
            mail_to="",
            event_type=TEST_EVENT,
            alert_id="",
            attempt=1,
            round_count=1,
            created_at=now,
        )
        attempt = await self._senders.send(
            Message(claimed, notification, channel, secrets, previous)
        )
        state = DeliveryState.DELIVERED if attempt.is_success else DeliveryState.DEAD
        new = NewDelivery(
            delivery_id=delivery_id,
            notification_id=notification_id,
            channel_id=channel_id,
            mail_to="",
            receiver_hint=channel.address_hint,
            event_type=TEST_EVENT,
            alert_id="",
            state=state,
            due_at=None,
        )
        async with self._database.transaction(tenant_id) as tx:
            await notifications.insert_notification(
                tx, tenant_id, notification_id, notification, now
            )
            await store.insert_delivery(tx, tenant_id, new, now)
            await store.insert_attempt(tx, tenant_id, delivery_id, 1, attempt)
            await store.conclude_test(tx, tenant_id, delivery_id, state, self._clock.now())
            await audit.append(
                tx,
                action="channels.test",
                resource=f"channels/{channel_id}",
                after={"delivery_id": delivery_id, "state": state.value},
            )
            return await self._whole(tx, tenant_id, delivery_id)

    async def _whole(self, tx: Transaction, tenant_id: str, delivery_id: str) -> Delivery:
        delivery = await store.find_delivery(tx, tenant_id, delivery_id)
        if delivery is None:
            raise DeliveryNotFound(delivery_id=delivery_id)
        return replace(
            delivery,
            attempts=await store.attempts_of(tx, tenant_id, delivery_id),
            payload_json=await store.payload_of(tx, tenant_id, delivery_id),
        )


def _department(notification: Notification) -> str:
    """Returns the department that another service's notification is about, "" without one."""
    return str(notification.payload.get("department_id", ""))

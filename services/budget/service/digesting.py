"""Sends what was held of a storm as one digest, once its time of collecting is over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from services.budget.domain.delivery import DeliveryState
from services.budget.domain.notification import Notification
from services.budget.domain.threshold import Severity
from services.budget.service.notifying import Notifier
from services.budget.store import deliveries, digests, notifications
from services.budget.store.deliveries import NewDelivery
from services.budget.store.digests import CollectedDelivery, CollectedGroup
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id

GROUPS_MAX = 100  # bundled in one round
LINES_MAX = 50  # titles that a digest lists; it tells how many more there are


class Digester:
    """Bundles."""

    def __init__(self, database: Database, notifier: Notifier, *, clock: Clock) -> None:
        """Takes what wakes the workers that deliver."""
        self._database = database
        self._notifier = notifier
        self._clock = clock

    async def bundle(self) -> int:
        """Makes the digests that are due, and returns how many groups that ended."""
        async with self._database.system_transaction() as tx:
            groups = await digests.due_groups(tx, self._clock.now(), GROUPS_MAX)
        for group in groups:
            await self._database.run(None, partial(self._bundle, group=group))
        return len(groups)

    async def _bundle(self, tx: Transaction, *, group: CollectedGroup) -> None:
        found = await digests.collected(tx, group)
        if len(found) == 1:
            await digests.send_alone(tx, group.tenant_id, found[0].delivery_id)
        if len(found) > 1:
            await self._digest(tx, group, found)
        self._notifier.wake(tx)

    async def _digest(
        self, tx: Transaction, group: CollectedGroup, found: Sequence[CollectedDelivery]
    ) -> None:
        now = self._clock.now()
        titles = [each.title for each in found]
        lines = titles[:LINES_MAX]
        if len(titles) > LINES_MAX:
            lines.append(f"and {len(titles) - LINES_MAX} more")
        notification = Notification(
            event_type="alert.digest",
            title=f"{len(found)} alerts since {found[0].created_at:%Y-%m-%d %H:%M} UTC",
            text_body="\n".join(lines),
            payload={
                "alertIds": list(dict.fromkeys(each.alert_id for each in found)),
                "deliveryIds": [each.delivery_id for each in found],
                "titles": titles,
            },
            severity=Severity.WARNING,
        )
        notification_id, delivery_id = new_id(), new_id()
        await notifications.insert_notification(
            tx, group.tenant_id, notification_id, notification, now
        )
        digest = NewDelivery(
            delivery_id=delivery_id,
            notification_id=notification_id,
            channel_id=group.channel_id,
            mail_to=group.mail_to,
            receiver_hint=found[0].receiver_hint,
            event_type=notification.event_type,
            alert_id="",
            state=DeliveryState.QUEUED,
            due_at=now,
        )
        await deliveries.insert_delivery(tx, group.tenant_id, digest, now)
        held = [each.delivery_id for each in found]
        await digests.mark_digested(tx, group.tenant_id, held, delivery_id)

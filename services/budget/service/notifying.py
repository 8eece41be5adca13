"""Puts notifications into the durable queue, in the transaction of what they tell about.

Who gets one: the channels and addresses that are named, and every channel whose subscription asks
for the event. Rules then say whether a delivery goes at once, waits, is bundled or is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.budget.domain.channel import Channel, mask_mail
from services.budget.domain.delivery import DeliveryState
from services.budget.domain.notification import Notification, Subject
from services.budget.domain.suppression import SuppressionKind, SuppressionRule
from services.budget.store import alert_policies, channels, deliveries, digests, notifications
from services.budget.store.deliveries import NewDelivery
from services.budget.store.digests import CollectedGroup
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id

CHANNEL = "budget_deliveries"  # of the wake-ups for workers that deliver


@dataclass(frozen=True, slots=True)
class Queued:
    """What became of a notification. suppression_rule_id: the first rule that held some back."""

    delivery_ids: tuple[str, ...] = ()
    suppression_rule_id: str = ""


@dataclass(frozen=True, slots=True)
class _Receiver:
    channel: Channel | None
    mail_to: str = ""

    @property
    def channel_id(self) -> str:
        return "" if self.channel is None else self.channel.channel_id

    @property
    def hint(self) -> str:
        if self.channel is None:
            return mask_mail(self.mail_to)
        mails = ", ".join(map(mask_mail, self.channel.email_addresses[:3]))
        return self.channel.address_hint or mails


@dataclass(frozen=True, slots=True)
class _Verdict:
    state: DeliveryState
    due_at: datetime | None
    rule_id: str = ""
    digest_key: str | None = None
    is_held: bool = False


class Notifier:
    """Queues notifications."""

    def __init__(self, database: Database) -> None:
        """Takes the service's database, whose workers it wakes."""
        self._database = database

    async def notify(
        self,
        tx: Transaction,
        tenant_id: str,
        notification: Notification,
        subject: Subject,
        *,
        at: datetime,
        channel_ids: Sequence[str] = (),
        mail_to: Sequence[str] = (),
        alert_id: str = "",
        is_broadcast: bool = True,
        excluded: Sequence[str] = (),
    ) -> Queued:
        """Queues one delivery a receiver, and returns what became of them.

        is_broadcast: whether channels with a matching subscription get it too. excluded: channels
        that do not. A repeated deduplication key queues nothing and returns the deliveries before.
        """
        receivers = await self._receivers(
            tx,
            tenant_id,
            subject,
            event_type=notification.event_type,
            channel_ids=channel_ids,
            is_broadcast=is_broadcast,
        )
        found = [each for each in receivers if each.channel_id not in excluded]
        found += [_Receiver(None, address) for address in dict.fromkeys(mail_to)]
        key = notification.deduplication_key
        if not found and not key:
            return Queued()
        notification_id = new_id()
        if not await notifications.insert_notification(
            tx, tenant_id, notification_id, notification, at
        ):
            return Queued(tuple(await notifications.deliveries_of_key(tx, tenant_id, key)))
        rules = await alert_policies.active_rules(tx, tenant_id)
        queued = Queued()
        for receiver in found:
            about = replace(subject, channel_id=receiver.channel_id)
            verdict = await _verdict(
                tx, tenant_id, rules, receiver, about, alert_id=alert_id, at=at
            )
            delivery = _delivery(notification_id, notification.event_type, receiver, verdict)
            delivery = replace(delivery, alert_id=alert_id)
            await deliveries.insert_delivery(tx, tenant_id, delivery, at)
            if verdict.rule_id:
                await alert_policies.count_suppressed(tx, tenant_id, verdict.rule_id)
            queued = Queued(
                (*queued.delivery_ids, delivery.delivery_id),
                queued.suppression_rule_id or verdict.rule_id,
            )
        self.wake(tx)
        return queued

    def wake(self, tx: Transaction) -> None:
        """Wakes the workers once the transaction is committed."""

        async def announce() -> None:
            self._database.wakeups.announce(CHANNEL)

        tx.on_commit(announce)

    async def _receivers(
        self,
        tx: Transaction,
        tenant_id: str,
        subject: Subject,
        *,
        event_type: str,
        channel_ids: Sequence[str],
        is_broadcast: bool,
    ) -> list[_Receiver]:
        wanted = dict.fromkeys(channel_ids)
        if is_broadcast:
            for subscription in await channels.active_subscriptions(tx, tenant_id):
                about = replace(subject, channel_id=subscription.channel_id)
                if subscription.wants(event_type, about):
                    wanted[subscription.channel_id] = None
        if not wanted:
            return []
        known = await channels.channels_of(tx, tenant_id, list(wanted))
        # A named channel that was deleted since is nobody any more.
        found = [known[channel_id] for channel_id in wanted if channel_id in known]
        return [
            _Receiver(channel)
            for channel in found
            if subject.severity.rank >= channel.severity_min.rank
        ]


def _delivery(
    notification_id: str, event_type: str, receiver: _Receiver, verdict: _Verdict
) -> NewDelivery:
    return NewDelivery(
        delivery_id=new_id(),
        notification_id=notification_id,
        channel_id=receiver.channel_id,
        mail_to=receiver.mail_to,
        receiver_hint=receiver.hint,
        event_type=event_type,
        alert_id="",
        state=verdict.state,
        due_at=verdict.due_at,
        digest_key=verdict.digest_key,
        is_held=verdict.is_held,
    )


async def _verdict(
    tx: Transaction,
    tenant_id: str,
    rules: Sequence[SuppressionRule],
    receiver: _Receiver,
    subject: Subject,
    *,
    alert_id: str,
    at: datetime,
) -> _Verdict:
    """Returns what the rules make of a delivery: dropped, else the latest they let it go."""
    # Rules are about alerts: a report that was asked for comes when it comes.
    applying = [rule for rule in rules if alert_id and rule.applies(subject, at)]
    for rule in applying:
        if rule.kind is SuppressionKind.MAINTENANCE:
            return _Verdict(DeliveryState.SUPPRESSED, None, rule.rule_id)
    due_at, rule_id = at, ""
    for rule in applying:
        end = rule.quiet_hours.end_after(at) if rule.quiet_hours is not None else None
        if end is not None and end > due_at:
            due_at, rule_id = end, rule.rule_id
    for rule in applying:
        if rule.grouping is None:
            continue
        await alert_policies.lock_rule(tx, tenant_id, rule.rule_id)
        key = f"{rule.rule_id}|{rule.grouping.key(subject)}"
        group = CollectedGroup(tenant_id, receiver.channel_id, receiver.mail_to, key)
        since = at - rule.grouping.window
        recent, until = await digests.recent_of_group(tx, group, since)
        if until is None and recent + 1 < rule.grouping.count_min:
            return _Verdict(DeliveryState.QUEUED, due_at, rule_id, key)
        held_until = max(due_at, until or at + rule.grouping.window)
        return _Verdict(DeliveryState.QUEUED, held_until, rule.rule_id, key, is_held=True)
    return _Verdict(DeliveryState.QUEUED, due_at, rule_id)

"""What time and the queue of fired alerts do to alerts: announce, escalate, wake, bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.budget.domain.alert import AlertKind, AlertState
from services.budget.domain.escalation import EscalationPolicy
from services.budget.service.alert_life import AlertLife
from services.budget.service.alert_notices import notice_of, subject_of
from services.budget.service.notifying import Notifier
from services.budget.store import alert_policies
from services.budget.store import alerts as store
from services.budget.store.alerts import StoredAlert
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction

BATCH = 100  # alerts of one transaction: its locks are held for a fraction of a second


class Announcer:
    """Queues the notifications of alerts that fired, and takes the steps that time asks for."""

    def __init__(
        self, database: Database, life: AlertLife, notifier: Notifier, *, clock: Clock
    ) -> None:
        """Takes what steps alerts and what tells about them."""
        self._database = database
        self._life = life
        self._notifier = notifier
        self._clock = clock

    async def announce(self) -> int:
        """Queues the notifications of alerts that fired, and returns of how many."""
        return await self._database.run(None, self._announce)

    async def take_due_steps(self) -> int:
        """Escalates what nobody took in time and wakes what was snoozed; returns how many."""
        return await self._database.run(None, self._take_due_steps)

    async def _announce(self, tx: Transaction) -> int:
        found = await store.unannounced(tx, BATCH)
        now = self._clock.now()
        for stored in found:
            alert = stored.alert
            is_failure = alert.cause.kind is AlertKind.DELIVERY_FAILURE
            failing = alert.cause.key.partition("@")[0] if is_failure else ""
            queued = await self._notifier.notify(
                tx,
                alert.tenant_id,
                notice_of(alert, "opened"),
                subject_of(alert),
                at=now,
                channel_ids=stored.channel_ids,
                mail_to=stored.recipients,
                alert_id=alert.alert_id,
                excluded=[failing] if failing else [],
            )
            told = replace(alert, suppression_rule_id=queued.suppression_rule_id)
            policy = await self._policy(tx, stored)
            if policy is not None and told.state.is_waiting:
                told = policy.scheduled(told, now)
            await store.mark_announced(tx, told, queued.delivery_ids, now)
        return len(found)

    async def _take_due_steps(self, tx: Transaction) -> int:
        now = self._clock.now()
        found = await store.due_alerts(tx, now, BATCH)
        for stored in found:
            if stored.alert.state is AlertState.SNOOZED:
                await self._wake(tx, stored)
            else:
                await self._escalate(tx, stored)
        return len(found)

    async def _wake(self, tx: Transaction, stored: StoredAlert) -> None:
        """Opens a snoozed alert again; what made its cause go away has resolved it before."""
        now = self._clock.now()
        after = stored.alert.awake()
        policy = await self._policy(tx, stored)
        if policy is not None:
            after = policy.scheduled(after, now)
        queued = await self._notify(tx, stored, after.alert_id, "reopened", stored.channel_ids)
        note = "The snooze is over."
        await self._life.step(tx, stored, after, note=note, at=now, delivery_ids=queued)

    async def _escalate(self, tx: Transaction, stored: StoredAlert) -> None:
        now = self._clock.now()
        policy = await self._policy(tx, stored)
        after, step = (
            (replace(stored.alert, next_escalation_at=None), None)
            if policy is None
            else policy.escalated(stored.alert, now)
        )
        if step is None:
            await store.update_alert(tx, replace(stored, alert=after))
            return
        queued = await self._notify(
            tx, stored, after.alert_id, "escalated", step.channel_ids, is_named=False
        )
        note = f"Step {after.escalation_level} of the escalation policy."
        await self._life.step(tx, stored, after, note=note, at=now, delivery_ids=queued)

    async def _notify(
        self,
        tx: Transaction,
        stored: StoredAlert,
        alert_id: str,
        verb: str,
        channel_ids: Sequence[str],
        *,
        is_named: bool = True,
    ) -> Sequence[str]:
        """is_named: whether the budget's own recipients get it as well."""
        queued = await self._notifier.notify(
            tx,
            stored.alert.tenant_id,
            notice_of(stored.alert, verb),
            subject_of(stored.alert),
            at=self._clock.now(),
            channel_ids=channel_ids,
            mail_to=stored.recipients if is_named else (),
            alert_id=alert_id,
        )
        return queued.delivery_ids

    async def _policy(self, tx: Transaction, stored: StoredAlert) -> EscalationPolicy | None:
        policy_id = stored.alert.escalation_policy_id
        if not policy_id:
            return None
        return await alert_policies.find_policy(tx, stored.alert.tenant_id, policy_id)

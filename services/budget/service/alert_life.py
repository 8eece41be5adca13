"""Steps in the life of alerts: each is one row, one entry of its history and one fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.budget.domain.alert import (
    SYSTEM,
    Alert,
    AlertCause,
    AlertState,
    AlertTransition,
)
from services.budget.service.alert_notices import notice_of, subject_of
from services.budget.service.notifying import Notifier
from services.budget.store import alerts as store
from services.budget.store.alerts import AlertFeed, StoredAlert
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id

FIRED = "budget_alerts"  # the channel of the wake-ups for workers that announce


@dataclass(frozen=True, slots=True)
class Fired:
    """A cause, and whom its budget tells."""

    tenant_id: str
    cause: AlertCause
    channel_ids: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    escalation_policy_id: str = ""


class AlertLife:
    """Fires alerts and takes their steps, in the caller's transaction."""

    def __init__(self, database: Database, feed: AlertFeed, notifier: Notifier) -> None:
        """Takes the feed of alerts and what tells about them."""
        self._database = database
        self._feed = feed
        self._notifier = notifier

    async def fire(self, tx: Transaction, fired: Sequence[Fired], *, at: datetime) -> None:
        """Opens an alert for each cause that has none in its period, in order.

        Their notifications are queued right after the commit, by a worker that the rows wake.
        """
        if not fired:
            return
        stored = [
            StoredAlert(
                Alert(
                    alert_id=new_id(),
                    tenant_id=each.tenant_id,
                    cause=each.cause,
                    state=AlertState.OPEN,
                    # A microsecond apart, so that the order in which they fired can be listed.
                    fired_at=at + timedelta(microseconds=place),
                    escalation_policy_id=each.escalation_policy_id,
                ),
                each.channel_ids,
                each.recipients,
            )
            for place, each in enumerate(fired)
        ]
        await store.insert_alerts(tx, stored)
        self._announce(tx, {each.tenant_id for each in fired})

    async def step(
        self,
        tx: Transaction,
        before: StoredAlert,
        after: Alert,
        *,
        actor: str = SYSTEM,
        note: str = "",
        at: datetime,
        delivery_ids: Sequence[str] = (),
    ) -> Alert:
        """Stores a step of a locked alert, and returns the alert as it is then."""
        await store.update_alert(tx, replace(before, alert=after))
        step = AlertTransition(
            from_state=before.alert.state,
            to_state=after.state,
            actor=actor,
            note=note,
            delivery_ids=tuple(delivery_ids),
            transitioned_at=at,
        )
        await store.add_step(tx, after, step)
        self._feed.announce(tx, tenants=[after.tenant_id])
        return replace(after, revision=after.revision + 1)

    async def tell(
        self, tx: Transaction, after: Alert, verb: str, *, at: datetime
    ) -> Sequence[str]:
        """Queues the event of a step for the channels that subscribed to it, and returns the ids.

        People hear of an alert when it opens and when it is escalated; programs of each step.
        """
        queued = await self._notifier.notify(
            tx, after.tenant_id, notice_of(after, verb), subject_of(after), at=at
        )
        return queued.delivery_ids

    async def reopen(
        self, tx: Transaction, before: StoredAlert, cause: AlertCause, *, at: datetime
    ) -> None:
        """Opens an alert again whose cause was gone and is back; it is announced anew."""
        again = replace(before, announced_at=None)
        note = "The cause is back."
        await self.step(tx, again, before.alert.reopened(cause), note=note, at=at)
        self._announce(tx, {before.alert.tenant_id})

    async def auto_resolve(self, tx: Transaction, before: StoredAlert, *, at: datetime) -> None:
        """Closes an alert whose cause is gone."""
        after = before.alert.auto_resolved(at)
        ids = await self.tell(tx, after, "auto_resolved", at=at)
        await self.step(tx, before, after, note="The cause is gone.", at=at, delivery_ids=ids)

    def _announce(self, tx: Transaction, tenants: set[str]) -> None:
        self._feed.announce(tx, tenants=tenants)

        async def wake() -> None:
            self._database.wakeups.announce(FIRED)

        tx.on_commit(wake)

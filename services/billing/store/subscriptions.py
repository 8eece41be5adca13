"""Subscriptions, their phases, events and previews as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, and_, case, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.plan import BillingInterval
from services.billing.domain.subscription import (
    NextTerms,
    Phase,
    PhaseMode,
    Subscription,
    SubscriptionEvent,
    SubscriptionState,
    TrialEndBehavior,
)
from services.billing.store.plan_json import discounts_json, discounts_of
from services.billing.tables.subscriptions import subscription as table
from services.billing.tables.subscriptions import subscription_event as event_table
from services.billing.tables.subscriptions import subscription_phase as phase_table
from services.billing.tables.subscriptions import subscription_preview as preview_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

FINAL = [state.value for state in SubscriptionState if state.is_final]
_STATES = {each.name: each.value for each in SubscriptionState}
_SUBSCRIPTIONS = Listing(
    filters={
        "account_id": FilterField(FieldType.STRING, table.c.account_id),
        "plan_id": FilterField(FieldType.STRING, table.c.plan_id),
        "state": FilterField(FieldType.CHOICE, table.c.state, choices=_STATES),
        "start_time": FilterField(FieldType.TIMESTAMP, table.c.started_at),
        "period_end_time": FilterField(FieldType.TIMESTAMP, table.c.period_end_at),
    },
    orders={"start_time": table.c.started_at, "subscription_id": table.c.subscription_id},
    default_order="start_time desc",
    tie_break="subscription_id",
)
_EVENTS = Listing(
    filters={
        "to_state": FilterField(FieldType.CHOICE, event_table.c.to_state, choices=_STATES),
        "event_time": FilterField(FieldType.TIMESTAMP, event_table.c.occurred_at),
    },
    orders={"event_time": event_table.c.occurred_at, "sequence": event_table.c.sequence},
    default_order="event_time desc",
    tie_break="sequence",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPreview:
    """What a caller was shown: which change of which revision, and what it comes to."""

    preview_id: str
    subscription_id: str
    revision: int
    request: dict[str, Any]
    total: Decimal
    effective_at: datetime
    expire_at: datetime


async def add_subscription(tx: Transaction, subscription: Subscription) -> bool:
    """Adds a subscription; False where its account has one that runs."""
    statement = insert(table).values(**_row(subscription)).on_conflict_do_nothing()
    return await tx.scalar(statement.returning(table.c.subscription_id)) is not None


async def update_subscription(tx: Transaction, subscription: Subscription) -> None:
    """Stores a changed subscription."""
    await tx.execute(
        update(table)
        .where(
            table.c.tenant_id == subscription.tenant_id,
            table.c.subscription_id == subscription.subscription_id,
        )
        .values(**_row(subscription))
    )


async def find_subscription(
    tx: Transaction,
    tenant_id: str,
    *,
    subscription_id: str = "",
    account_id: str = "",
    is_locked: bool = False,
) -> Subscription | None:
    """Returns a subscription by its id, or the one of an account that runs, else its last."""
    statement = select(table).where(table.c.tenant_id == tenant_id)
    if subscription_id:
        statement = statement.where(table.c.subscription_id == subscription_id)
    else:
        statement = statement.where(table.c.account_id == account_id).order_by(
            table.c.state.in_(FINAL), table.c.started_at.desc()
        )
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement.limit(1))).mappings().one_or_none()
    return None if row is None else _subscription_of(row)


async def list_subscriptions(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[Subscription]:
    """Returns a page of a tenant's subscriptions."""
    mine = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _SUBSCRIPTIONS.page(tx, mine, page, tokens)
    return Page([_subscription_of(row) for row in found.items], found.next_page_token)


async def subscriptions_of_plan(tx: Transaction, plan_id: str) -> list[Subscription]:
    """Returns the running subscriptions of all tenants to a plan, locked."""
    found = await tx.execute(
        select(table)
        .where(table.c.plan_id == plan_id, table.c.state.not_in(FINAL))
        .order_by(table.c.tenant_id, table.c.subscription_id)
        .with_for_update()
    )
    return [_subscription_of(row) for row in found.mappings()]


async def due_subscriptions(tx: Transaction, at: datetime, limit: int) -> list[tuple[str, str]]:
    """Returns (tenant, subscription) of those whose period, trial or pause has ended."""
    trial = and_(table.c.state == SubscriptionState.TRIALING.value, table.c.trial_end_at <= at)
    pause = and_(table.c.state == SubscriptionState.PAUSED.value, table.c.resume_at <= at)
    is_due = or_(table.c.period_end_at <= at, trial, pause)
    next_at = case((trial, table.c.trial_end_at), else_=table.c.period_end_at)
    found = await tx.execute(
        select(table.c.tenant_id, table.c.subscription_id)
        .where(table.c.state.not_in(FINAL), is_due)
        .order_by(next_at, table.c.subscription_id)
        .limit(limit)
    )
    return [(tenant_id, subscription_id) for tenant_id, subscription_id in found.all()]


async def add_event(
    tx: Transaction, tenant_id: str, subscription_id: str, event: SubscriptionEvent
) -> None:
    """Adds a step."""
    await tx.execute(
        insert(event_table).values(
            tenant_id=tenant_id,
            subscription_id=subscription_id,
            from_state="" if event.from_state is None else event.from_state.value,
            to_state=event.to_state.value,
            actor=event.actor,
            reason=event.reason,
            plan_id=event.plan_id,
            plan_version=event.plan_version,
            occurred_at=event.occurred_at,
        )
    )


async def list_events(
    tx: Transaction, page: PageRequest, tokens: PageTokens, subscription_id: str
) -> Page[SubscriptionEvent]:
    """Returns a page of a subscription's steps."""
    mine = select(event_table).where(
        event_table.c.tenant_id == page.tenant_id,
        event_table.c.subscription_id == subscription_id,
    )
    found = await _EVENTS.page(tx, mine, page, tokens)
    return Page([_event_of(row) for row in found.items], found.next_page_token)


async def begin_phase(
    tx: Transaction, tenant_id: str, subscription_id: str, phase: Phase | None, at: datetime
) -> None:
    """Ends the running phase at an instant and begins the next; None ends the last."""
    mine = (
        phase_table.c.tenant_id == tenant_id,
        phase_table.c.subscription_id == subscription_id,
    )
    # A phase of no length never held: two changes in one instant leave the later one.
    await tx.execute(delete(phase_table).where(*mine, phase_table.c.start_at >= at))
    await tx.execute(
        update(phase_table).where(*mine, phase_table.c.end_at.is_(None)).values(end_at=at)
    )
    if phase is not None:
        await tx.execute(
            insert(phase_table).values(
                tenant_id=tenant_id,
                subscription_id=subscription_id,
                start_at=phase.start_at,
                plan_id=phase.plan_id,
                plan_version=phase.plan_version,
                quantity=phase.quantity,
                mode=phase.mode.value,
            )
        )


async def phases_in(
    tx: Transaction, tenant_id: str, subscription_id: str, period: Period
) -> Sequence[Phase]:
    """Returns the phases that held in a period, in order."""
    found = await tx.execute(
        select(phase_table)
        .where(
            phase_table.c.tenant_id == tenant_id,
            phase_table.c.subscription_id == subscription_id,
            phase_table.c.start_at < period.end,
            or_(phase_table.c.end_at.is_(None), phase_table.c.end_at > period.start),
        )
        .order_by(phase_table.c.start_at)
    )
    return [
        Phase(
            start_at=row["start_at"],
            end_at=row["end_at"],
            plan_id=row["plan_id"],
            plan_version=row["plan_version"],
            quantity=row["quantity"],
            mode=PhaseMode(row["mode"]),
        )
        for row in found.mappings()
    ]


async def add_preview(tx: Transaction, tenant_id: str, preview: StoredPreview) -> None:
    """Stores what a caller was shown, and forgets what has lapsed."""
    await tx.execute(
        delete(preview_table).where(
            preview_table.c.tenant_id == tenant_id,
            preview_table.c.expire_at < preview.effective_at,
        )
    )
    values = {name: getattr(preview, name) for name in StoredPreview.__slots__}
    await tx.execute(insert(preview_table).values(tenant_id=tenant_id, **values))


async def find_preview(tx: Transaction, tenant_id: str, preview_id: str) -> StoredPreview | None:
    """Returns what a caller was shown; None where it is unknown."""
    found = await tx.execute(
        select(preview_table).where(
            preview_table.c.tenant_id == tenant_id, preview_table.c.preview_id == preview_id
        )
    )
    row = found.mappings().one_or_none()
    if row is None:
        return None
    return StoredPreview(**{name: row[name] for name in StoredPreview.__slots__})


def _row(subscription: Subscription) -> dict[str, Any]:
    waiting = subscription.next_terms
    return {
        "tenant_id": subscription.tenant_id,
        "subscription_id": subscription.subscription_id,
        "account_id": subscription.account_id,
        "plan_id": subscription.plan_id,
        "plan_version": subscription.plan_version,
        "currency_code": subscription.currency_code,
        "quantity": subscription.quantity,
        "state": subscription.state.value,
        "started_at": subscription.started_at,
        "trial_end_at": subscription.trial_end_at,
        "trial_end_behavior": subscription.trial_end_behavior.value,
        "billing_interval": subscription.interval.value,
        "billing_day": subscription.billing_day,
        "time_zone": subscription.time_zone,
        "anchored_on": subscription.anchored_on,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "discounts": discounts_json(subscription.discounts),
        "labels": dict(subscription.labels),
        "period_start_at": subscription.period.start,
        "period_end_at": subscription.period.end,
        "paused_at": subscription.paused_at,
        "resume_at": subscription.resume_at,
        "ended_at": subscription.ended_at,
        "next_plan_id": None if waiting is None else waiting.plan_id,
        "next_plan_version": None if waiting is None else waiting.plan_version,
        "next_quantity": None if waiting is None else waiting.quantity,
        "revision": subscription.revision,
        "created_at": subscription.created_at,
        "updated_at": subscription.updated_at,
    }


def _subscription_of(row: RowMapping) -> Subscription:
    return Subscription(
        tenant_id=row["tenant_id"],
        subscription_id=row["subscription_id"],
        account_id=row["account_id"],
        plan_id=row["plan_id"],
        plan_version=row["plan_version"],
        currency_code=row["currency_code"],
        quantity=row["quantity"],
        state=SubscriptionState(row["state"]),
        started_at=row["started_at"],
        trial_end_at=row["trial_end_at"],
        trial_end_behavior=TrialEndBehavior(row["trial_end_behavior"]),
        interval=BillingInterval(row["billing_interval"]),
        billing_day=row["billing_day"],
        time_zone=row["time_zone"],
        anchored_on=row["anchored_on"],
        cancel_at_period_end=row["cancel_at_period_end"],
        discounts=discounts_of(row["discounts"]),
        labels=row["labels"],
        period=Period(row["period_start_at"], row["period_end_at"]),
        paused_at=row["paused_at"],
        resume_at=row["resume_at"],
        ended_at=row["ended_at"],
        next_terms=None
        if row["next_plan_id"] is None
        else NextTerms(
            plan_id=row["next_plan_id"],
            plan_version=row["next_plan_version"],
            quantity=row["next_quantity"],
        ),
        provider_subscription_id=row["provider_subscription_id"],
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _event_of(row: RowMapping) -> SubscriptionEvent:
    return SubscriptionEvent(
        from_state=SubscriptionState(row["from_state"]) if row["from_state"] else None,
        to_state=SubscriptionState(row["to_state"]),
        actor=row["actor"],
        reason=row["reason"],
        plan_id=row["plan_id"],
        plan_version=row["plan_version"],
        occurred_at=row["occurred_at"],
    )

"""What becomes of a usage event: on a line, with Stripe, waiting, free, or nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.billing.domain.account import AutomatedBilling
from services.billing.domain.metered_route import RouteState
from services.billing.domain.metering import Dimension
from services.billing.domain.provider import ProviderKind
from services.billing.errors.metered import UsageEventUnknown
from services.billing.service import whereabouts
from services.billing.service.invoicing import Wanted
from services.billing.service.provider.port import ProviderFault
from services.billing.service.provider.steps import StepWaits
from services.billing.service.tracing import Tracing, UsageEvent
from services.billing.service.whereabouts import Whereabouts
from services.billing.store.accounts import set_automated
from services.kernel.pagination import PageTokens
from services.kernel.period import Period
from tests.billing.invoicing_stage import Stage, per_unit, used
from tests.billing.provider.meter_stage import APRIL, BEGIN, HOUR, METERED, MeterStage
from tests.billing.provider.test_meter_routes import change
from tests.billing.provider.test_meters import clock, there
from tests.billing.test_chargeback import FEBRUARY, stage
from tests.support.stripe.faults import Fault

__all__ = ["clock", "stage", "there"]
DAY = timedelta(days=1)


@dataclass
class Events:
    """The usage service's events: one id for each instant, of the dimension that was metered."""

    known: dict[str, UsageEvent] = field(default_factory=dict)

    async def page(
        self,
        tenant_id: str,
        dimension: Dimension,
        hours: Period,
        *,
        filter_text: str,
        token: str,
        limit: int,
    ) -> tuple[Sequence[UsageEvent], str]:
        raise AssertionError((tenant_id, dimension, hours, filter_text, token, limit))

    async def find(self, tenant_id: str, source: str, event_id: str) -> UsageEvent | None:
        return self.known.get(f"{tenant_id}/{source}/{event_id}")

    def add(
        self, stage: Stage, at: datetime, recorded_at: datetime | None = None, **attributes: Any
    ) -> str:
        """Adds an event, and returns its id. recorded_at: default when it happened."""
        change = used(at, "1", **attributes)
        event_id = str(len(self.known))
        self.known[f"{stage.tenant}/docs/{event_id}"] = UsageEvent(
            source="docs",
            event_id=event_id,
            start_at=at,
            recorded_at=recorded_at or at,
            quantity=change.metered.quantity,
            cost=change.metered.cost,
            dimension=change.dimension,
        )
        return event_id


async def found(
    stage: Stage, at: datetime, recorded_at: datetime | None = None, **attributes: Any
) -> tuple[list[str], Whereabouts]:
    """Returns the numbers of the invoices that bill what was used then, and what is said of it."""
    events = Events()
    event_id = events.add(stage, at, recorded_at, **attributes)
    tracing = Tracing(stage.database, events, tokens=PageTokens(b"x"))
    lines, where = await tracing.find_invoice_lines(stage.tenant, "docs", event_id)
    return [invoice.number for invoice, _ in lines], where


async def test_an_event_of_a_meter_is_told_to_be_with_stripe(there: MeterStage) -> None:
    await there.subscribe()
    at = BEGIN + 2 * DAY
    await there.work_on(at, "100")
    _, before = await found(there.stage, at)
    await there.past(APRIL)
    await there.differences()

    lines, after = await found(there.stage, at)

    [invoice] = await there.kept()
    [route] = there.world.of("subscription")
    assert (lines, before.pending, after.pending) == ([], False, False)
    assert before.metered is not None
    assert after.metered is not None
    assert before.metered.provider_invoice_ids == []
    assert after.metered.provider_invoice_ids == [invoice.provider_invoice_id]
    assert after.metered.provider_subscription_id == route["id"]
    assert after.metered.charge_id == "tokens"
    assert "has not invoiced" in before.explanation
    assert invoice.provider_invoice_id in after.explanation


async def test_late_usage_of_a_meter_is_on_the_invoice_that_it_was_told_in(
    there: MeterStage,
) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + 20 * DAY, "100")
    await there.past(APRIL)
    await there.use(APRIL - HOUR, "7")
    await there.advance()
    await there.past(APRIL + 30 * DAY)
    await there.differences()

    _, where = await found(there.stage, APRIL - HOUR)

    assert where.metered is not None
    assert len(where.metered.provider_invoice_ids) == 2


async def test_an_event_of_a_new_period_is_not_on_the_invoice_of_the_one_before(
    there: MeterStage,
) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + 20 * DAY, "100")
    await there.past(APRIL)
    await there.differences()
    await there.use(APRIL + 2 * HOUR, "7")

    _, where = await found(there.stage, APRIL + 2 * HOUR)

    assert len(await there.kept()) == 1
    assert where.metered is not None
    assert where.metered.provider_invoice_ids == []


async def test_what_came_after_its_route_had_closed_is_on_no_invoice(there: MeterStage) -> None:
    await there.subscribe()
    at = BEGIN + 2 * DAY
    await there.work_on(at, "100")
    await there.pause(BEGIN + 5 * DAY)
    there.to(BEGIN + 6 * DAY)
    await there.advance()
    await there.use(at, "8")

    _, in_time = await found(there.stage, at)
    _, too_late = await found(there.stage, at, there.clock.now() + HOUR)

    assert await there.route_states() == [RouteState.CLOSED]
    assert in_time.metered is not None
    assert too_late == Whereabouts(explanation=whereabouts.TOO_LATE)


async def test_what_was_left_out_for_a_route_that_was_refused_is_on_no_invoice(
    there: MeterStage,
) -> None:
    await there.subscribe(METERED, per_unit("0.01", charge_id="seats", unit="seat"))
    there.edge.plan = lambda _: Fault.LOST_BEFORE
    await there.use(BEGIN, "100")
    for _ in range(2):
        with pytest.raises((StepWaits, ProviderFault)):
            await there.advance()
    there.to(APRIL + 2 * DAY)
    with there.stage.caller():
        await there.stage.invoices.generate_invoice(
            Wanted(tenant_id=there.tenant, month="2026-03", finalize=True)
        )

    _, before = await found(there.stage, BEGIN)
    await change(there, kind=ProviderKind.OFFLINE)
    await there.advance()
    _, after = await found(there.stage, BEGIN)

    assert await there.route_states() == [RouteState.REFUSED]
    assert before.metered is not None
    assert after == Whereabouts(explanation=whereabouts.REFUSED)


async def test_an_event_says_whether_it_waits_is_billed_or_is_free(stage: Stage) -> None:
    await stage.account()
    await stage.subscribe(await stage.plan(per_unit("0.01")))
    await stage.use(used(FEBRUARY, "100"), used(FEBRUARY, "1", unit="gigabyte"))
    waiting = await found(stage, FEBRUARY)
    free = await found(stage, FEBRUARY, unit="gigabyte")
    nothing = await found(stage, FEBRUARY + HOUR)
    stage.clock.advance(30 * DAY)
    with stage.caller():
        invoice = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )

    billed = await found(stage, FEBRUARY)

    assert waiting == ([], Whereabouts(explanation=whereabouts.WAITS, pending=True))
    assert (free[0], free[1].pending) == ([], False)
    assert "no charge of plan" in free[1].explanation
    assert nothing == ([], Whereabouts(explanation=whereabouts.NOT_COUNTED))
    assert billed[0] == [invoice.number]
    assert billed[1].explanation == f"It is billed on {invoice.number}."


async def test_usage_that_is_not_to_be_billed_waits_for_no_invoice(stage: Stage) -> None:
    account = await stage.account()
    await stage.use(used(FEBRUARY, "100"))
    before = await found(stage, FEBRUARY)
    await stage.subscribe(await stage.plan(per_unit("0.01")))
    async with stage.database.transaction(stage.tenant) as tx:
        automated = AutomatedBilling(account_id=account.account_id)
        wanted = replace(automated, include_usage=False)
        await set_automated(tx, stage.tenant, wanted, stage.clock.now())

    after = await found(stage, FEBRUARY)

    assert before[1] == Whereabouts(explanation=whereabouts.NOBODY)
    assert after[1] == Whereabouts(explanation=whereabouts.SWITCHED_OFF)


async def test_an_event_that_nobody_recorded_is_not_found(stage: Stage) -> None:
    tracing = Tracing(stage.database, Events(), tokens=PageTokens(b"x"))

    with pytest.raises(UsageEventUnknown) as refusal:
        await tracing.find_invoice_lines(stage.tenant, "docs", "1")

    assert refusal.value.reason == "USAGE_EVENT_UNKNOWN"
    assert refusal.value.metadata == {"source": "docs", "event_id": "1"}

"""Billing runs: every account once, one's failure its own, resumable from anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.billing.domain.billing_run import BillingRun, ItemState, RunState
from services.billing.domain.invoice_period import (
    last_over,
    month_of,
    periods_of_month,
    whole_period,
)
from services.billing.domain.invoice_state import InvoiceState
from services.billing.domain.plan import BillingInterval, PriceModel
from services.billing.domain.subscription import Subscription, SubscriptionState
from services.billing.errors import (
    BillingRunNotFound,
    BillingRunStateForbids,
    ExchangeRateMissing,
    NothingToInvoice,
    PeriodNotOver,
    PeriodNotWhole,
)
from services.billing.service.invoicing import Wanted
from services.billing.service.maturing import Maturing
from services.billing.service.running import BillingRuns, WantedRun
from services.billing.store.invoices import drafts_to_finalize
from services.billing.store.runs import list_items
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.pagination import PageRequest, PageTokens
from services.kernel.period import Period, zone
from tests.billing.invoicing_stage import Stage, per_unit, stage_of, used

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def stage(billing_database: Database, clock: ManualClock, tenant: str) -> Stage:
    clock.advance(FEBRUARY - clock.now())
    return stage_of(billing_database, clock, tenant)


def runs_of(stage: Stage) -> BillingRuns:
    return BillingRuns(
        stage.database,
        stage.invoices,
        stage.invoices._issuing,
        tokens=PageTokens(b"x" * 32),
        clock=stage.clock,
    )


def job_of(run: BillingRun) -> Job:
    return Job(1, "billing_run", json.dumps({"run_id": run.run_id}).encode(), 1, None)


async def staged(stage: Stage, quantity: str = "1000", **charge: object) -> Stage:
    await stage.account()
    await stage.subscribe(await stage.plan(per_unit("0.01", **charge)))
    await stage.use(used(FEBRUARY + timedelta(days=3), quantity))
    return stage


async def items_of(stage: Stage, run: BillingRun) -> dict[str, ItemState]:
    request = PageRequest(tenant_id="", method="test", page_size=1000)
    async with stage.database.system_transaction() as tx:
        page = await list_items(tx, request, PageTokens(b"x" * 32), run_id=run.run_id)
    return {item.tenant_id: item.state for item in page.items}


async def test_one_tenants_failure_stops_no_other(
    stage: Stage, billing_database: Database, clock: ManualClock
) -> None:
    good = await staged(stage)
    bad = await staged(
        stage_of(billing_database, clock, f"tenant-{new_id()}"),
        price_model=PriceModel.COST_PLUS,
    )
    # A currency of which the bank has no rate.
    await bad.use(used(FEBRUARY + timedelta(days=4), "1", cost="5", currency_code="XXB"), place=2)
    clock.advance(timedelta(days=30))
    runs = runs_of(stage)
    with stage.caller():
        run = await runs.run_billing(
            WantedRun(tenant_ids=[good.tenant, bad.tenant], month="2026-02", finalize=True)
        )

    await runs.work(job_of(run))

    assert await items_of(stage, run) == {
        good.tenant: ItemState.DONE,
        bad.tenant: ItemState.FAILED,
    }
    with stage.caller():
        after = await runs.get_billing_run(stage.tenant, run.run_id)
    assert after.state is RunState.PUSHING
    assert [(each.currency_code, each.amount) for each in after.totals] == [("USD", Decimal(10))]
    assert after.failed == 1


async def test_a_run_that_is_repeated_makes_no_second_invoice(stage: Stage) -> None:
    await staged(stage)
    stage.clock.advance(timedelta(days=30))
    runs = runs_of(stage)
    wanted = WantedRun(tenant_ids=[stage.tenant], month="2026-02", finalize=True)
    with stage.caller():
        first = await runs.run_billing(wanted)
        await runs.work(job_of(first))
        await runs.work(job_of(first))
        second = await runs.run_billing(wanted)
        await runs.work(job_of(second))
        page = await stage.invoices.list_invoices(
            PageRequest(tenant_id=stage.tenant, method="test")
        )

    assert len(page.items) == 1


async def test_a_cancelled_run_stops_and_a_resumed_one_goes_on(stage: Stage) -> None:
    await staged(stage)
    stage.clock.advance(timedelta(days=30))
    runs = runs_of(stage)
    with stage.caller():
        run = await runs.run_billing(WantedRun(tenant_ids=[stage.tenant], month="2026-02"))
        await runs.cancel_billing_run(run.run_id)
        await runs.work(job_of(run))
        stopped = await items_of(stage, run)
        with pytest.raises(BillingRunStateForbids) as refusal:
            await runs.cancel_billing_run(run.run_id)
        await runs.resume_billing_run(run.run_id, retry_failed=False)
        await runs.work(job_of(run))
        after = await runs.get_billing_run(stage.tenant, run.run_id)

    assert stopped == {stage.tenant: ItemState.PENDING}
    assert refusal.value.reason == "BILLING_RUN_STATE_FORBIDS"
    assert after.state is RunState.SUCCEEDED


async def test_a_dry_run_says_the_total_and_stores_no_invoice(stage: Stage) -> None:
    await staged(stage)
    stage.clock.advance(timedelta(days=30))
    runs = runs_of(stage)
    with stage.caller():
        run = await runs.run_billing(
            WantedRun(tenant_ids=[stage.tenant], month="2026-02", dry_run=True)
        )
        await runs.work(job_of(run))
        after = await runs.get_billing_run(stage.tenant, run.run_id)
        page = await stage.invoices.list_invoices(
            PageRequest(tenant_id=stage.tenant, method="test")
        )

    assert [total.amount for total in after.totals] == [10]
    assert not page.items


async def test_an_unknown_run_is_not_found(stage: Stage) -> None:
    with stage.caller(), pytest.raises(BillingRunNotFound) as refusal:
        await runs_of(stage).get_billing_run(stage.tenant, "nobody")

    assert refusal.value.reason == "BILLING_RUN_NOT_FOUND"


async def test_a_draft_is_locked_when_its_grace_ends_with_the_usage_that_came(
    stage: Stage,
) -> None:
    await staged(stage)
    stage.clock.advance(timedelta(days=28, hours=1))
    with stage.caller():
        draft = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02")
        )
    await stage.use(used(FEBRUARY + timedelta(days=3), "500"), place=2)
    maturing = Maturing(stage.database, stage.invoices, stage.moves, clock=stage.clock)
    job = Job(1, "mature_invoices", b"", 1, None)

    await maturing.run(job)
    early = await stage.invoices.get_invoice(stage.tenant, draft.invoice_id)
    stage.clock.advance(timedelta(days=1))
    await maturing.run(job)
    late = await stage.invoices.get_invoice(stage.tenant, draft.invoice_id)

    assert (draft.total, early.state) == (Decimal("10.00"), InvoiceState.DRAFT)
    assert (late.total, late.state) == (Decimal("15.00"), InvoiceState.LOCKED)


async def test_a_draft_that_cannot_be_locked_keeps_no_other_tenants_from_it(
    stage: Stage, billing_database: Database, clock: ManualClock
) -> None:
    other = stage_of(billing_database, clock, f"tenant-{new_id()}")
    drafts = []
    for one in (stage, other):
        await staged(one)
    clock.advance(timedelta(days=28, hours=1))
    for one in (stage, other):
        with one.caller():
            drafts.append(
                await one.invoices.generate_invoice(Wanted(tenant_id=one.tenant, month="2026-02"))
            )
    async with billing_database.system_transaction() as tx:
        await tx.driver.execute(
            "DELETE FROM billing.subscription WHERE tenant_id = $1", stage.tenant
        )
    clock.advance(timedelta(days=2))

    maturing = Maturing(billing_database, stage.invoices, stage.moves, clock=clock)
    await maturing.run(Job(1, "mature_invoices", b"", 1, None))

    failed = await stage.invoices.get_invoice(stage.tenant, drafts[0].invoice_id)
    done = await other.invoices.get_invoice(other.tenant, drafts[1].invoice_id)
    assert (failed.state, done.state) == (InvoiceState.DRAFT, InvoiceState.LOCKED)


async def test_every_tenant_has_its_turn_however_much_another_waits_for(
    billing_database: Database, clock: ManualClock
) -> None:
    many, one = (f"tenant-{new_id()}" for _ in range(2))
    async with billing_database.system_transaction() as tx:
        for tenant, count in ((many, 30), (one, 1)):
            await tx.driver.executemany(
                "INSERT INTO billing.invoice (tenant_id, invoice_id, account_id, kind, state,"
                " period_start_at, period_end_at, currency_code, subtotal, discount_total,"
                " credit_total, tax_total, total, line_count, created_at, grace_end_at,"
                " subscription_id) VALUES ($1, $2, 'a', 'period', 'draft', $3, $4, 'EUR', 0, 0, 0,"
                " 0, 0, 0, $3, $5, $2)",
                [
                    (tenant, new_id(), FEBRUARY, clock.now() + timedelta(1), LONG_AGO)
                    for _ in range(count)
                ],
            )
        waiting = await drafts_to_finalize(tx, clock.now(), 1_000_000)
        tenants = [tenant for tenant, _ in waiting]
        await tx.driver.execute(
            "DELETE FROM billing.invoice WHERE tenant_id = ANY ($1)", [many, one]
        )

    assert tenants.count(many) == 30
    # No tenant's second comes before another's first.
    assert tenants.index(one) < len(set(tenants))
    assert len(set(tenants[: len(set(tenants))])) == len(set(tenants))


async def test_a_draft_without_an_exchange_rate_is_blocked_and_goes_on_when_mended(
    stage: Stage,
) -> None:
    await staged(stage, price_model=PriceModel.COST_PLUS)
    stage.clock.advance(timedelta(days=28, hours=1))
    with stage.caller():
        draft = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02")
        )
        await stage.use(
            used(FEBRUARY + timedelta(days=4), "1", cost="5", currency_code="XXB"), place=2
        )
        with pytest.raises(ExchangeRateMissing) as refusal:
            await stage.invoices.finalize_invoice(stage.tenant, draft.invoice_id)
    await stage.invoices.finalize_due(stage.tenant, draft.invoice_id)
    blocked = await stage.invoices.get_invoice(stage.tenant, draft.invoice_id)
    with stage.caller():
        mended = await stage.invoices.unblock_invoice(stage.tenant, draft.invoice_id, "rate loaded")

    assert refusal.value.reason == "EXCHANGE_RATE_MISSING"
    assert blocked.state is InvoiceState.BLOCKED
    assert "XXB" in blocked.block_reason
    assert mended.state is InvoiceState.DRAFT


async def test_a_voided_invoice_leaves_its_number_used_and_its_usage_to_the_next(
    stage: Stage,
) -> None:
    await staged(stage)
    stage.clock.advance(timedelta(days=30))
    wanted = Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
    with stage.caller():
        first = await stage.invoices.generate_invoice(wanted)
        await stage.use(used(FEBRUARY + timedelta(days=3), "7"), place=2)
        voided = await stage.invoices.void_invoice(stage.tenant, first.invoice_id, "wrong")
        second = await stage.invoices.generate_invoice(wanted)

    assert voided.state is InvoiceState.VOID
    assert voided.number.endswith("-000001")
    assert second.number.endswith("-000002")
    assert second.total == Decimal("10.07")


async def test_only_periods_that_are_over_are_invoiced(stage: Stage) -> None:
    await staged(stage)

    with stage.caller(), pytest.raises(PeriodNotOver) as early:
        await stage.invoices.generate_invoice(Wanted(tenant_id=stage.tenant, month="2026-02"))
    with stage.caller(), pytest.raises(NothingToInvoice) as none:
        await stage.invoices.generate_invoice(Wanted(tenant_id=stage.tenant, month="2025-02"))

    assert early.value.reason == "PERIOD_NOT_OVER"
    assert none.value.reason == "NOTHING_TO_INVOICE"


def subscription(day: int, started_at: datetime) -> Subscription:
    period = Period(started_at, started_at + timedelta(days=1))
    return Subscription(
        tenant_id="acme",
        subscription_id="one",
        account_id="account",
        plan_id="plan",
        plan_version=1,
        currency_code="USD",
        state=SubscriptionState.ACTIVE,
        started_at=started_at,
        anchored_on=started_at.astimezone(zone("Europe/Zurich")).date(),
        interval=BillingInterval.MONTH,
        billing_day=day,
        time_zone="Europe/Zurich",
        period=period,
        created_at=started_at,
        updated_at=started_at,
    )


def test_a_billing_day_of_31_is_the_last_day_of_february_and_31_again_in_march() -> None:
    one = subscription(31, datetime(2026, 1, 30, 23, tzinfo=UTC))

    days = [
        periods_of_month(one, month)[0].start.isoformat()
        for month in ("2026-01", "2026-02", "2026-03", "2026-04")
    ]

    assert days == [
        "2026-01-30T23:00:00+00:00",  # midnight in Zurich on the 31st
        "2026-02-27T23:00:00+00:00",
        "2026-03-30T22:00:00+00:00",
        "2026-04-29T22:00:00+00:00",
    ]


def test_periods_meet_without_gap_or_overlap_and_end_with_the_subscription() -> None:
    started = datetime(2026, 1, 10, 12, tzinfo=UTC)
    one = replace(subscription(15, started), ended_at=datetime(2026, 4, 2, tzinfo=UTC))
    found = [
        period
        for month in ("2026-01", "2026-02", "2026-03", "2026-04")
        for period in periods_of_month(one, month)
    ]

    assert found[0].start == started
    assert [one.end for one in found[:-1]] == [one.start for one in found[1:]]
    assert found[-1].end == one.ended_at
    assert last_over(one, datetime(2026, 5, 1, tzinfo=UTC)) == found[-1]


def test_a_period_that_is_none_of_the_subscriptions_is_refused() -> None:
    one = subscription(1, datetime(2026, 1, 1, tzinfo=UTC))
    wanted = Period(datetime(2026, 2, 3, tzinfo=UTC), datetime(2026, 2, 9, tzinfo=UTC))

    with pytest.raises(PeriodNotWhole) as refusal:
        whole_period(one, wanted)

    assert refusal.value.reason == "PERIOD_NOT_WHOLE"
    assert month_of("2026-12", "UTC").end == datetime(2027, 1, 1, tzinfo=UTC)

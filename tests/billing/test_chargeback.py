"""Chargeback: departments are charged what allocation gives them, by the invoices' own engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from services.billing.domain.billing_run import BillingRun, ItemState, RunState
from services.billing.domain.invoice import Settlement
from services.billing.domain.invoice_record import ExchangeRate, Invoice
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.domain.metering import Dimension, Metered
from services.billing.domain.plan import PriceModel
from services.billing.domain.provider import ProviderKind, ProviderSettings
from services.billing.domain.settlement import stripe_settlement
from services.billing.errors import InvoiceStateForbids
from services.billing.service.chargeback import AllocatedCost, Chargebacks, WantedChargeback
from services.billing.service.invoicing import Wanted
from services.billing.service.moving import locked_invoice
from services.billing.service.running import BillingRuns
from services.billing.store.provider_settings import StoredSettings, save
from services.billing.store.runs import find_run, list_items
from services.kernel.client import PeerUnavailable
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.job_worker import ATTEMPTS
from services.kernel.jobs import Job
from services.kernel.pagination import PageRequest, PageTokens
from services.kernel.period import Period
from tests.billing.invoicing_stage import Stage, per_unit, stage_of, used

TOKENS = PageTokens(b"x" * 32)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
RATE = ExchangeRate(
    from_currency="EUR",
    to_currency="USD",
    rate=Decimal("1.1"),
    rate_date=date(2026, 2, 27),
    source="ECB",
)


class Costs:
    """Stands for what the usage service allocates."""

    def __init__(self, *costs: AllocatedCost) -> None:
        self._costs = costs
        self.fault: Exception | None = None
        self.asked: list[tuple[str, Period, str]] = []

    async def of_period(
        self, tenant_id: str, period: Period, currency_code: str
    ) -> tuple[Sequence[AllocatedCost], Sequence[ExchangeRate]]:
        self.asked.append((tenant_id, period, currency_code))
        if self.fault is not None:
            raise self.fault
        return self._costs, [RATE]


def cost(department: str, resource_type: str, amount: str, quantity: str = "1") -> AllocatedCost:
    dimension = Dimension(
        dimension_id="",
        resource_type=resource_type,
        unit="token",
        currency_code="USD",
        department=department,
        tags={},
    )
    return AllocatedCost(
        department_id=department,
        dimension=dimension,
        metered=Metered(quantity=Decimal(quantity), cost=Decimal(amount), events=3),
    )


@pytest.fixture
def stage(billing_database: Database, clock: ManualClock, tenant: str) -> Stage:
    clock.advance(FEBRUARY - clock.now())
    return stage_of(billing_database, clock, tenant)


async def charged(
    stage: Stage, costs: Costs, wanted: WantedChargeback
) -> tuple[RunState, dict[str, Invoice]]:
    """Charges departments, the worker's job done twice, and returns their invoices."""
    chargebacks = Chargebacks(
        stage.database, costs, stage.accounts, stage.invoices._issuing, clock=stage.clock
    )
    with stage.caller():
        run = await chargebacks.generate_chargeback(stage.tenant, wanted)
    for attempt in (1, 2):
        await chargebacks.work(job_of(run, attempt))
    page = await stage.invoices.list_invoices(
        PageRequest(tenant_id=stage.tenant, method="test", page_size=100)
    )
    after = await run_of(stage, run)
    return after.state, {invoice.department_id: invoice for invoice in page.items}


def job_of(run: BillingRun, attempt: int = 1) -> Job:
    payload = {"tenant_id": run.tenant_id, "run_id": run.run_id}
    return Job(1, "chargeback_run", json.dumps(payload).encode(), attempt, None)


async def run_of(stage: Stage, run: BillingRun) -> BillingRun:
    async with stage.database.read(stage.tenant) as tx:
        found = await find_run(tx, run.run_id)
    assert found is not None
    return found


async def items_of(stage: Stage, run: BillingRun) -> dict[str, tuple[ItemState, str]]:
    page = PageRequest(tenant_id=stage.tenant, method="test", page_size=100)
    async with stage.database.read(stage.tenant) as tx:
        found = await list_items(tx, page, TOKENS, run_id=run.run_id)
    return {item.department_id: (item.state, item.error) for item in found.items}


async def resumed(stage: Stage, run: BillingRun) -> BillingRun:
    runs = BillingRuns(
        stage.database,
        stage.invoices,
        stage.invoices._issuing,
        tokens=TOKENS,
        clock=stage.clock,
    )
    with stage.caller():
        return await runs.resume_billing_run(run.run_id, retry_failed=True)


async def test_each_department_gets_one_internal_invoice(stage: Stage) -> None:
    await stage.account()
    stage.clock.advance(timedelta(days=30))
    costs = Costs(
        cost("research", "llm", "10.005"),
        cost("research", "vm", "2.5"),
        cost("sales", "llm", "1.111111"),
        cost("", "storage", "0.4"),
    )

    state, invoices = await charged(stage, costs, WantedChargeback(month="2026-02"))

    assert state is RunState.SUCCEEDED
    totals = {department: invoice.total for department, invoice in invoices.items()}
    assert totals == {
        "research": Decimal("12.51"),
        "sales": Decimal("1.11"),
        "-": Decimal("0.40"),
    }
    research = invoices["research"]
    assert research.kind is InvoiceKind.CHARGEBACK
    assert research.state is InvoiceState.OPEN
    assert research.number.startswith("CB-")
    assert research.exchange_rates == (RATE,)
    assert [line.resource_type for line in await stage.lines(research.invoice_id)] == ["llm", "vm"]


@pytest.mark.parametrize("trouble", ["foreseen", "unforeseen"])
async def test_one_departments_failure_is_shown_stops_no_other_and_is_retried(
    stage: Stage, trouble: str
) -> None:
    is_foreseen = trouble == "foreseen"
    await stage.account()
    stage.clock.advance(timedelta(days=30))
    good, bad = cost("research", "llm", "10"), cost("sales", "llm", "1")
    broken = (
        replace(bad, dimension=replace(bad.dimension, currency_code="EUR"))
        if is_foreseen
        else replace(bad, metered=replace(bad.metered, cost=None))  # type: ignore[arg-type]
    )
    costs = Costs(good, broken)
    chargebacks = Chargebacks(
        stage.database, costs, stage.accounts, stage.invoices._issuing, clock=stage.clock
    )
    with stage.caller():
        run = await chargebacks.generate_chargeback(stage.tenant, WantedChargeback(month="2026-02"))

    await chargebacks.work(job_of(run))
    failed, shown = await run_of(stage, run), await items_of(stage, run)
    costs._costs = (good, bad)
    await resumed(stage, run)
    await chargebacks.work(job_of(run))
    mended, after = await run_of(stage, run), await items_of(stage, run)

    assert failed.state is RunState.PARTIALLY_FAILED
    assert shown["research"] == (ItemState.DONE, "")
    assert shown["sales"][0] is ItemState.FAILED
    assert ("exchange rate" in shown["sales"][1]) is is_foreseen
    assert ("see the log" in shown["sales"][1]) is not is_foreseen
    assert mended.state is RunState.SUCCEEDED
    assert after == {"research": (ItemState.DONE, ""), "sales": (ItemState.DONE, "")}


async def test_a_run_whose_cost_cannot_be_asked_for_says_why_and_can_be_resumed(
    stage: Stage,
) -> None:
    await stage.account()
    stage.clock.advance(timedelta(days=30))
    costs = Costs(cost("research", "llm", "10"))
    costs.fault = PeerUnavailable("The usage service does not answer.")
    chargebacks = Chargebacks(
        stage.database, costs, stage.accounts, stage.invoices._issuing, clock=stage.clock
    )
    with stage.caller():
        run = await chargebacks.generate_chargeback(stage.tenant, WantedChargeback(month="2026-02"))

    seen = []
    for attempt in (1, ATTEMPTS):
        with pytest.raises(PeerUnavailable):
            await chargebacks.work(job_of(run, attempt))
        now = await run_of(stage, run)
        seen.append((now.state, now.error))
    costs.fault = None
    await resumed(stage, run)
    await chargebacks.work(job_of(run))

    text = "The usage service does not answer."
    assert seen == [(RunState.LOCKING, text), (RunState.FAILED, text)]
    assert (await run_of(stage, run)).state is RunState.SUCCEEDED


async def test_departments_can_be_charged_by_a_plan_instead(stage: Stage) -> None:
    await stage.account()
    plan_id = await stage.plan(per_unit("0.02"))
    stage.clock.advance(timedelta(days=30))
    costs = Costs(cost("research", "llm", "10", "1000"), cost("sales", "llm", "10", "50"))
    wanted = WantedChargeback(month="2026-02", plan_id=plan_id, department_ids=["research"])

    _, invoices = await charged(stage, costs, wanted)

    assert {name: invoice.total for name, invoice in invoices.items()} == {
        "research": Decimal("20.00")
    }


async def test_usage_in_another_currency_is_converted_at_a_rate_that_is_printed(
    stage: Stage,
) -> None:
    await stage.account()
    charge = per_unit("0", price_model=PriceModel.COST_PLUS, cost_ratio=Decimal("1.5"))
    await stage.subscribe(await stage.plan(charge))
    await stage.use(used(FEBRUARY, "1", cost="100", currency_code="EUR"))
    stage.clock.advance(timedelta(days=30))

    with stage.caller():
        invoice = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )

    [rate] = invoice.exchange_rates
    assert (rate.from_currency, rate.to_currency, rate.source) == ("EUR", "USD", "ECB")
    assert rate.rate_date == date(2026, 2, 27)  # the last business day of the month
    exact = Decimal(100) * Decimal("1.5") * rate.rate
    assert invoice.total == exact.quantize(Decimal("0.01"))
    [line] = await stage.lines(invoice.invoice_id)
    assert (line.source_currency, line.source_amount) == ("EUR", Decimal(150))


async def test_an_overdue_invoice_can_be_written_off_and_no_other(stage: Stage) -> None:
    await stage.account()
    await stage.subscribe(await stage.plan(per_unit("0.01")))
    await stage.use(used(FEBRUARY, "1000"))
    stage.clock.advance(timedelta(days=30))
    with stage.caller():
        made = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
        with pytest.raises(InvoiceStateForbids) as refusal:
            await stage.invoices.write_off_invoice(stage.tenant, made.invoice_id, "gone")
        said = {"actor": "test", "description": "Told."}
        async with stage.database.transaction(stage.tenant) as tx:
            invoice = await locked_invoice(tx, stage.tenant, made.invoice_id)
            for state in (InvoiceState.PUSHING, InvoiceState.OPEN, InvoiceState.PAST_DUE):
                invoice = await stage.moves.move(tx, invoice, state, now=stage.clock.now(), **said)  # type: ignore[arg-type]
        written = await stage.invoices.write_off_invoice(stage.tenant, made.invoice_id, "gone")

    assert refusal.value.reason == "INVOICE_STATE_FORBIDS"
    assert written.state is InvoiceState.UNCOLLECTIBLE
    assert written.amount_due == made.total


async def test_less_than_stripe_collects_waits_for_the_next_invoice(stage: Stage) -> None:
    await stage.account()
    await stage.subscribe(await stage.plan(per_unit("0.01")))
    await stage.use(used(FEBRUARY, "30"), used(FEBRUARY + timedelta(days=30), "500"))
    stage.clock.advance(timedelta(days=62))
    settings = ProviderSettings(
        tenant_id=stage.tenant,
        kind=ProviderKind.STRIPE,
        api_version="test",
        endpoint_id=stage.tenant,
        updated_at=FEBRUARY,
    )
    async with stage.database.transaction(stage.tenant) as tx:
        await save(tx, StoredSettings(settings=settings))

    with stage.caller():
        first, second = [
            await stage.invoices.generate_invoice(
                Wanted(tenant_id=stage.tenant, month=month, finalize=True)
            )
            for month in ("2026-02", "2026-03")
        ]

    assert (first.total, first.state) == (Decimal("0.00"), InvoiceState.PAID)
    assert second.total == Decimal("5.30")
    kinds = [line.kind for line in await stage.lines(second.invoice_id)]
    assert kinds == ["carry_over", "usage"]


def test_each_currency_that_has_a_minimum_has_a_step_it_is_a_multiple_of() -> None:
    assert stripe_settlement("USD") == Settlement(step=1, minimum=50)
    assert stripe_settlement("JPY") == Settlement(step=1, minimum=50)
    assert stripe_settlement("KWD") == Settlement(step=10, minimum=0)

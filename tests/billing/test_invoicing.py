"""Invoices from usage and plan: made once, exact, late usage on the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.billing.domain.invoice_state import InvoiceState
from services.billing.service.invoicing import Wanted
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from tests.billing.invoicing_stage import Stage, per_unit, stage_of, used

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def stage(billing_database: Database, clock: ManualClock, tenant: str) -> Stage:
    clock.advance(FEBRUARY - clock.now())
    return stage_of(billing_database, clock, tenant)


async def subscribed(stage: Stage, price: str = "0.0125", **rates: Any) -> None:
    await stage.account()
    await stage.subscribe(await stage.plan(per_unit(price), **rates))


async def test_usage_of_a_period_becomes_one_exact_invoice(stage: Stage) -> None:
    await subscribed(stage)
    await stage.use(used(FEBRUARY + timedelta(days=3), "1001"), used(FEBRUARY, "3"))
    stage.clock.advance(timedelta(days=30))

    with stage.caller():
        invoice = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
        again = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )

    assert invoice.total == Decimal("12.55")
    assert invoice.state is InvoiceState.LOCKED
    assert invoice.number.endswith("-000001")
    assert again.invoice_id == invoice.invoice_id
    [line] = await stage.lines(invoice.invoice_id)
    assert line.quantity == 1004
    assert line.exact_amount == Decimal("12.55")


async def test_late_usage_becomes_a_line_of_the_next_invoice(stage: Stage) -> None:
    await subscribed(stage)
    await stage.use(used(FEBRUARY + timedelta(days=3), "1000"))
    stage.clock.advance(timedelta(days=30))
    with stage.caller():
        first = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
    await stage.use(used(FEBRUARY + timedelta(days=3), "200"), place=2)
    await stage.use(used(MARCH + timedelta(days=2), "400"), place=3)
    stage.clock.advance(timedelta(days=31))

    with stage.caller():
        second = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-03", finalize=True)
        )

    assert first.total == Decimal("12.50")
    lines = await stage.lines(second.invoice_id)
    assert [(line.kind, line.amount) for line in lines] == [
        ("usage", Decimal("5.00")),
        ("late_usage", Decimal("2.50")),
    ]
    assert second.number.endswith("-000002")

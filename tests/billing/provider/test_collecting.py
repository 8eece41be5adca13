"""A charge takes what is due here, or is not made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest

from services.billing.domain.payment import AttemptState, PaymentAttempt
from services.billing.domain.provider import RemoteInvoice, RemoteState
from services.billing.service.provider.collecting import require_same_amount
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.steps import StepRefused
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.money import Money
from tests.billing.conftest import Billing
from tests.billing.provider.seeding import Seeded, add_account, add_locked_invoice, work_of


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A provider, outside of us, whose invoice asks for an amount."""

    state: RemoteState
    amount_due: Decimal

    @property
    def provider(self) -> Elsewhere:
        return self

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        yield

    async def fetch_invoice(self, provider_invoice_id: str) -> RemoteInvoice:
        return RemoteInvoice(
            provider_invoice_id=provider_invoice_id,
            state=self.state,
            currency_code="EUR",
            total=Decimal(100),
            amount_paid=Decimal(100) - self.amount_due,
            amount_due=self.amount_due,
        )


async def check(state: RemoteState, amount_due: str) -> str:
    attempt = PaymentAttempt(
        attempt_id="a1",
        invoice_id="i1",
        attempt_number=1,
        state=AttemptState.STARTED,
        amount=Money("EUR", Decimal(60)),
        attempted_at=datetime(2026, 3, 1, tzinfo=UTC),
        payment_method_id="",
    )
    opened = cast("Opened", cast("Any", Elsewhere(state, Decimal(amount_due))))
    await require_same_amount(opened, "in_1", attempt, "key")
    return "charged"


async def test_after_a_transfer_of_a_part_the_whole_is_not_charged() -> None:
    with pytest.raises(StepRefused, match="a part came in elsewhere"):
        await check(RemoteState.OPEN, "100")


@pytest.mark.parametrize(
    ("state", "amount_due"), [(RemoteState.OPEN, "60.00"), (RemoteState.PAID, "0")]
)
async def test_what_is_due_here_is_charged_and_what_was_charged_is_read_back(
    state: RemoteState, amount_due: str
) -> None:
    outcome = await check(state, amount_due)

    assert outcome == "charged"


@pytest.fixture
async def opened(billing: Billing, billing_database: Database) -> Seeded:
    """An invoice that the offline provider has opened."""
    account_id = await add_account(billing_database, billing.tenant)
    seeded = await add_locked_invoice(billing_database, billing.tenant, account_id)
    work = work_of(billing_database, Providers(billing_database, Envelope([])))
    await work.pushing.push(seeded.tenant_id, seeded.invoice_id)
    return seeded


async def test_what_the_provider_voids_waits_for_the_next_invoice(
    billing: Billing, billing_database: Database, opened: Seeded
) -> None:
    async with billing_database.transaction(billing.tenant) as tx:
        await tx.driver.execute(
            "INSERT INTO billing.pending_line (tenant_id, account_id, line_key, subscription_id,"
            " currency_code, line, invoice_id, created_at)"
            " VALUES ($1, 'a', 'fee', 's', 'EUR', '{}', $2, $3)",
            *(billing.tenant, opened.invoice_id, datetime.now(UTC)),
        )
    providers = Providers(billing_database, Envelope([]))
    work = work_of(billing_database, providers)
    there = await work.providers.of(billing.tenant)
    async with billing_database.read(billing.tenant) as tx:
        known = await tx.driver.fetchval(
            "SELECT provider_invoice_id FROM billing.invoice WHERE invoice_id = $1",
            opened.invoice_id,
        )
    void = RemoteInvoice(
        provider_invoice_id=known,
        state=RemoteState.VOID,
        currency_code="EUR",
        total=opened.total,
        amount_paid=Decimal(0),
        amount_due=Decimal(0),
    )

    has_changed = await work.collecting.learn(billing.tenant, opened.invoice_id, there, void)

    async with billing_database.read(billing.tenant) as tx:
        waiting = await tx.driver.fetchrow(
            "SELECT line_key, invoice_id FROM billing.pending_line WHERE tenant_id = $1",
            billing.tenant,
        )
    assert has_changed
    assert waiting is not None
    assert tuple(waiting) == ("fee", None)

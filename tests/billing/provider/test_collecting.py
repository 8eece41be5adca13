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
from services.billing.service.provider.providers import Opened
from services.billing.service.provider.steps import StepRefused
from services.kernel.money import Money


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

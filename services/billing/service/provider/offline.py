"""No provider: invoices carry bank details, and payments are recorded by hand or import.

The same steps as anywhere, done at once: what the tables say is all there is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal

from services.billing.domain.provider import (
    ProviderKind,
    PushedCredit,
    PushedInvoice,
    PushedLine,
    RemoteCharge,
    RemoteCredit,
    RemoteEvent,
    RemoteInvoice,
    RemoteLine,
    RemoteMethod,
    RemoteOutcome,
    RemotePayment,
    RemoteState,
)
from services.billing.service.provider.meter_port import UsageMeters
from services.billing.service.provider.port import (
    PortalSession,
    ProviderCheck,
    Refused,
    Setup,
)

_ZERO = Decimal(0)
_NO_PAGES = "the offline provider has no pages and no cards; use a bank transfer"


class OfflineProvider:
    """Settles by hand, and keeps nothing."""

    kind = ProviderKind.OFFLINE
    # What a plan would have a meter price is priced here, like any other usage.
    meters: UsageMeters | None = None

    async def create_customer(
        self, key: str, *, tenant_id: str, account_id: str, currency_code: str
    ) -> str:
        """Returns an id made of the account's."""
        del key, tenant_id
        return f"off_cus_{account_id}_{currency_code.lower()}"

    async def find_customer(
        self, *, tenant_id: str, account_id: str, currency_code: str, since: datetime
    ) -> str | None:
        """Returns the same id: it needs no making."""
        del since
        return await self.create_customer(
            "", tenant_id=tenant_id, account_id=account_id, currency_code=currency_code
        )

    async def create_invoice(
        self, key: str, invoice: PushedInvoice, *, customer_id: str
    ) -> RemoteInvoice:
        """Returns the draft, whose id is made of ours."""
        del key
        return RemoteInvoice(
            provider_invoice_id=f"off_in_{invoice.invoice_id}",
            state=RemoteState.DRAFT,
            currency_code=invoice.currency_code,
            total=invoice.total,
            amount_paid=_ZERO,
            amount_due=invoice.total,
            customer_id=customer_id,
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.invoice_id,
            number=invoice.number,
            lines=[
                RemoteLine(line_id=li.line_id, amount=li.amount, tax_amount=li.tax_amount)
                for li in invoice.lines
            ],
        )

    async def find_invoice(
        self, invoice: PushedInvoice, *, customer_id: str, since: datetime
    ) -> RemoteInvoice | None:
        """Returns the draft, which needs no making."""
        del since
        return await self.create_invoice("", invoice, customer_id=customer_id)

    async def add_lines(
        self,
        key: str,
        provider_invoice_id: str,
        invoice: PushedInvoice,
        lines: Sequence[PushedLine],
    ) -> None:
        """Has them already."""

    async def fetch_draft(
        self, invoice: PushedInvoice, provider_invoice_id: str
    ) -> RemoteInvoice | None:
        """Returns the draft."""
        del provider_invoice_id
        return await self.create_invoice("", invoice, customer_id="")

    async def fetch_invoice(self, provider_invoice_id: str) -> RemoteInvoice | None:
        """Knows no more than the tables do."""
        del provider_invoice_id
        return None

    async def delete_draft(self, provider_invoice_id: str) -> None:
        """Leaves nothing behind."""

    async def finalize(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Opens the invoice."""
        del key
        return _as(provider_invoice_id, RemoteState.OPEN)

    async def collect(self, key: str, provider_invoice_id: str, *, method_id: str) -> RemoteInvoice:
        """Has nothing to charge."""
        del key, provider_invoice_id, method_id
        raise Refused(_NO_PAGES)

    async def settle(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Marks it as paid."""
        del key
        return _as(provider_invoice_id, RemoteState.PAID)

    async def void(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Voids it."""
        del key
        return _as(provider_invoice_id, RemoteState.VOID)

    async def credit(self, key: str, credit: PushedCredit) -> RemoteCredit:
        """Makes the credit note; a refund goes back by bank."""
        del key
        return RemoteCredit(
            provider_credit_id=f"off_cn_{credit.credit_note_id}",
            credit_note_id=credit.credit_note_id,
            total=credit.total,
        )

    async def find_credit(self, credit: PushedCredit) -> RemoteCredit | None:
        """Returns the credit note, which needs no making."""
        return await self.credit("", credit)

    async def credits_of(self, provider_invoice_id: str) -> Sequence[RemoteCredit]:
        """Returns none: they are in the tables."""
        del provider_invoice_id
        return []

    async def fetch_charge(self, charge_id: str) -> RemoteCharge | None:
        """Returns none: nobody is charged."""
        del charge_id
        return None

    async def payments_of(
        self, provider_invoice_id: str, *, is_detailed: bool = False
    ) -> Sequence[RemotePayment]:
        """Took nothing."""
        del provider_invoice_id, is_detailed
        return []

    async def outcome_of(self, provider_invoice_id: str) -> RemoteOutcome | None:
        """Took nothing."""
        del provider_invoice_id
        return None

    async def begin_setup(self, *, customer_id: str) -> Setup:
        """Has no cards."""
        del customer_id
        raise Refused(_NO_PAGES)

    async def finished_setup(self, setup_id: str) -> tuple[str, str]:
        """Has no cards."""
        del setup_id
        raise Refused(_NO_PAGES)

    async def attach(self, method_id: str, *, customer_id: str) -> RemoteMethod:
        """Has no cards."""
        del method_id, customer_id
        raise Refused(_NO_PAGES)

    async def make_default(self, method_id: str, *, customer_id: str) -> None:
        """Has no cards."""
        del method_id, customer_id
        raise Refused(_NO_PAGES)

    async def fetch_method(self, method_id: str) -> RemoteMethod | None:
        """Has no cards."""
        del method_id
        return None

    async def detach(self, method_id: str) -> None:
        """Has nothing to take away."""

    async def open_portal(self, *, customer_id: str, return_url: str) -> PortalSession:
        """Has no pages."""
        del customer_id, return_url
        raise Refused(_NO_PAGES)

    async def check(self) -> ProviderCheck:
        """Is always there."""
        return ProviderCheck(api_version="", live_mode=None)

    async def events_since(self, since: datetime) -> AsyncIterator[RemoteEvent]:
        """Yields nothing: nothing happens elsewhere."""
        del since
        nothing: Sequence[RemoteEvent] = ()
        for event in nothing:
            yield event

    async def invoices_since(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[RemoteInvoice]:
        """Yields nothing: the tables have them all."""
        del since, until
        nothing: Sequence[RemoteInvoice] = ()
        for invoice in nothing:
            yield invoice

    async def close(self) -> None:
        """Holds nothing open."""


def _as(provider_invoice_id: str, state: RemoteState) -> RemoteInvoice:
    return RemoteInvoice(
        provider_invoice_id=provider_invoice_id,
        state=state,
        currency_code="",
        total=_ZERO,
        amount_paid=_ZERO,
        amount_due=_ZERO,
    )

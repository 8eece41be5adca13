"""What billing needs of a payment provider.

Every write takes an idempotency key, and for every write there is a read that tells afterwards
whether it was done. Amounts are in the currency's own units; a provider's units stop here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.billing.domain.provider import (
    ProviderKind,
    PushedCredit,
    PushedInvoice,
    PushedLine,
    RemoteCharge,
    RemoteCredit,
    RemoteEvent,
    RemoteInvoice,
    RemoteMethod,
    RemoteOutcome,
    RemotePayment,
)
from services.billing.service.provider.meter_port import UsageMeters


class ProviderFault(Exception):
    """Base of what can go wrong at a provider. http_status: 0 when no answer came."""

    def __init__(self, text: str, *, http_status: int = 0, request_id: str = "") -> None:
        """text: for people; it holds no secret."""
        super().__init__(text)
        self.http_status = http_status
        self.request_id = request_id


class NoAnswer(ProviderFault):
    """Nobody knows whether it was done: the connection failed, or the same key is under way."""


class Throttled(ProviderFault):
    """Too many requests for the whole account: nothing was done, the same key works later."""


class ProviderDown(Throttled):
    """The account has not answered for a while: it was not asked."""


class AnsweredBadly(ProviderFault):
    """An error that may be repeated for the same key came back: ask before trying again."""


class Refused(ProviderFault):
    """The provider does not take this request, now or later."""


class KeyRejected(ProviderFault):
    """The provider does not take the API key."""


class Declined(ProviderFault):
    """The bank said no, or wants the payer to confirm. decline_code: its reason."""

    def __init__(
        self, text: str, *, decline_code: str, http_status: int = 402, request_id: str = ""
    ) -> None:
        """decline_code: `authentication_required` where the payer must confirm."""
        super().__init__(text, http_status=http_status, request_id=request_id)
        self.decline_code = decline_code

    @property
    def needs_action(self) -> bool:
        """Whether the payer can make it succeed by confirming."""
        return self.decline_code == "authentication_required"


@dataclass(frozen=True, slots=True)
class Setup:
    """A payment method that the browser is to finish. client_secret: for it alone."""

    setup_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class PortalSession:
    """A page of the provider's, open to whoever has its address."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """What a provider says of a key. live_mode: None where it does not tell."""

    api_version: str
    live_mode: bool | None


class PaymentProvider(Protocol):
    """One account at one provider. Every method may raise a ProviderFault."""

    @property
    def kind(self) -> ProviderKind:
        """Which provider it is."""

    @property
    def meters(self) -> UsageMeters | None:
        """What counts and prices usage there, None where usage is always priced here."""

    async def create_customer(
        self, key: str, *, tenant_id: str, account_id: str, currency_code: str
    ) -> str:
        """Returns the id of a new customer."""

    async def find_customer(
        self, *, tenant_id: str, account_id: str, currency_code: str, since: datetime
    ) -> str | None:
        """Returns the customer made since then, None when there is none."""

    async def create_invoice(
        self, key: str, invoice: PushedInvoice, *, customer_id: str
    ) -> RemoteInvoice:
        """Makes an empty draft that nothing advances by itself."""

    async def find_invoice(
        self, invoice: PushedInvoice, *, customer_id: str, since: datetime
    ) -> RemoteInvoice | None:
        """Returns the invoice of ours made since then, None when there is none."""

    async def add_lines(
        self,
        key: str,
        provider_invoice_id: str,
        invoice: PushedInvoice,
        lines: Sequence[PushedLine],
    ) -> None:
        """Adds lines to a draft, all of them or none."""

    async def fetch_draft(
        self, invoice: PushedInvoice, provider_invoice_id: str
    ) -> RemoteInvoice | None:
        """Returns an invoice of ours with all its lines, None when it is gone."""

    async def fetch_invoice(self, provider_invoice_id: str) -> RemoteInvoice | None:
        """Returns an invoice without its lines, None when it is gone."""

    async def delete_draft(self, provider_invoice_id: str) -> None:
        """Deletes a draft; one that is gone already is no fault."""

    async def finalize(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Makes a draft payable."""

    async def collect(self, key: str, provider_invoice_id: str, *, method_id: str) -> RemoteInvoice:
        """Charges an invoice once. method_id: "" for the customer's default. Raises Declined."""

    async def settle(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Marks an invoice as paid elsewhere."""

    async def void(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Voids an invoice."""

    async def credit(self, key: str, credit: PushedCredit) -> RemoteCredit:
        """Makes a credit note, and gives back what its settlement says."""

    async def find_credit(self, credit: PushedCredit) -> RemoteCredit | None:
        """Returns the credit note, None when there is none."""

    async def credits_of(self, provider_invoice_id: str) -> Sequence[RemoteCredit]:
        """Returns all credit notes of an invoice, whoever made them."""

    async def fetch_charge(self, charge_id: str) -> RemoteCharge | None:
        """Returns a charge with its dispute and refunds, None when it is unknown."""

    async def payments_of(
        self, provider_invoice_id: str, *, is_detailed: bool = False
    ) -> Sequence[RemotePayment]:
        """Returns what was taken for an invoice. is_detailed: with refunds, fee and disputes."""

    async def outcome_of(self, provider_invoice_id: str) -> RemoteOutcome | None:
        """Returns what became of the last payment of an unpaid invoice, None without one."""

    async def begin_setup(self, *, customer_id: str) -> Setup:
        """Begins to store a payment method."""

    async def finished_setup(self, setup_id: str) -> tuple[str, str]:
        """Returns customer and payment method of a setup that succeeded. Raises Refused."""

    async def attach(self, method_id: str, *, customer_id: str) -> RemoteMethod:
        """Gives a payment method to a customer; its own already is no fault."""

    async def make_default(self, method_id: str, *, customer_id: str) -> None:
        """Charges this method from now on."""

    async def fetch_method(self, method_id: str) -> RemoteMethod | None:
        """Returns a payment method, None when it is gone."""

    async def detach(self, method_id: str) -> None:
        """Takes a payment method away; one that is gone already is no fault."""

    async def open_portal(self, *, customer_id: str, return_url: str) -> PortalSession:
        """Opens the provider's own page."""

    async def check(self) -> ProviderCheck:
        """Asks whether the key works."""

    def events_since(self, since: datetime) -> AsyncIterator[RemoteEvent]:
        """Yields what happened since then, newest first."""

    def invoices_since(self, since: datetime, until: datetime) -> AsyncIterator[RemoteInvoice]:
        """Yields invoices made in that time, without their lines."""

    async def close(self) -> None:
        """Closes connections."""

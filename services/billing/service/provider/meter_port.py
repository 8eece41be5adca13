"""What billing needs of a provider's meters, which count usage and price it themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from services.billing.domain.metered_route import (
    MeteredPrice,
    MeteredSubscription,
    MeterReport,
    RemoteMeteredInvoice,
)
from services.kernel.period import Period


class UsageMeters(Protocol):
    """The meters of one account at one provider. Every method may raise a ProviderFault."""

    async def create_meter(self, key: str, event_name: str, display_name: str) -> str:
        """Makes a meter that adds up what is reported under a name, and returns its id."""

    async def find_meter(self, event_name: str) -> str | None:
        """Returns the meter of a name, None when there is none."""

    async def create_price(self, key: str, price: MeteredPrice, *, meter_id: str) -> str:
        """Makes a price of what a meter counts, and returns its id."""

    async def find_price(self, lookup_key: str) -> str | None:
        """Returns the price, None when there is none."""

    async def subscribe(self, key: str, wanted: MeteredSubscription) -> str:
        """Begins to bill a customer for what its meters count, and returns the subscription."""

    async def find_subscription(self, wanted: MeteredSubscription, since: datetime) -> str | None:
        """Returns the subscription of a route made since then, None when there is none."""

    async def unsubscribe(self, provider_subscription_id: str) -> None:
        """Bills what was counted, and ends it; one that has ended is no fault."""

    async def report(
        self, key: str, report: MeterReport, *, event_name: str, customer_id: str
    ) -> None:
        """Reports usage; what the provider knows by the identifier already is no fault."""

    async def take_back(self, key: str, report: MeterReport, *, event_name: str) -> None:
        """Takes back a report that is younger than a day."""

    async def counted(self, meter_id: str, *, customer_id: str, minutes: Period) -> Decimal:
        """Returns what was counted in whole minutes; it follows reports with some delay."""

    async def fetch_invoice(self, provider_invoice_id: str) -> RemoteMeteredInvoice | None:
        """Returns an invoice with its lines; None when it is gone, or of no subscription."""

    def invoices_of(self, provider_subscription_id: str) -> AsyncIterator[RemoteMeteredInvoice]:
        """Yields what was invoiced of a subscription, newest first."""

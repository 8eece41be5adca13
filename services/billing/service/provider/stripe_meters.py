"""Stripe Billing Meters: Stripe adds up whole quantities, prices them and invoices them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import stripe

from services.billing.domain.currency import currency
from services.billing.domain.metered_route import (
    MeteredPrice,
    MeteredSubscription,
    MeterReport,
    RemoteMeteredInvoice,
    RemoteMeteredLine,
)
from services.billing.domain.plan import PlanCharge, PriceModel, PriceTier
from services.billing.domain.provider import RemoteState
from services.billing.service.provider import stripe_objects as objects
from services.billing.service.provider.port import Refused
from services.billing.service.provider.stripe_faults import asked
from services.billing.service.provider.stripe_pages import key_of, pages, plain, seconds, was_gone
from services.kernel.money import EXACT, format_decimal
from services.kernel.period import Period

ROUTE, SUBSCRIPTION = "finops_route_id", "finops_subscription_id"
PAGE = 100
CLOCK_SLACK = timedelta(hours=1)  # between Stripe's clock and ours, generously
_KNOWN = "duplicate_meter_event"


class StripeMeters:
    """The meters of one Stripe account."""

    def __init__(self, client: stripe.StripeClient) -> None:
        """client: with the account's key."""
        self._v1 = client.v1

    async def create_meter(self, key: str, event_name: str, display_name: str) -> str:
        """Makes a meter that adds up."""
        params: Any = {
            "display_name": display_name[:250],
            "event_name": event_name,
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "value_settings": {"event_payload_key": "value"},
        }
        return (await asked(self._v1.billing.meters.create_async(params, key_of(key)))).id

    async def find_meter(self, event_name: str) -> str | None:
        """Looks through the active meters."""
        params = {"status": "active", "limit": PAGE}
        async for found in pages(self._v1.billing.meters.list_async, params):
            if found["event_name"] == event_name:
                return str(found["id"])
        return None

    async def create_price(self, key: str, price: MeteredPrice, *, meter_id: str) -> str:
        """Makes a price with a product of its own."""
        params: Any = price_parameters(price, meter_id)
        return (await asked(self._v1.prices.create_async(params, key_of(key)))).id

    async def find_price(self, lookup_key: str) -> str | None:
        """Asks for the lookup key, which is unique."""
        params = {"lookup_keys": [lookup_key], "limit": 1}
        async for found in pages(self._v1.prices.list_async, params):
            return str(found["id"])
        return None

    async def subscribe(self, key: str, wanted: MeteredSubscription) -> str:
        """Subscribes to metered prices alone; nothing is prorated, and nothing due at once."""
        params: Any = {
            "customer": wanted.customer_id,
            "currency": wanted.currency_code.lower(),
            "items": [{"price": price_id} for price_id in wanted.price_ids],
            "billing_cycle_anchor": seconds(wanted.next_period_at),
            "proration_behavior": "none",
            "off_session": True,
            "collection_method": "charge_automatically",
            "metadata": {
                objects.TENANT: wanted.tenant_id,
                SUBSCRIPTION: wanted.subscription_id,
                ROUTE: wanted.route_id,
            },
        }
        if wanted.days_until_due is not None:
            params["collection_method"] = "send_invoice"
            params["days_until_due"] = wanted.days_until_due
        return (await asked(self._v1.subscriptions.create_async(params, key_of(key)))).id

    async def find_subscription(self, wanted: MeteredSubscription, since: datetime) -> str | None:
        """Looks through the customer's subscriptions."""
        params = {
            "customer": wanted.customer_id,
            "created": {"gte": seconds(since - CLOCK_SLACK)},
            "status": "all",
            "limit": PAGE,
        }
        async for found in pages(self._v1.subscriptions.list_async, params):
            if (found.get("metadata") or {}).get(ROUTE) == wanted.route_id:
                return str(found["id"])
        return None

    async def unsubscribe(self, provider_subscription_id: str) -> None:
        """Cancels at once, with an invoice of what is not invoiced."""
        params: Any = {"invoice_now": True, "prorate": False}
        try:
            await asked(self._v1.subscriptions.cancel_async(provider_subscription_id, params))
        except Refused as fault:
            if not was_gone(fault):
                raise

    async def report(
        self, key: str, report: MeterReport, *, event_name: str, customer_id: str
    ) -> None:
        """Sends a meter event."""
        params: Any = {
            "event_name": event_name,
            "identifier": report.identifier,
            "timestamp": seconds(report.occurred_at),
            "payload": {"stripe_customer_id": customer_id, "value": str(report.quantity)},
        }
        try:
            await asked(self._v1.billing.meter_events.create_async(params, key_of(key)))
        except Refused as fault:
            if not _is_known(fault, report.identifier):
                raise

    async def take_back(self, key: str, report: MeterReport, *, event_name: str) -> None:
        """Cancels a meter event."""
        params: Any = {
            "event_name": event_name,
            "type": "cancel",
            "cancel": {"identifier": report.identifier},
        }
        call = self._v1.billing.meter_event_adjustments.create_async(params, key_of(key))
        await asked(call)

    async def counted(self, meter_id: str, *, customer_id: str, minutes: Period) -> Decimal:
        """Adds up the meter's summaries."""
        params = {
            "customer": customer_id,
            "start_time": seconds(minutes.start),
            "end_time": seconds(minutes.end),
            "limit": PAGE,
        }

        async def page(wanted: Any) -> Any:
            return await self._v1.billing.meters.event_summaries.list_async(meter_id, wanted)

        found = [Decimal(str(each["aggregated_value"])) async for each in pages(page, params)]
        return sum(found, Decimal(0))

    async def fetch_invoice(self, provider_invoice_id: str) -> RemoteMeteredInvoice | None:
        """Fetches an invoice and every page of its lines."""
        try:
            found = plain(await asked(self._v1.invoices.retrieve_async(provider_invoice_id)))
        except Refused as fault:
            if was_gone(fault):
                return None
            raise
        return await self._invoice(found)

    async def invoices_of(
        self, provider_subscription_id: str
    ) -> AsyncIterator[RemoteMeteredInvoice]:
        """Lists the subscription's invoices."""
        params = {"subscription": provider_subscription_id, "limit": PAGE}
        async for found in pages(self._v1.invoices.list_async, params):
            invoice = await self._invoice(found)
            if invoice is not None:
                yield invoice

    async def _invoice(self, found: dict[str, Any]) -> RemoteMeteredInvoice | None:
        subscription_id = objects.subscription_of(found)
        if not subscription_id:
            return None

        async def page(params: Any) -> Any:
            return await self._v1.invoices.line_items.list_async(found["id"], params)

        lines = [_line_of(line) async for line in pages(page, {"limit": PAGE})]
        code = found["currency"].upper()
        return RemoteMeteredInvoice(
            provider_invoice_id=found["id"],
            provider_subscription_id=subscription_id,
            state=RemoteState(found["status"]),
            number=found.get("number") or "",
            currency_code=code,
            total=objects.amount(found["total"], code),
            amount_paid=objects.amount(found["amount_paid"], code),
            hosted_url=found.get("hosted_invoice_url") or "",
            created_at=objects.instant(found["created"]),
            lines=lines,
        )


def price_parameters(price: MeteredPrice, meter_id: str) -> dict[str, Any]:
    """Returns a charge as Stripe takes a price; included quantities become a free first tier."""
    charge, code = price.charge, price.currency_code
    found: dict[str, Any] = {
        "currency": code.lower(),
        "lookup_key": price.lookup_key,
        "nickname": price.display_name[:200],
        "product_data": {"name": price.display_name[:250]},
        "recurring": {
            "interval": "month",
            "interval_count": price.interval_months,
            "usage_type": "metered",
            "meter": meter_id,
        },
    }
    if charge.tiers or charge.included_quantity:
        found["billing_scheme"] = "tiered"
        is_volume = charge.price_model is PriceModel.VOLUME
        found["tiers_mode"] = "volume" if is_volume else "graduated"
        found["tiers"] = [_tier(tier, code) for tier in charge.tiers or _included(charge)]
        return found
    found["billing_scheme"] = "per_unit"
    found["unit_amount_decimal"] = _units(charge.unit_price, code)
    if charge.price_model is PriceModel.PACKAGE and charge.package_size != 1:
        found["transform_quantity"] = {"divide_by": int(charge.package_size), "round": "up"}
    return found


def _included(charge: PlanCharge) -> tuple[PriceTier, PriceTier]:
    return PriceTier(charge.included_quantity), PriceTier(None, charge.unit_price)


def _tier(tier: PriceTier, code: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "up_to": "inf" if tier.up_to is None else int(tier.up_to),
        "unit_amount_decimal": _units(tier.unit_price, code),
    }
    if tier.flat_price:
        found["flat_amount_decimal"] = _units(tier.flat_price, code)
    return found


def _units(price: Decimal, code: str) -> str:
    """Returns a price in Stripe's units, which may have a fraction."""
    return format_decimal(EXACT.scaleb(price, Decimal(currency(code).provider_exponent)))


def _line_of(line: dict[str, Any]) -> RemoteMeteredLine:
    details = (line.get("pricing") or {}).get("price_details") or {}
    price = details.get("price") or ""
    begin, end = objects.instant(line["period"]["start"]), objects.instant(line["period"]["end"])
    return RemoteMeteredLine(
        price_id=str(price if isinstance(price, str) else price["id"]),
        quantity=Decimal(str(line.get("quantity_decimal") or line.get("quantity") or 0)),
        amount=objects.amount(line["amount"], line["currency"]),
        period=Period(begin, max(end, begin + timedelta(seconds=1))),
    )


def _is_known(fault: Refused, identifier: str) -> bool:
    """Tells whether an event is refused because it is there: by its code, or its words."""
    error = fault.__cause__
    if not isinstance(error, stripe.StripeError):
        return False
    said = str(error.user_message or "")
    return _KNOWN in str(fault) or ("already exists" in said and identifier in said)

"""The least amounts that a payment provider collects.

Source: docs.stripe.com/currencies, minimum charge amounts; a currency that it does not name
has none here, and the provider answers for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from services.billing.domain.currency import currency
from services.billing.domain.invoice import Settlement

_MINIMUMS: Mapping[str, Decimal] = MappingProxyType(
    {
        code: Decimal(amount)
        for code, amount in (
            *(("USD", "0.50"), ("AED", "2"), ("AUD", "0.50"), ("BRL", "0.50"), ("CAD", "0.50")),
            *(("CHF", "0.50"), ("CZK", "15"), ("DKK", "2.50"), ("EUR", "0.50"), ("GBP", "0.30")),
            *(("HKD", "4"), ("HUF", "175"), ("INR", "0.50"), ("JPY", "50"), ("MXN", "10")),
            *(("MYR", "2"), ("NOK", "3"), ("NZD", "0.50"), ("PLN", "2"), ("RON", "2")),
            *(("SEK", "3"), ("SGD", "0.50"), ("THB", "10")),
        )
    }
)


def stripe_settlement(currency_code: str) -> Settlement:
    """Returns what Stripe can collect in a currency; the rest waits for the next invoice."""
    found = currency(currency_code)
    minimum = _MINIMUMS.get(currency_code, Decimal(0))
    return Settlement(step=found.settlement_step, minimum=found.to_minor(minimum))

"""What the billing service refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import InvalidArgument


class UnknownCurrency(InvalidArgument):
    """Invoices are made in currencies of ISO 4217 that have minor units, such as EUR."""

    reason = "UNKNOWN_CURRENCY"

"""What the billing service refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import FailedPrecondition, InvalidArgument


class UnknownCurrency(InvalidArgument):
    """Invoices are made in currencies of ISO 4217 that have minor units, such as EUR."""

    reason = "UNKNOWN_CURRENCY"


class InvalidPlan(InvalidArgument):
    """A plan has unique charges, rising tiers, and amounts of zero or more."""

    reason = "INVALID_PLAN"


class PlanCurrencyMissing(FailedPrecondition):
    """The plan has no prices in this currency; add them, or subscribe in one that it has."""

    reason = "PLAN_CURRENCY_MISSING"


class ExchangeRateMissing(FailedPrecondition):
    """No exchange rate is known for this usage; load one, then compute the invoice again."""

    reason = "EXCHANGE_RATE_MISSING"


class InvalidTaxRate(InvalidArgument):
    """A tax rate is 0 to 1, and ends after it begins."""

    reason = "INVALID_TAX_RATE"

"""Money, instants, periods and figures between contract and domain."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from finops.common.v1.interval_pb2 import MoneyInterval
from finops.common.v1.money_pb2 import Money
from finops.common.v1.period_pb2 import Period as PeriodMessage
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.money import format_decimal
from services.kernel.period import Period
from services.optimizer.domain.finding import INTERVAL_RATIO, Estimate, rounded, text_of

FIGURE_DIGITS = 9
SAMPLE_DIGITS = 6  # samples are kept in single precision, which has seven


def from_instant(at: datetime) -> Timestamp:
    """Converts an instant."""
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC))
    return stamp


def to_instant(stamp: Timestamp) -> datetime:
    """Converts an instant, cut to microseconds."""
    return stamp.ToDatetime(UTC)


def from_optional(at: datetime | None) -> Timestamp | None:
    """Converts an instant that may be absent."""
    return None if at is None else from_instant(at)


def from_period(period: Period) -> PeriodMessage:
    """Converts a period."""
    return PeriodMessage(start_time=from_instant(period.start), end_time=from_instant(period.end))


def from_amount(amount: Decimal, currency_code: str) -> Money:
    """Converts an amount, to 18 digits after the point."""
    return Money(currency_code=currency_code, amount=format_decimal(rounded(amount)))


def from_estimate(estimate: Estimate, currency_code: str) -> MoneyInterval:
    """Converts an estimate with its bounds."""
    return MoneyInterval(
        expected=from_amount(estimate.expected, currency_code),
        lower=from_amount(estimate.lower, currency_code),
        upper=from_amount(estimate.upper, currency_code),
        confidence_ratio=format_decimal(INTERVAL_RATIO),
    )


def from_figure(figure: Decimal | float | None) -> str:
    """Converts a measured figure, "" when it is unknown."""
    if figure is None:
        return ""
    return text_of(figure, SAMPLE_DIGITS if isinstance(figure, float) else FIGURE_DIGITS)

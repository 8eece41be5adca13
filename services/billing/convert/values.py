"""Instants, periods and money between contract and domain."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from finops.common.v1.money_pb2 import Money as WireMoney
from finops.common.v1.period_pb2 import Period as WirePeriod
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.money import Money, format_decimal, parse_decimal
from services.kernel.period import Period


def from_instant(instant: datetime | None) -> Timestamp | None:
    """Converts an instant; None stays absent."""
    if instant is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def to_instant(stamp: Timestamp) -> datetime:
    """Converts an instant."""
    return stamp.ToDatetime(UTC)


def from_period(period: Period) -> WirePeriod:
    """Converts a period."""
    return WirePeriod(start_time=from_instant(period.start), end_time=from_instant(period.end))


def to_period(period: WirePeriod) -> Period:
    """Converts a period. Raises InvalidPeriod."""
    return Period(to_instant(period.start_time), to_instant(period.end_time))


def from_amount(currency_code: str, amount: Decimal) -> WireMoney:
    """Converts an amount with its currency, all digits kept."""
    return WireMoney(currency_code=currency_code, amount=format_decimal(amount))


def from_money(money: Money) -> WireMoney:
    """Converts money."""
    return from_amount(money.currency_code, money.amount)


def to_money(money: WireMoney) -> Money:
    """Converts money. Raises InvalidDecimal, InvalidCurrency."""
    return Money(money.currency_code, parse_decimal(money.amount))


def from_decimal(value: Decimal | None) -> str:
    """Converts a quantity; None is empty."""
    return "" if value is None else format_decimal(value)

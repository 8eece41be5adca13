"""Instants, periods and money between contract and domain."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from finops.common.v1.money_pb2 import Money as MoneyMessage
from finops.common.v1.period_pb2 import Period as PeriodMessage
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.errors import FieldViolations
from services.kernel.money import Money, format_decimal, parse_decimal
from services.kernel.period import Period

# The bounds of usage; they also keep the arithmetic of periods inside the calendar.
_FIRST: Final = 0
_END: Final = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())


def to_instant(stamp: Timestamp, field: str = "") -> datetime:
    """Converts an instant. Raises FieldViolations for one that no calendar of periods reaches."""
    if not _FIRST <= stamp.seconds < _END:
        raise FieldViolations([(field, "must lie in the years 1970 to 2199")])
    return stamp.ToDatetime(tzinfo=UTC)


def to_optional(message: Message, name: str) -> datetime | None:
    """Converts the instant of a field, None where it is absent."""
    return to_instant(getattr(message, name), name) if message.HasField(name) else None


def from_instant(instant: datetime) -> Timestamp:
    """Converts an instant."""
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def from_optional(instant: datetime | None) -> Timestamp | None:
    """Converts an instant that may be absent."""
    return None if instant is None else from_instant(instant)


def to_money(message: MoneyMessage) -> Money:
    """Converts money. Raises InvalidDecimal, InvalidCurrency."""
    return Money(message.currency_code, parse_decimal(message.amount))


def from_money(money: Money) -> MoneyMessage:
    """Converts money."""
    return MoneyMessage(currency_code=money.currency_code, amount=format_decimal(money.amount))


def from_amount(currency_code: str, amount: Decimal) -> MoneyMessage:
    """Converts an amount of a currency."""
    return MoneyMessage(currency_code=currency_code, amount=format_decimal(amount))


def to_period(message: PeriodMessage) -> Period:
    """Converts a period. Raises InvalidPeriod."""
    return Period(
        to_instant(message.start_time, "start_time"), to_instant(message.end_time, "end_time")
    )


def from_period(period: Period) -> PeriodMessage:
    """Converts a period."""
    return PeriodMessage(start_time=from_instant(period.start), end_time=from_instant(period.end))

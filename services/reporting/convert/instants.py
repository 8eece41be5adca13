"""Instants, periods and money between contract and domain."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from finops.common.v1.money_pb2 import Money as MoneyMessage
from finops.common.v1.period_pb2 import Period as PeriodMessage
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.money import format_decimal
from services.kernel.period import Period


def to_instant(stamp: Timestamp) -> datetime:
    """Converts an instant."""
    return stamp.ToDatetime(tzinfo=UTC)


def from_instant(instant: datetime) -> Timestamp:
    """Converts an instant."""
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def from_optional(instant: datetime | None) -> Timestamp | None:
    """Converts an instant that may be absent."""
    return None if instant is None else from_instant(instant)


def from_amount(currency_code: str, amount: Decimal) -> MoneyMessage:
    """Converts an amount of a currency."""
    return MoneyMessage(currency_code=currency_code, amount=format_decimal(amount))


def from_period(period: Period) -> PeriodMessage:
    """Converts a period."""
    return PeriodMessage(start_time=from_instant(period.start), end_time=from_instant(period.end))

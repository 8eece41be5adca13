"""Movements of a budget's totals: added, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from services.kernel.period import Period


class LedgerEntryKind(IntEnum):
    """Why a budget's totals moved; numbers as in the contract."""

    USAGE = 1
    CORRECTION = 2
    HOLD = 3
    SETTLEMENT = 4
    RELEASE = 5
    EXPIRY = 6
    ROLLOVER = 7
    REPAIR = 8


class Movement(NamedTuple):
    """What one cause adds to the totals of one budget in one period, in the budget's currency.

    settled_change: the part of spent_change that stands on a settlement, which the usage event of
    the same work replaces. source_currency, source_amount, rate, rate_date: empty and None unless
    the amount came in another currency.
    """

    tenant_id: str
    budget_id: str
    period_start: datetime
    kind: LedgerEntryKind
    currency_code: str
    spent_change: Decimal = Decimal(0)
    held_change: Decimal = Decimal(0)
    settled_change: Decimal = Decimal(0)
    excess_change: Decimal = Decimal(0)
    unpriced_change: int = 0
    source_currency: str = ""
    source_amount: Decimal | None = None
    rate: Decimal | None = None
    rate_date: str = ""
    authorization_id: str = ""
    usage_event_id: str = ""
    feed_sequence: str = ""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One stored movement. entry_id: rises with the order of entering."""

    entry_id: int
    budget_id: str
    kind: LedgerEntryKind
    period: Period
    currency_code: str
    spent_change: Decimal
    held_change: Decimal
    source_currency: str
    source_amount: Decimal | None
    rate: Decimal | None
    rate_date: str
    authorization_id: str
    usage_event_id: str
    feed_sequence: str
    created_at: datetime

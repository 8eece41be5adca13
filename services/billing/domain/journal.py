"""What happens in billing: the facts of the feed and of an account's time line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from services.kernel.money import Money


class FactKind(Enum):
    """What a fact is about."""

    INVOICE = "invoice"
    PAYMENT = "payment"
    REFUND = "refund"
    CREDIT_NOTE = "credit_note"
    CREDIT = "credit"
    SUBSCRIPTION = "subscription"
    PLAN = "plan"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingFact:
    """One change of one resource.

    account_id: "" for plans. from_state: "" for a creation; states are in lower case.
    title: one line for the account's time line; "" where the change is no entry of its own, and
    only shows as the new state of the resource's entries. It names no person.
    amount: of the resource or change; negative in the customer's favour.
    balance_change: what the change adds to what the account owes, in its currency.
    """

    kind: FactKind
    resource_id: str
    to_state: str
    occurred_at: datetime
    account_id: str = ""
    from_state: str = ""
    amount: Money | None = None
    title: str = ""
    invoice_id: str = ""
    subscription_id: str = ""
    balance_change: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of an account's time line. balance: what the account owed after it."""

    entry_id: str
    kind: FactKind
    resource_id: str
    title: str
    amount: Money | None
    balance: Money
    state: str
    occurred_at: datetime

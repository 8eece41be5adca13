"""Prepaid credit: granted, used in order, lapsing, given back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

from services.billing.domain.currency import currency
from services.billing.domain.invoice import AvailableCredit
from services.billing.errors import InvalidCreditGrant
from services.kernel.money import Money

_NEVER = datetime.max.replace(tzinfo=UTC)


class GrantState(Enum):
    """Where a grant is in its life."""

    SCHEDULED = "scheduled"
    ACTIVE = "active"
    USED = "used"
    EXPIRED = "expired"
    VOID = "void"


class CreditKind(Enum):
    """Why the credit balance moved."""

    GRANT = "grant"
    USE = "use"
    RETURN = "return"
    EXPIRY = "expiry"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGrant:
    """Prepaid credit in one currency; it pays invoices in that currency only.

    priority: lowest is used first, then the earliest end. start_at, expire_at: half-open; None
    never lapses. paid: bought, not given. charge_ids: what it pays; empty for everything.
    Raises InvalidCreditGrant, UnknownCurrency.
    """

    credit_grant_id: str
    account_id: str
    currency_code: str
    amount: Decimal
    remaining: Decimal
    display_name: str
    start_at: datetime
    created_at: datetime
    priority: int = 0
    expire_at: datetime | None = None
    paid: bool = False
    charge_ids: tuple[str, ...] = ()
    voided_at: datetime | None = None

    def __post_init__(self) -> None:
        try:
            currency(self.currency_code).to_minor(self.amount)
        except ValueError as error:
            raise InvalidCreditGrant(f"amount: {error}", field="amount") from error
        if self.expire_at is not None and self.expire_at <= self.start_at:
            raise InvalidCreditGrant("expire_time must be later than start_time")

    def state(self, at: datetime) -> GrantState:
        """Returns the state at an instant."""
        if self.voided_at is not None:
            return GrantState.VOID
        if not self.remaining:
            return GrantState.USED
        if self.expire_at is not None and self.expire_at <= at:
            return GrantState.EXPIRED
        return GrantState.SCHEDULED if at < self.start_at else GrantState.ACTIVE

    def available(self) -> AvailableCredit:
        """Returns the grant as an invoice uses it."""
        return AvailableCredit(
            credit_grant_id=self.credit_grant_id,
            display_name=self.display_name,
            remaining=self.remaining,
            charge_ids=frozenset(self.charge_ids),
        )


def in_order_of_use(grants: Iterable[CreditGrant], at: datetime) -> list[CreditGrant]:
    """Returns the grants that can pay at an instant, in the order they are used."""
    usable = [grant for grant in grants if grant.state(at) is GrantState.ACTIVE]
    return sorted(
        usable,
        key=lambda grant: (grant.priority, grant.expire_at or _NEVER, grant.credit_grant_id),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTransaction:
    """One movement. amount: negative takes off. balance: of the account after it."""

    transaction_id: str
    account_id: str
    credit_grant_id: str
    kind: CreditKind
    amount: Money
    balance: Money
    created_at: datetime
    invoice_id: str = ""

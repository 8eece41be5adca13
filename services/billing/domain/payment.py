"""Money that comes in and goes back: methods, payments, attempts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from services.kernel.money import EXACT, Money

# Trying the same method again cannot help: the bank will not change its mind.
HARD_DECLINES = frozenset(
    {
        *("expired_card", "lost_card", "stolen_card", "incorrect_number", "invalid_number"),
        *("invalid_account", "no_account", "account_closed", "pickup_card", "restricted_card"),
        *("card_not_supported", "currency_not_supported", "revocation_of_authorization"),
        *("revocation_of_all_authorizations", "stop_payment_order", "fraudulent"),
        *("transaction_not_allowed", "debit_not_authorized", "no_payment_method"),
    }
)


class MethodKind(Enum):
    """How money is collected."""

    CARD = "card"
    BANK_DEBIT = "bank_debit"
    BANK_TRANSFER = "bank_transfer"
    OTHER = "other"


class MethodState(Enum):
    """Whether a payment method can be used."""

    VALID = "valid"
    EXPIRED = "expired"
    DETACHED = "detached"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A way to pay; only what may be shown is kept. expire_month, expire_year: 0 without."""

    payment_method_id: str
    account_id: str
    kind: MethodKind
    created_at: datetime
    is_detached: bool = False
    brand: str = ""
    last4: str = ""
    expire_month: int = 0
    expire_year: int = 0
    is_default: bool = False
    reference: str = ""
    provider: str = ""
    provider_payment_method_id: str = ""

    def state(self, now: datetime) -> MethodState:
        """Returns whether it can be used: a card through the last day of its month."""
        if self.is_detached:
            return MethodState.DETACHED
        if self.expire_year and (self.expire_year, self.expire_month) < (now.year, now.month):
            return MethodState.EXPIRED
        return MethodState.VALID


class PaymentKind(Enum):
    """What a payment is."""

    CHARGE = "charge"
    TRANSFER = "transfer"
    REFUND = "refund"


class PaymentState(Enum):
    """How far a payment is."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DISPUTED = "disputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What the provider pays out for a payment, in its own currency of payouts.

    exchange_rate: the provider's, None without an exchange. exchange_difference: gross, less the
    payment at the ECB's rate of the day; negative for a loss, None where there is no such rate.
    """

    provider_transaction_id: str
    gross: Money
    fee: Money
    exchange_rate: Decimal | None = None
    exchange_difference: Money | None = None

    @property
    def net(self) -> Money:
        """What arrives."""
        return self.gross - self.fee


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Money in, or back. reference: of the bank or provider; the same one counts once."""

    payment_id: str
    account_id: str
    invoice_id: str
    kind: PaymentKind
    state: PaymentState
    amount: Money
    reference: str
    value_at: datetime
    created_at: datetime
    refunded: Decimal = Decimal(0)
    fee: Decimal | None = None
    payment_method_id: str = ""
    provider: str = ""
    provider_payment_id: str = ""
    refund_of: str = ""
    credit_note_id: str = ""
    settlement: Settlement | None = None

    @property
    def refundable(self) -> Decimal:
        """What can still be given back."""
        return EXACT.subtract(self.amount.amount, self.refunded)


class AttemptState(Enum):
    """How an attempt to collect ended. PROCESSING: a debit that the bank works on for days."""

    STARTED = "started"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    ACTION_REQUIRED = "action_required"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentAttempt:
    """One attempt. attempt_number: on the schedule, from 1; 0 for one that somebody asked for.

    error: why it was not made, where no bank refused. request_id: of the call that asked for it.
    """

    attempt_id: str
    invoice_id: str
    attempt_number: int
    state: AttemptState
    amount: Money
    attempted_at: datetime
    payment_method_id: str = ""
    decline_code: str = ""
    error: str = ""
    retryable: bool = False
    next_attempt_at: datetime | None = None
    request_id: str = ""


def is_retryable(decline_code: str) -> bool:
    """Tells whether the same method may succeed another day."""
    return decline_code not in HARD_DECLINES


def next_attempt_at(
    issued_at: datetime, attempt_days: Sequence[int], attempts_made: int
) -> datetime | None:
    """Returns when the next attempt on the schedule is due, None after the last.

    attempt_days: after issue, rising. attempts_made: on the schedule, the one that just ended
    included, so that it is not counted twice.
    """
    if attempts_made >= len(attempt_days):
        return None
    return issued_at + timedelta(days=attempt_days[attempts_made])

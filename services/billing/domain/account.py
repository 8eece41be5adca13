"""Who is billed, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum

from services.billing.domain.currency import currency
from services.billing.domain.rounding import RoundingMode
from services.billing.errors import InvalidAccount
from services.kernel.money import Money
from services.kernel.period import zone

TERMS_DAYS_SENT = 30  # until an invoice is due that is sent and not charged
ATTEMPT_DAYS = (0, 1, 3, 7, 14)
GRACE_HOURS = 24


class AccountState(Enum):
    """Whether an account is billed."""

    ACTIVE = "active"
    CLOSED = "closed"


class CollectionMethod(Enum):
    """How invoices are collected."""

    CHARGE_AUTOMATICALLY = "charge_automatically"
    SEND_INVOICE = "send_invoice"


class TaxMode(Enum):
    """Who computes tax."""

    NONE = "none"
    TABLE = "table"
    STRIPE = "stripe"


class DunningEnd(Enum):
    """What happens when the last attempt failed. KEEP: invoice and subscription stay."""

    UNCOLLECTIBLE = "uncollectible"
    CANCEL = "cancel"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Dunning:
    """What happens when a payment fails.

    attempt_days: days after issue, rising. grace_days: after the last attempt, before entitlements
    change. Raises InvalidAccount.
    """

    attempt_days: tuple[int, ...] = ATTEMPT_DAYS
    end_action: DunningEnd = DunningEnd.UNCOLLECTIBLE
    grace_days: int = 0

    def __post_init__(self) -> None:
        if list(self.attempt_days) != sorted(set(self.attempt_days)):
            raise InvalidAccount("dunning.attempt_days rise, each day once", field="dunning")


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address."""

    country_code: str
    line1: str = ""
    line2: str = ""
    city: str = ""
    postal_code: str = ""
    subdivision_code: str = ""


@dataclass(frozen=True, slots=True)
class TaxId:
    """A tax number. kind: as Stripe names it."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """What is known of the people behind an account; kept sealed."""

    legal_name: str = ""
    address: Address | None = None
    tax_ids: tuple[TaxId, ...] = ()
    contact_emails: tuple[str, ...] = ()
    bank_details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingAccount:
    """A billing account, of a tenant or of one of its departments.

    department_id: "" for the whole tenant. payment_terms_days: until an invoice is due.
    credit_approval_limit: credit notes above it need a second person; None leaves it to the
    operator. open_balance: what is owed. credit_balance: prepaid credit that is left.
    Raises InvalidAccount, UnknownCurrency, UnknownTimeZone.
    """

    tenant_id: str
    account_id: str
    display_name: str
    currency_code: str
    created_at: datetime
    updated_at: datetime
    department_id: str = ""
    time_zone: str = "UTC"
    locale: str = "en"
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    payment_terms_days: int = 0
    rounding_mode: RoundingMode = RoundingMode.HALF_UP
    tax_mode: TaxMode = TaxMode.TABLE
    dunning: Dunning = field(default_factory=Dunning)
    credit_approval_limit: Decimal | None = None
    particulars: Particulars = field(default_factory=Particulars)
    state: AccountState = AccountState.ACTIVE
    open_balance: Decimal = Decimal(0)
    credit_balance: Decimal = Decimal(0)
    revision: int = 1

    def __post_init__(self) -> None:
        currency(self.currency_code)
        zone(self.time_zone)
        if not self.display_name:
            raise InvalidAccount("display_name: an account has a name", field="display_name")

    @property
    def printed_name(self) -> str:
        """The name on its documents."""
        return self.particulars.legal_name or self.display_name

    def money(self, amount: Decimal) -> Money:
        """Returns an amount in the account's currency."""
        return Money(self.currency_code, amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomatedBilling:
    """When and how an account is billed by itself. updated_at: None while nobody has set it."""

    account_id: str
    enabled: bool = False
    billing_day: int = 1
    include_usage: bool = True
    auto_payment: bool = True
    send_notifications: bool = True
    grace_hours: int = GRACE_HOURS
    updated_at: datetime | None = None
    revision: int = 0

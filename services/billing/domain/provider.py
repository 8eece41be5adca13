"""What a payment provider knows of us: settings, customers, invoices, money. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from services.kernel.period import Period


class ProviderKind(Enum):
    """Payment providers."""

    OFFLINE = "offline"
    STRIPE = "stripe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """A tenant's provider, without its secrets. tenant_id: whose row it is, maybe the seller's."""

    tenant_id: str
    kind: ProviderKind
    live_mode: bool = False
    api_key_hint: str = ""
    publishable_key: str = ""
    webhook_secret_set: bool = False
    api_version: str = ""
    endpoint_id: str = ""
    revision: int = 0
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What is kept sealed; "" for none."""

    api_key: str = ""
    webhook_secret: str = ""
    previous_webhook_secret: str = ""


class RemoteState(Enum):
    """Where an invoice is at the provider."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteLine:
    """A line at the provider. line_id: ours; "" for a line that is not."""

    line_id: str
    amount: Decimal
    tax_amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteInvoice:
    """An invoice as the provider has it. invoice_id, tenant_id: ours, "" when it is foreign.

    provider_subscription_id: of the subscription that it bills there, "" for none.
    """

    provider_invoice_id: str
    state: RemoteState
    currency_code: str
    total: Decimal
    amount_paid: Decimal
    amount_due: Decimal
    customer_id: str = ""
    tenant_id: str = ""
    invoice_id: str = ""
    provider_subscription_id: str = ""
    number: str = ""
    hosted_url: str = ""
    paid_out_of_band: bool = False
    created_at: datetime | None = None
    lines: Sequence[RemoteLine] = ()


class DisputeState(Enum):
    """How far a payer's dispute is."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettlement:
    """What the provider pays out for a charge. exchange_rate: None without an exchange."""

    provider_transaction_id: str
    currency_code: str
    gross: Decimal
    fee: Decimal
    exchange_rate: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRefund:
    """Money that the provider gave back, or failed to."""

    provider_refund_id: str
    amount: Decimal
    has_failed: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCharge:
    """A charge with what became of it. payment_ids: what payments may know it by."""

    payment_ids: Sequence[str]
    customer_id: str
    currency_code: str
    amount: Decimal
    dispute: DisputeState | None = None
    refunds: Sequence[RemoteRefund] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePayment:
    """Money that the provider took for an invoice. refunded: what it gave back of it."""

    provider_payment_id: str
    provider_invoice_id: str
    currency_code: str
    amount: Decimal
    refunded: Decimal = Decimal(0)
    fee: Decimal | None = None
    settlement: RemoteSettlement | None = None
    is_disputed: bool = False
    paid_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RemoteOutcome:
    """What became of the last payment of an invoice that is not paid.

    is_processing: the bank works on it. decline_code: why it failed, "" where it has not.
    """

    is_processing: bool
    decline_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCredit:
    """A credit note as the provider has it. refund_id: "" when nothing went back through it.

    credit_note_id: ours, "" for one that was made there.
    """

    provider_credit_id: str
    credit_note_id: str
    total: Decimal
    refund_id: str = ""
    is_void: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMethod:
    """A payment method as the provider has it."""

    provider_payment_method_id: str
    kind: str
    brand: str
    last4: str
    expire_month: int
    expire_year: int
    customer_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEvent:
    """Something the provider says has happened; a hint, no state."""

    event_id: str
    event_type: str
    object_id: str
    live_mode: bool
    api_version: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedLine:
    """A line as it is sent. tax_ratio: its rate; amounts are in the invoice's currency."""

    line_id: str
    description: str
    amount: Decimal
    tax_amount: Decimal
    tax_name: str
    tax_ratio: Decimal
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedInvoice:
    """An invoice as it is sent: locked, so that the same one gives the same requests for ever.

    days_until_due: None where the default method is charged.
    """

    tenant_id: str
    invoice_id: str
    account_id: str
    number: str
    currency_code: str
    total: Decimal
    tax_total: Decimal
    days_until_due: int | None
    lines: Sequence[PushedLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedCredit:
    """A credit note as it is sent. settlement: how it is settled, as credit notes have it."""

    tenant_id: str
    credit_note_id: str
    provider_invoice_id: str
    currency_code: str
    total: Decimal
    settlement: str
    reason: str

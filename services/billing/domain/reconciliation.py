"""Two records of the same money compared: what differs, and what may be repaired. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from services.billing.domain.invoice_record import Invoice
from services.billing.domain.invoice_state import InvoiceState
from services.billing.domain.payment import Payment, PaymentKind
from services.billing.domain.provider import RemoteInvoice, RemotePayment, RemoteState
from services.kernel.money import Money, add_exactly, format_decimal
from services.kernel.period import Period


class Scope(Enum):
    """What is compared."""

    LIGHT = "light"
    FULL = "full"
    USAGE = "usage"


class Cause(Enum):
    """What started it."""

    HOURLY = "hourly"
    NIGHTLY = "nightly"
    RECOVERY = "recovery"
    REQUEST = "request"


class ReconciliationState(Enum):
    """How far it is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DiffKind(Enum):
    """How two records differ."""

    STATE = "state"
    TOTAL = "total"
    AMOUNT_PAID = "amount_paid"
    CURRENCY = "currency"
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    PAYMENT = "payment"
    REFUND = "refund"
    METER = "meter"
    USAGE = "usage"
    CHARGED_TWICE = "charged_twice"
    UNBILLED = "unbilled"


class DiffState(Enum):
    """What became of a difference."""

    OPEN = "open"
    REPAIRED = "repaired"
    RESOLVED = "resolved"


class Resolution(Enum):
    """What a person decided."""

    ACCEPT_OURS = "accept_ours"
    ACCEPT_THEIRS = "accept_theirs"
    IGNORE = "ignore"


class Repair(Enum):
    """What the service may do by itself; money is never one of it."""

    NONE = "none"
    FOLLOW = "follow"
    DELETE_DRAFT = "delete_draft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """One comparison."""

    reconciliation_id: str
    scope: Scope
    cause: Cause
    state: ReconciliationState
    window: Period
    repair: bool
    created_at: datetime
    compared_count: int = 0
    total_count: int = 0
    diff_count: int = 0
    repaired_count: int = 0
    error: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """One difference. action: what was done or should be. amount: ours - theirs, for money."""

    kind: DiffKind
    ours: str
    theirs: str
    action: str
    invoice_id: str = ""
    provider_object_id: str = ""
    amount: Money | None = None
    repair: Repair = Repair.NONE
    diff_id: str = ""
    reconciliation_id: str = ""
    state: DiffState = DiffState.OPEN
    resolved_by: str = ""
    note: str = ""
    created_at: datetime | None = None


_S = InvoiceState
# Which states at the provider go with ours.
_AGREE: dict[RemoteState, frozenset[InvoiceState]] = {
    RemoteState.DRAFT: frozenset({_S.LOCKED, _S.PUSHING, _S.BLOCKED}),
    RemoteState.OPEN: frozenset(
        {_S.PUSHING, _S.OPEN, _S.PROCESSING, _S.PAST_DUE, _S.UNCOLLECTIBLE, _S.BLOCKED}
    ),
    RemoteState.PAID: frozenset({_S.PAID, _S.PART_CREDITED, _S.CREDITED}),
    RemoteState.UNCOLLECTIBLE: frozenset({_S.UNCOLLECTIBLE}),
    RemoteState.VOID: frozenset({_S.VOID}),
}
_FURTHER = frozenset({RemoteState.PAID, RemoteState.VOID})
_UNPAID = frozenset({_S.OPEN, _S.PROCESSING, _S.PAST_DUE, _S.UNCOLLECTIBLE})


def compare_invoice(ours: Invoice, theirs: RemoteInvoice | None) -> Iterator[Diff]:
    """Yields how an invoice with a provider's id differs from the provider's.

    Only "theirs is further along, and the money is equal" may be repaired: ours then follows.
    """
    if theirs is None:
        yield Diff(
            kind=DiffKind.MISSING_THERE,
            ours=ours.state.value,
            theirs="",
            action="Find out why the provider lost it; it is not billed again.",
            invoice_id=ours.invoice_id,
            provider_object_id=ours.provider_invoice_id,
        )
        return
    if theirs.currency_code != ours.currency_code:
        yield Diff(
            kind=DiffKind.CURRENCY,
            ours=ours.currency_code,
            theirs=theirs.currency_code,
            action="Void one of the two and bill it anew.",
            invoice_id=ours.invoice_id,
            provider_object_id=ours.provider_invoice_id,
        )
        return
    is_equal = theirs.total == ours.total
    if not is_equal:
        yield _money(DiffKind.TOTAL, ours, ours.total, theirs.total, "Credit or bill the rest.")
    if ours.state not in _AGREE[theirs.state]:
        may_follow = is_equal and theirs.state in _FURTHER and ours.state in _UNPAID
        yield Diff(
            kind=DiffKind.STATE,
            ours=ours.state.value,
            theirs=theirs.state.value,
            action="Ours follows." if may_follow else "Look which of the two is right.",
            repair=Repair.FOLLOW if may_follow else Repair.NONE,
            invoice_id=ours.invoice_id,
            provider_object_id=ours.provider_invoice_id,
        )
    elif theirs.state is RemoteState.PAID and theirs.amount_paid > ours.amount_paid:
        yield _money(
            DiffKind.AMOUNT_PAID,
            ours,
            ours.amount_paid,
            theirs.amount_paid,
            "Find the payment that is missing here.",
        )


def compare_payments(
    invoice: Invoice, ours: Sequence[Payment], theirs: Sequence[RemotePayment]
) -> Iterator[Diff]:
    """Yields charges of an invoice that only one side has, differ, or are one too many."""
    known = {
        payment.provider_payment_id: payment
        for payment in ours
        if payment.kind is PaymentKind.CHARGE
    }
    there = {payment.provider_payment_id: payment for payment in theirs}
    total = add_exactly(payment.amount for payment in theirs)
    if len(theirs) > 1 and total > invoice.total:
        yield _money(
            DiffKind.CHARGED_TWICE,
            invoice,
            invoice.total,
            total,
            "Refund what was taken too much.",
        )
    for payment_id in sorted({*known, *there}):
        mine, other = known.get(payment_id), there.get(payment_id)
        taken = Decimal(0) if mine is None else mine.amount.amount
        given = Decimal(0) if other is None else other.amount
        if taken != given:
            yield Diff(
                kind=DiffKind.PAYMENT,
                ours="" if mine is None else format_decimal(taken),
                theirs="" if other is None else format_decimal(given),
                action="Compare the two payments.",
                invoice_id=invoice.invoice_id,
                provider_object_id=payment_id,
                amount=invoice.money(taken - given),
            )
        elif mine is not None and other is not None and mine.refunded < other.refunded:
            yield Diff(
                kind=DiffKind.REFUND,
                ours=format_decimal(mine.refunded),
                theirs=format_decimal(other.refunded),
                action="Issue a credit note for what was refunded there.",
                invoice_id=invoice.invoice_id,
                provider_object_id=payment_id,
                amount=invoice.money(mine.refunded - other.refunded),
            )


def unknown_invoice(theirs: RemoteInvoice, *, is_ours: bool, known_id: str) -> Diff | None:
    """Returns what is wrong with an invoice that the provider has, None when nothing is.

    is_ours: it bears our metadata. known_id: which provider's invoice ours is, "" for none yet.
    A draft of ours that nothing refers to is an orphan and may be deleted.
    """
    if known_id == theirs.provider_invoice_id:
        return None
    is_orphan = is_ours and theirs.state is RemoteState.DRAFT and known_id != ""
    if not is_ours or (theirs.state is RemoteState.DRAFT and not is_orphan):
        return None
    if theirs.state is RemoteState.VOID:
        return None
    return Diff(
        kind=DiffKind.MISSING_HERE,
        ours=known_id,
        theirs=theirs.state.value,
        action="The draft is deleted." if is_orphan else "Void it there, or refund it.",
        invoice_id=theirs.invoice_id,
        provider_object_id=theirs.provider_invoice_id,
        amount=Money(theirs.currency_code, -theirs.total),
        repair=Repair.DELETE_DRAFT if is_orphan else Repair.NONE,
    )


def _money(kind: DiffKind, invoice: Invoice, ours: Decimal, theirs: Decimal, action: str) -> Diff:
    return Diff(
        kind=kind,
        ours=format_decimal(ours),
        theirs=format_decimal(theirs),
        action=action,
        invoice_id=invoice.invoice_id,
        provider_object_id=invoice.provider_invoice_id,
        amount=invoice.money(ours - theirs),
    )

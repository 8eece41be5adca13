"""Stripe's objects and amounts as the port's, and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.billing.domain.currency import currency
from services.billing.domain.provider import (
    DisputeState,
    PushedLine,
    RemoteCharge,
    RemoteCredit,
    RemoteEvent,
    RemoteInvoice,
    RemoteLine,
    RemoteMethod,
    RemoteOutcome,
    RemotePayment,
    RemoteRefund,
    RemoteSettlement,
    RemoteState,
)

TENANT, ACCOUNT, INVOICE, LINE, CREDIT, CURRENCY = (
    *("finops_tenant_id", "finops_account_id", "finops_invoice_id", "finops_line_id"),
    *("finops_credit_note_id", "finops_currency"),
)
_KINDS = {
    "card": "card",
    "sepa_debit": "bank_debit",
    "us_bank_account": "bank_debit",
    "bacs_debit": "bank_debit",
    "au_becs_debit": "bank_debit",
    "acss_debit": "bank_debit",
}

# What is not here, such as `needs_response` or `under_review`, is not decided.
_DISPUTES = {
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
    # An inquiry that became no dispute took no money.
    "warning_closed": DisputeState.WON,
    "prevented": DisputeState.WON,
}


def units(amount: Decimal, code: str) -> int:
    """Returns an amount in Stripe's units."""
    found = currency(code)
    return found.to_provider(found.to_minor(amount))


def amount(value: int, code: str) -> Decimal:
    """Returns Stripe's units as an amount."""
    found = currency(code.upper())
    return found.to_amount(found.from_provider(value))


def instant(seconds: int) -> datetime:
    """Returns Stripe's instant."""
    return datetime.fromtimestamp(seconds, UTC)


def line_parameters(invoice_id: str, line: PushedLine, code: str) -> dict[str, Any]:
    """Returns a line as `add_lines` takes it."""
    found: dict[str, Any] = {
        "amount": units(line.amount, code),
        "description": line.description[:500],
        "discountable": False,
        "period": {
            "start": int(line.period.start.timestamp()),
            "end": int(line.period.end.timestamp()),
        },
        "metadata": {LINE: line.line_id, INVOICE: invoice_id},
    }
    if line.tax_amount:
        # With amounts of ours, the provider computes no tax of its own.
        found["tax_amounts"] = [
            {
                "amount": units(line.tax_amount, code),
                "taxable_amount": units(line.amount, code),
                "tax_rate_data": {
                    "display_name": (line.tax_name or "Tax")[:50],
                    "percentage": f"{line.tax_ratio * 100:.4f}",
                    "inclusive": False,
                },
            }
        ]
    return found


def invoice_of(found: dict[str, Any], lines: list[dict[str, Any]] | None = None) -> RemoteInvoice:
    """Builds an invoice. lines: all of them, None where they were not fetched."""
    code = found["currency"].upper()
    metadata = found.get("metadata") or {}
    is_paid = found["status"] == "paid"
    return RemoteInvoice(
        provider_invoice_id=found["id"],
        state=RemoteState(found["status"]),
        currency_code=code,
        total=amount(found["total"], code),
        amount_paid=amount(found["amount_paid"], code),
        amount_due=amount(found["amount_remaining"], code),
        customer_id=str(found.get("customer") or ""),
        tenant_id=metadata.get(TENANT, ""),
        invoice_id=metadata.get(INVOICE, ""),
        provider_subscription_id=subscription_of(found),
        number=found.get("number") or "",
        hosted_url=found.get("hosted_invoice_url") or "",
        paid_out_of_band=is_paid and bool(found.get("amount_paid_off_stripe")),
        created_at=instant(found["created"]),
        lines=[
            RemoteLine(
                line_id=(line.get("metadata") or {}).get(LINE, ""),
                amount=amount(line["amount"], code),
                tax_amount=amount(sum(tax["amount"] for tax in line.get("taxes") or ()), code),
            )
            for line in lines or ()
        ],
    )


def subscription_of(found: dict[str, Any]) -> str:
    """Returns the subscription that an invoice is of, "" where it is of none."""
    parent = (found.get("parent") or {}).get("subscription_details") or {}
    subscription = parent.get("subscription") or ""
    return str(subscription if isinstance(subscription, str) else subscription["id"])


def payment_of(found: dict[str, Any]) -> RemotePayment:
    """Builds the payment of an `invoice_payment`."""
    payment = found["payment"]
    paid_id = payment.get("payment_intent") or payment.get("charge") or found["id"]
    return RemotePayment(
        provider_payment_id=paid_id if isinstance(paid_id, str) else paid_id["id"],
        provider_invoice_id=found["invoice"],
        currency_code=found["currency"].upper(),
        amount=amount(found["amount_paid"], found["currency"]),
        paid_at=instant(found["created"]),
    )


def outcome_of(intent: dict[str, Any]) -> RemoteOutcome:
    """Builds the outcome of a payment intent, which a payer may have to confirm."""
    if intent["status"] == "requires_action":
        return RemoteOutcome(is_processing=False, decline_code="authentication_required")
    error = intent.get("last_payment_error") or {}
    code = error.get("decline_code") or error.get("code") or ""
    has_failed = intent["status"] in ("requires_payment_method", "canceled")
    return RemoteOutcome(
        is_processing=intent["status"] == "processing",
        decline_code=str(code or "generic_decline") if has_failed else "",
    )


def detailed(payment: RemotePayment, charge: dict[str, Any]) -> RemotePayment:
    """Adds what only the charge tells."""
    settlement = _settlement_of(charge.get("balance_transaction"))
    is_same = settlement is not None and settlement.currency_code == payment.currency_code
    return replace(
        payment,
        refunded=amount(charge["amount_refunded"], charge["currency"]),
        fee=settlement.fee if settlement is not None and is_same else None,
        settlement=settlement,
        is_disputed=bool(charge.get("disputed")),
    )


def _settlement_of(found: Any) -> RemoteSettlement | None:
    """Builds what is paid out; None where the charge does not say yet."""
    if not isinstance(found, dict):
        return None
    code = found["currency"].upper()
    rate = found.get("exchange_rate")
    return RemoteSettlement(
        provider_transaction_id=found["id"],
        currency_code=code,
        gross=amount(found["amount"], code),
        fee=amount(found["fee"], code),
        exchange_rate=None if rate is None else Decimal(str(rate)),
    )


def charge_of(
    charge: dict[str, Any], refunds: list[dict[str, Any]], dispute: dict[str, Any] | None
) -> RemoteCharge:
    """Builds a charge with what became of it."""
    code = charge["currency"].upper()
    ids = (charge["id"], charge.get("payment_intent"))
    return RemoteCharge(
        payment_ids=[str(each) for each in ids if each],
        customer_id=str(charge.get("customer") or ""),
        currency_code=code,
        amount=amount(charge["amount"], code),
        dispute=None if dispute is None else _DISPUTES.get(dispute["status"], DisputeState.OPEN),
        refunds=[
            RemoteRefund(
                provider_refund_id=found["id"],
                amount=amount(found["amount"], code),
                has_failed=found.get("status") in ("failed", "canceled"),
                created_at=instant(found["created"]),
            )
            for found in refunds
        ],
    )


def method_of(found: dict[str, Any]) -> RemoteMethod:
    """Builds a payment method: only what may be shown."""
    detail = found.get(found["type"]) or {}
    return RemoteMethod(
        provider_payment_method_id=found["id"],
        kind=_KINDS.get(found["type"], "other"),
        brand=detail.get("brand") or detail.get("bank_name") or detail.get("bank_code") or "",
        last4=detail.get("last4") or "",
        expire_month=detail.get("exp_month") or 0,
        expire_year=detail.get("exp_year") or 0,
        customer_id=str(found.get("customer") or ""),
    )


def credit_of(found: dict[str, Any]) -> RemoteCredit:
    """Builds a credit note."""
    refunds = found.get("refunds") or []
    refund = refunds[0]["refund"] if refunds else found.get("refund") or ""
    return RemoteCredit(
        provider_credit_id=found["id"],
        credit_note_id=(found.get("metadata") or {}).get(CREDIT, ""),
        total=amount(found["total"], found["currency"]),
        refund_id=refund if isinstance(refund, str) else refund["id"],
        is_void=found.get("status") == "void",
    )


def event_of(found: dict[str, Any]) -> RemoteEvent:
    """Builds an event; it is about the charge of a refund or dispute, a credit note's invoice."""
    about = found["data"]["object"]
    owner = {"refund": "charge", "dispute": "charge", "credit_note": "invoice"}
    object_id = about.get(owner.get(about.get("object", ""), "id")) or about.get("id")
    return RemoteEvent(
        event_id=found["id"],
        event_type=found["type"],
        object_id=str(object_id or ""),
        live_mode=bool(found["livemode"]),
        api_version=found.get("api_version") or "",
        created_at=instant(found["created"]),
    )

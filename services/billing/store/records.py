"""What the billing service keeps, as kernel.records_keeping lists, erases and removes it."""

from __future__ import annotations

from typing import Final

from services.kernel.records import Collection, Form, Records, Sealed
from services.kernel.records_kernel import KERNEL_EXEMPT, kernel_collections

# What tax law asks of books and what stands behind them, in days; ten years, as in Germany.
BOOKS_DAYS: Final = 3_653
_WEBHOOK_SECRET: Final = "provider.webhook_secret"  # noqa: S105 - a purpose, not a secret
_SETTLED: Final = "('paid', 'void', 'uncollectible', 'credited')"

_BOOKS: Final = (
    Collection(
        name="billing.invoice",
        table="invoice",
        description="Invoices with their lines, taxes and rates. Those not settled stay.",
        subjects={"block_reason": Form.WORDS, "void_reason": Form.WORDS},
        time="period_end_at",
        needed=f"r.state NOT IN {_SETTLED} OR EXISTS (SELECT FROM billing.credit_note n"
        " WHERE n.tenant_id = r.tenant_id AND n.invoice_id = r.invoice_id)",
        key="invoice_id",
        children=(
            *("invoice_line_usage", "invoice_line", "invoice_tax", "invoice_exchange_rate"),
            "invoice_event",
        ),
        days=BOOKS_DAYS,
        days_min=BOOKS_DAYS,
    ),
    Collection(
        name="billing.invoice_event",
        table="invoice_event",
        description="What happened to invoices, and by whom; it goes with the invoice.",
        subjects={"actor": Form.ID, "description": Form.WORDS},
    ),
    Collection(
        name="billing.credit_note",
        table="credit_note",
        description="Credit notes, who wrote and who approved them.",
        subjects={
            "author": Form.ID,
            "approver": Form.ID,
            "note": Form.WORDS,
            "reason": Form.WORDS,
            "void_reason": Form.WORDS,
        },
    ),
    Collection(
        name="billing.credit_grant",
        table="credit_grant",
        description="Prepaid credit.",
        subjects={"void_reason": Form.WORDS},
    ),
    Collection(
        name="billing.reconciliation_difference",
        table="reconciliation_diff",
        description="Differences from the provider's books, and who resolved them.",
        subjects={"resolved_by": Form.ID, "note": Form.WORDS},
        time="created_at",
        needed="r.state = 'open'",
        days=BOOKS_DAYS,
        days_min=BOOKS_DAYS,
    ),
    Collection(
        name="billing.change",
        table="billing_change",
        description="The feed of billing; consumed facts go by the feed's own time.",
        subjects={"payload": Form.PAYLOAD},
    ),
)
_WORK: Final = (
    Collection(
        name="billing.metered_dimension",
        table="metered_dimension",
        description="Attributes of metered usage, the user among them.",
        subjects={"user_id": Form.ID, "tags": Form.LABELS},
    ),
    Collection(
        name="billing.run",
        table="billing_run",
        description="Runs of billing, and who began them.",
        subjects={"actor": Form.ID, "error": Form.WORDS},
        time="ended_at",
        needed="r.ended_at IS NULL",
        key="run_id",
        children=("billing_run_item",),
        days=800,
    ),
    Collection(
        name="billing.subscription",
        table="subscription",
        description="Subscriptions.",
        subjects={"labels": Form.LABELS},
    ),
    Collection(
        name="billing.subscription_event",
        table="subscription_event",
        description="What happened to subscriptions, and by whom.",
        subjects={"actor": Form.ID, "reason": Form.WORDS},
    ),
    Collection(
        name="billing.subscription_preview",
        table="subscription_preview",
        description="Changes that were previewed.",
        subjects={"request": Form.FIELDS},
        time="expire_at",
        days=1,
    ),
    Collection(
        name="billing.webhook_event",
        table="webhook_event",
        description="Events of the payment provider, sealed. Those not handled stay.",
        subjects={"error": Form.WORDS},
        time="handled_at",
        needed="r.handled_at IS NULL",
        days=90,
    ),
)

RECORDS: Final = Records(
    service="billing",
    collections=(*_BOOKS, *_WORK, *kernel_collections("billing")),
    exempt=KERNEL_EXEMPT
    | {
        "account.particulars": "sealed; the customer's own name and address, kept with its books",
        "account.dunning": "days and steps",
        "billing_history.title": "a kind of entry and the number of a document",
        "billing_run_item.error": "an error's text, which names accounts and invoices",
        "invoice_line.tiers": "quantities and prices",
        "meter_report.error": "the provider's text about a request",
        "meter_route.error": "the provider's text about a request",
        "payment_attempt.error": "the provider's text about a card",
        "pending_line.line": "an invoice line: amounts, charge and resource type",
        "pricing_plan.rates": "prices",
        "provider_operation.error": "the provider's text about a request",
        "provider_outage.error": "the provider's text about a request",
        "provider_settings.api_key_hint": "the last digits of a key",
        "reconciliation.error": "an error's text, which names the provider's objects",
        "subscription.discounts": "coupons and shares",
        "webhook_event.body": "sealed; deleted with the event",
    },
    sealed=(
        Sealed("account", "particulars", ("account_id",), lambda _: "account.particulars"),
        Sealed("provider_settings", "api_key", ("tenant_id",), lambda _: "provider.api_key"),
        Sealed("provider_settings", "webhook_secret", ("tenant_id",), lambda _: _WEBHOOK_SECRET),
        Sealed(
            "provider_settings",
            "previous_webhook_secret",
            ("tenant_id",),
            lambda _: _WEBHOOK_SECRET,
        ),
        Sealed("webhook_event", "body", ("webhook_event_id",), lambda _: "webhook.body"),
    ),
)

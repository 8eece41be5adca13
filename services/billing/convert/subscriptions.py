"""Subscriptions and their changes between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from finops.billing.v1 import invoice_line_model_pb2, invoice_model_pb2
from finops.billing.v1 import subscription_messages_pb2 as messages
from finops.billing.v1 import subscription_model_pb2 as models
from finops.billing.v1 import subscription_service_pb2 as service_messages

from services.billing.convert.plans import from_discounts, to_discounts
from services.billing.convert.values import (
    from_amount,
    from_decimal,
    from_instant,
    from_money,
    from_period,
    to_instant,
)
from services.billing.domain.charges import to_decimal
from services.billing.domain.invoice import BilledLine, ComputedInvoice
from services.billing.domain.subscription import (
    Subscription,
    SubscriptionEvent,
    TrialEndBehavior,
)
from services.billing.service.changing import (
    ChangeKind,
    ChangePreview,
    ProrationPolicy,
    TermsChange,
)
from services.billing.service.subscriptions import NewSubscription
from services.kernel.listing import ListRequest, page_request
from services.kernel.money import format_decimal, parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

_SERVICE = "finops.billing.v1.SubscriptionService"
_BEHAVIORS = (
    TrialEndBehavior.PAUSE,
    TrialEndBehavior.PAUSE,
    TrialEndBehavior.CANCEL,
    TrialEndBehavior.INVOICE,
)
_POLICIES = (
    ProrationPolicy.PRORATE,
    ProrationPolicy.PRORATE,
    ProrationPolicy.PRORATE_NOW,
    ProrationPolicy.NEXT_PERIOD,
)
_KINDS = (
    ChangeKind.UPDATE,
    ChangeKind.UPDATE,
    ChangeKind.PAUSE,
    ChangeKind.CANCEL_NOW,
    ChangeKind.CANCEL_AT_PERIOD_END,
)
_FIELDS = (
    "plan_id",
    "plan_version",
    "quantity",
    "trial_end_behavior",
    "cancel_at_period_end",
    "discounts",
    "labels",
)
_IGNORED = (
    *("subscription_id", "account_id", "currency_code", "state", "start_time", "trial_end_time"),
    *("billing_day", "coupon_codes", "period", "pause_time", "resume_time", "end_time"),
    *("provider_subscription_id", "etag", "create_time", "update_time"),
)


def to_page(request: ListRequest, tenant_id: str, method: str, **arguments: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    page = page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")
    return replace(page, arguments=arguments)


def to_new(request: messages.CreateSubscriptionRequest) -> NewSubscription:
    """Converts what is asked for."""
    message = request.subscription
    return NewSubscription(
        plan_id=message.plan_id,
        account_id=message.account_id,
        plan_version=message.plan_version,
        currency_code=message.currency_code,
        quantity=parse_decimal(message.quantity or "1"),
        start_at=_optional(message, "start_time"),
        trial_end_at=_optional(message, "trial_end_time"),
        trial_end_behavior=_BEHAVIORS[message.trial_end_behavior],
        billing_day=message.billing_day,
        cancel_at_period_end=message.cancel_at_period_end,
        discounts=to_discounts(message.discounts, message.currency_code, source="own"),
        labels=dict(message.labels),
        coupon_code=request.coupon_code,
    )


def _optional(message: Any, name: str) -> datetime | None:
    return to_instant(getattr(message, name)) if message.HasField(name) else None


def to_change(request: messages.UpdateSubscriptionRequest) -> TermsChange:
    """Returns what an update changes. Raises UnknownMaskPath."""
    message = request.subscription
    fields = fields_to_update(message, request.update_mask, updatable=_FIELDS, ignored=_IGNORED)
    values: dict[str, Any] = {
        "trial_end_behavior": _BEHAVIORS[message.trial_end_behavior],
        "cancel_at_period_end": message.cancel_at_period_end,
        "discounts": to_discounts(message.discounts, message.currency_code, source="own"),
        "labels": dict(message.labels),
    }
    changed = {name: value for name, value in values.items() if name in fields}
    return TermsChange(
        plan_id=message.plan_id if "plan_id" in fields else "",
        plan_version=message.plan_version if "plan_version" in fields else 0,
        quantity=parse_decimal(message.quantity or "1") if "quantity" in fields else None,
        coupon_code=request.coupon_code,
        policy=_POLICIES[request.proration_policy],
        apply=_applied(changed) if changed else None,
    )


def _applied(changed: dict[str, Any]) -> Callable[[Subscription], Subscription]:
    return lambda subscription: replace(subscription, **changed)


def to_previewed(
    request: service_messages.PreviewSubscriptionChangeRequest,
) -> tuple[ChangeKind, TermsChange, datetime | None]:
    """Returns what would be done, and when; None is now."""
    change = TermsChange(
        plan_id=request.plan_id,
        quantity=parse_decimal(request.quantity) if request.quantity else None,
        coupon_code=request.coupon_code,
        policy=_POLICIES[request.proration_policy],
    )
    return _KINDS[request.change], change, _optional(request, "effective_time")


def from_subscription(subscription: Subscription) -> models.Subscription:
    """Converts a stored subscription."""
    return models.Subscription(
        subscription_id=subscription.subscription_id,
        provider_subscription_id=subscription.provider_subscription_id,
        account_id=subscription.account_id,
        plan_id=subscription.plan_id,
        plan_version=subscription.plan_version,
        currency_code=subscription.currency_code,
        quantity=format_decimal(subscription.quantity),
        state=models.SubscriptionState.Value(f"SUBSCRIPTION_STATE_{subscription.state.name}"),
        start_time=from_instant(subscription.started_at),
        trial_end_time=from_instant(subscription.trial_end_at),
        trial_end_behavior=models.TrialEndBehavior.Value(
            f"TRIAL_END_BEHAVIOR_{subscription.trial_end_behavior.name}"
        ),
        billing_day=subscription.billing_day,
        cancel_at_period_end=subscription.cancel_at_period_end,
        discounts=from_discounts(subscription.discounts, subscription.currency_code),
        labels=subscription.labels,
        coupon_codes=subscription.coupon_codes,
        period=from_period(subscription.period),
        pause_time=from_instant(subscription.paused_at),
        resume_time=from_instant(subscription.resume_at),
        end_time=from_instant(subscription.ended_at),
        etag=str(subscription.revision),
        create_time=from_instant(subscription.created_at),
        update_time=from_instant(subscription.updated_at),
    )


def from_subscriptions(page: Page[Subscription]) -> service_messages.ListSubscriptionsResponse:
    """Converts a page."""
    return service_messages.ListSubscriptionsResponse(
        subscriptions=map(from_subscription, page.items), next_page_token=page.next_page_token
    )


def from_events(
    page: Page[SubscriptionEvent],
) -> service_messages.ListSubscriptionEventsResponse:
    """Converts a page of steps."""
    return service_messages.ListSubscriptionEventsResponse(
        events=[
            models.SubscriptionEvent(
                from_state=models.SubscriptionState.Value(
                    f"SUBSCRIPTION_STATE_{event.from_state.name}"
                )
                if event.from_state is not None
                else models.SUBSCRIPTION_STATE_UNSPECIFIED,
                to_state=models.SubscriptionState.Value(
                    f"SUBSCRIPTION_STATE_{event.to_state.name}"
                ),
                actor=event.actor,
                reason=event.reason,
                plan_id=event.plan_id,
                plan_version=event.plan_version,
                event_time=from_instant(event.occurred_at),
            )
            for event in page.items
        ],
        next_page_token=page.next_page_token,
    )


def from_preview(preview: ChangePreview) -> models.SubscriptionChangePreview:
    """Converts what a change comes to."""
    computed, code = preview.computed, preview.computed.currency_code
    return models.SubscriptionChangePreview(
        preview_id=preview.preview_id,
        subscription=from_subscription(preview.subscription),
        lines=[_from_line(line, code) for line in computed.lines],
        subtotal=from_amount(code, computed.subtotal),
        tax_total=from_amount(code, computed.tax_total),
        total=from_amount(code, computed.total),
        unused_ratio=format_decimal(to_decimal(preview.unused_ratio)),
        due_now=from_amount(code, preview.due_now),
        next_invoice=_from_computed(preview.next_invoice, preview.subscription),
        expire_time=from_instant(preview.expire_at),
    )


def _from_line(billed: BilledLine, code: str) -> invoice_line_model_pb2.InvoiceLine:
    line = billed.line
    return invoice_line_model_pb2.InvoiceLine(
        line_id=line.key,
        position=billed.position,
        kind=invoice_line_model_pb2.InvoiceLineKind.Value(f"INVOICE_LINE_KIND_{line.kind.name}"),
        description=line.description,
        period=None if line.period is None else from_period(line.period),
        charge_id=line.charge_id,
        quantity=from_decimal(line.quantity),
        unit_price=None if line.unit_price is None else from_amount(code, line.unit_price),
        source_amount=None if line.source_amount is None else from_money(line.source_amount),
        exact_amount=from_amount(code, to_decimal(line.exact)),
        amount=from_amount(code, billed.amount),
        tax_amount=from_amount(code, billed.tax_amount),
        tax_rate_id=billed.tax_rate_id,
        proration_of=line.proration_of,
        route=line.route.value,
    )


def _from_computed(
    computed: ComputedInvoice, subscription: Subscription
) -> invoice_model_pb2.Invoice:
    """Converts an invoice that is only computed."""
    code = computed.currency_code

    def money(amount: Decimal) -> Any:
        return from_amount(code, amount)

    return invoice_model_pb2.Invoice(
        tenant_id=subscription.tenant_id,
        account_id=subscription.account_id,
        subscription_id=subscription.subscription_id,
        kind=invoice_model_pb2.INVOICE_KIND_PERIOD,
        state=invoice_model_pb2.INVOICE_STATE_DRAFT,
        currency_code=code,
        subtotal=money(computed.subtotal),
        discount_total=money(computed.discount_total),
        credit_total=money(computed.credit_total),
        taxes=[
            invoice_model_pb2.TaxTotal(
                tax_rate_id=tax.tax_rate_id,
                display_name=tax.display_name,
                rate_ratio=format_decimal(tax.rate_ratio),
                taxable=money(tax.taxable),
                amount=money(tax.amount),
                reverse_charge=tax.reverse_charge,
            )
            for tax in computed.taxes
        ],
        tax_total=money(computed.tax_total),
        total=money(computed.total),
        amount_due=money(computed.total),
        line_count=len(computed.lines),
        plan_id=subscription.plan_id,
        plan_version=subscription.plan_version,
        preview=True,
    )

"""`finops subscriptions`: who uses which plan, and what a change costs before it happens."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from finops.billing.v1 import subscription_messages_pb2 as messages
from finops.billing.v1.invoice_line_model_pb2 import InvoiceLine
from finops.billing.v1.subscription_model_pb2 import (
    ProrationPolicy,
    Subscription,
    SubscriptionChange,
    SubscriptionChangePreview,
    SubscriptionState,
)
from finops.billing.v1.subscription_service_pb2 import (
    ListSubscriptionEventsRequest,
    ListSubscriptionsRequest,
    PreviewSubscriptionChangeRequest,
    ResumeSubscriptionRequest,
)

from cli.connection import open_connection
from cli.options import DEFAULT_DATA_DIR, DataDir, Filter, Limit, OutputFormat, Tenant, Url
from cli.output import Format, Output
from cli.times import parse_instant, utc_text

app = typer.Typer(help="Subscribes accounts to plans, changes and ends subscriptions.")
_COLUMNS = (
    "subscription_id",
    "account_id",
    "plan_id",
    "plan_version",
    "quantity",
    "state",
    "period_start",
    "period_end",
    "ends_with_period",
    "coupons",
)
_STATE = "SUBSCRIPTION_STATE_"


class Proration(StrEnum):
    """What a change does to the running period."""

    NEXT_INVOICE = "prorate"
    NOW = "prorate-now"
    NEXT_PERIOD = "next-period"


_POLICIES = {
    Proration.NEXT_INVOICE: ProrationPolicy.PRORATION_POLICY_PRORATE,
    Proration.NOW: ProrationPolicy.PRORATION_POLICY_PRORATE_NOW,
    Proration.NEXT_PERIOD: ProrationPolicy.PRORATION_POLICY_NEXT_PERIOD,
}
Id = Annotated[
    str,
    typer.Option("--id", help="Subscription. Default: the tenant's own.", show_default=False),
]
Plan = Annotated[str, typer.Option("--plan", help="New plan.", show_default=False)]
Quantity = Annotated[
    str, typer.Option("--quantity", help="Units of the flat fee, e.g. seats.", show_default=False)
]
Coupon = Annotated[str, typer.Option("--coupon", help="Coupon to redeem.", show_default=False)]
Policy = Annotated[Proration, typer.Option("--proration", help="What the running period bears.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept.", show_default=False)]


@app.callback(invoke_without_command=True)
def subscriptions(
    context: typer.Context,
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists subscriptions, ended ones included."""
    if context.invoked_subcommand is not None:
        return
    with open_connection(data_dir, url, tenant) as connection:
        request = ListSubscriptionsRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.subscriptions.ListSubscriptions
        found = connection.collect(call, request, lambda page: page.subscriptions, limit=limit)
    _show(found, form)


@app.command()
def create(
    plan: Annotated[str, typer.Argument(help="Plan, see `finops plans`.")],
    *,
    quantity: Quantity = "",
    coupon: Coupon = "",
    billing_day: Annotated[
        int, typer.Option("--billing-day", min=0, max=31, help="Day on which periods begin.")
    ] = 0,
    start: Annotated[
        str, typer.Option("--start", help="When it begins. Default: now.", show_default=False)
    ] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Subscribes the tenant's own account to a plan."""
    wanted = Subscription(plan_id=plan, quantity=quantity, billing_day=billing_day)
    if start:
        wanted.start_time.CopyFrom(parse_instant(start, "--start"))
    request = messages.CreateSubscriptionRequest(subscription=wanted, coupon_code=coupon)
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        made = connection.client.billing.CreateSubscription(request).subscription
    _show([made], form)


@app.command()
def preview(
    *,
    subscription_id: Id = "",
    plan: Plan = "",
    quantity: Quantity = "",
    coupon: Coupon = "",
    proration: Policy = Proration.NEXT_INVOICE,
    pause_it: Annotated[bool, typer.Option("--pause", help="A pause instead.")] = False,
    cancel_it: Annotated[bool, typer.Option("--cancel", help="An end now instead.")] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows to the cent what a change charges and credits; changes nothing."""
    change = SubscriptionChange.SUBSCRIPTION_CHANGE_UPDATE
    if pause_it:
        change = SubscriptionChange.SUBSCRIPTION_CHANGE_PAUSE
    if cancel_it:
        change = SubscriptionChange.SUBSCRIPTION_CHANGE_CANCEL_NOW
    request = PreviewSubscriptionChangeRequest(
        subscription_id=subscription_id,
        change=change,
        plan_id=plan,
        quantity=quantity,
        coupon_code=coupon,
        proration_policy=_POLICIES[proration],
    )
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        shown = connection.client.subscriptions.PreviewSubscriptionChange(request).preview
    _show_preview(shown, form)


@app.command()
def update(
    *,
    subscription_id: Id = "",
    plan: Plan = "",
    quantity: Quantity = "",
    coupon: Coupon = "",
    proration: Policy = Proration.NEXT_INVOICE,
    preview_id: Annotated[
        str,
        typer.Option("--preview", help="The preview that was agreed to.", show_default=False),
    ] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Changes plan, quantity or coupon."""
    request = messages.UpdateSubscriptionRequest(
        subscription=Subscription(subscription_id=subscription_id, plan_id=plan, quantity=quantity),
        coupon_code=coupon,
        preview_id=preview_id,
        proration_policy=_POLICIES[proration],
    )
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        changed = connection.client.billing.UpdateSubscription(request).subscription
    _show([changed], form)


@app.command()
def pause(
    *,
    subscription_id: Id = "",
    until: Annotated[
        str, typer.Option("--until", help="When it goes on by itself.", show_default=False)
    ] = "",
    reason: Reason = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Stops charging; usage meanwhile is shown and not billed."""
    request = messages.PauseSubscriptionRequest(subscription_id=subscription_id, reason=reason)
    if until:
        request.resume_time.CopyFrom(parse_instant(until, "--until"))
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        paused = connection.client.billing.PauseSubscription(request).subscription
    _show([paused], form)


@app.command()
def resume(
    *,
    subscription_id: Id = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Goes on after a pause, or takes back a cancellation at the period's end."""
    request = ResumeSubscriptionRequest(subscription_id=subscription_id)
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        resumed = connection.client.subscriptions.ResumeSubscription(request).subscription
    _show([resumed], form)


@app.command()
def cancel(
    *,
    subscription_id: Id = "",
    now: Annotated[
        bool, typer.Option("--now", help="At once, with the unused fee credited.")
    ] = False,
    reason: Reason = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Ends a subscription with its period, or now."""
    request = messages.CancelSubscriptionRequest(
        subscription_id=subscription_id, immediately=now, reason=reason
    )
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        canceled = connection.client.billing.CancelSubscription(request).subscription
    _show([canceled], form)


@app.command()
def events(
    subscription_id: Annotated[str, typer.Argument(help="Id of the subscription.")],
    *,
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists the states a subscription went through, newest first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListSubscriptionEventsRequest(
            tenant_id=connection.tenant, subscription_id=subscription_id
        )
        call = connection.client.asynchronous.subscriptions.ListSubscriptionEvents
        found = connection.collect(call, request, lambda page: page.events, limit=limit)
    rows = [
        (
            utc_text(event.event_time),
            SubscriptionState.Name(event.from_state).removeprefix(_STATE).lower(),
            SubscriptionState.Name(event.to_state).removeprefix(_STATE).lower(),
            f"{event.plan_id}:{event.plan_version}",
            event.actor,
            event.reason,
        )
        for event in found
    ]
    columns = ("time", "from", "to", "plan", "actor", "reason")
    Output(form).rows(columns, rows, content=found)


def _show(found: list[Subscription], form: Format) -> None:
    Output(form).rows(_COLUMNS, [_row(each) for each in found], content=found)


def _row(subscription: Subscription) -> tuple[object, ...]:
    return (
        subscription.subscription_id,
        subscription.account_id,
        subscription.plan_id,
        subscription.plan_version,
        subscription.quantity,
        SubscriptionState.Name(subscription.state).removeprefix(_STATE).lower(),
        utc_text(subscription.period.start_time),
        utc_text(subscription.period.end_time),
        "yes" if subscription.cancel_at_period_end else "",
        ", ".join(subscription.coupon_codes),
    )


def _show_preview(preview: SubscriptionChangePreview, form: Format) -> None:
    output = Output(form)
    if form is Format.JSON:
        output.json(preview)
        return
    columns = ("description", "start", "end", "amount", "tax", "currency_code")
    output.rows(columns, [_line_row(line) for line in preview.lines])
    output.record(
        {
            "total": f"{preview.total.amount} {preview.total.currency_code}",
            "due_now": preview.due_now.amount,
            "next_invoice": preview.next_invoice.total.amount,
            "preview_id": preview.preview_id,
            "good_until": utc_text(preview.expire_time),
        }
    )


def _line_row(line: InvoiceLine) -> tuple[object, ...]:
    return (
        line.description,
        utc_text(line.period.start_time),
        utc_text(line.period.end_time),
        line.amount.amount,
        line.tax_amount.amount,
        line.amount.currency_code,
    )

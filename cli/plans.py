"""`finops plans`: what is sold, and for how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from finops.billing.v1.billing_service_pb2 import ListPricingPlansRequest
from finops.billing.v1.pricing_plan_model_pb2 import (
    BillingInterval,
    PlanCharge,
    PlanRates,
    PlanState,
    PriceModel,
    PricingPlan,
)
from finops.billing.v1.pricing_plan_service_pb2 import (
    CreatePricingPlanRequest,
    GetPricingPlanRequest,
    ListPricingPlanVersionsRequest,
)
from google.protobuf import json_format

from cli.connection import ALL_TENANTS, open_connection
from cli.errors import UsageError
from cli.options import DEFAULT_DATA_DIR, DataDir, Filter, Limit, OutputFormat, Tenant, Url
from cli.output import Format, Output

app = typer.Typer(help="Shows pricing plans, and puts new ones on sale.")
_COLUMNS = (
    "plan_id",
    "version",
    "display_name",
    "state",
    "interval",
    "currency_code",
    "flat_fee",
    "minimum_commitment",
    "charges",
    "trial_days",
)
PlanId = Annotated[str, typer.Argument(help="Id of the plan.")]


@app.callback(invoke_without_command=True)
def plans(
    context: typer.Context,
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists the plans on sale, one row a currency."""
    if context.invoked_subcommand is not None:
        return
    with open_connection(data_dir, url, tenant) as connection:
        request = ListPricingPlansRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.billing.ListPricingPlans
        found = connection.collect(call, request, lambda page: page.plans, limit=limit)
    _show(found, form)


@app.command()
def show(
    plan_id: PlanId,
    *,
    versions: Annotated[
        bool, typer.Option("--versions", help="Every version, newest first.")
    ] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows one plan with its charges."""
    with open_connection(data_dir, url, tenant) as connection:
        if versions:
            request = ListPricingPlanVersionsRequest(tenant_id=connection.tenant, plan_id=plan_id)
            call = connection.client.asynchronous.plans.ListPricingPlanVersions
            found = connection.collect(call, request, lambda page: page.plans, limit=None)
            _show(found, form)
            return
        plan = connection.client.plans.GetPricingPlan(
            GetPricingPlanRequest(tenant_id=connection.tenant, plan_id=plan_id)
        ).plan
    if form is Format.JSON:
        Output(form).json(plan)
        return
    columns = ("charge_id", "display_name", "model", "price", "filter", "unit", "currency_code")
    rows = [_charge_row(charge, rates) for rates in plan.rates for charge in rates.charges]
    _show([plan], form)
    Output(form).rows(columns, rows)


@app.command()
def create(
    file: Annotated[
        Path,
        typer.Argument(help="The plan as JSON, as `show` writes it.", exists=True, dir_okay=False),
    ],
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Creates a plan, as the platform's admin."""
    plan = PricingPlan()
    try:
        json_format.Parse(file.read_text(), plan)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not a plan: {error}") from None
    with open_connection(data_dir, url, "" if url else ALL_TENANTS) as connection:
        made = connection.client.plans.CreatePricingPlan(CreatePricingPlanRequest(plan=plan)).plan
    _show([made], form)


def _show(found: list[PricingPlan], form: Format) -> None:
    rows = [_row(plan, rates) for plan in found for rates in plan.rates]
    Output(form).rows(_COLUMNS, rows, content=found)


def _row(plan: PricingPlan, rates: PlanRates) -> tuple[object, ...]:
    return (
        plan.plan_id,
        plan.version,
        plan.display_name,
        PlanState.Name(plan.state).removeprefix("PLAN_STATE_").lower(),
        BillingInterval.Name(plan.interval).removeprefix("BILLING_INTERVAL_").lower(),
        rates.currency_code,
        rates.flat_fee.amount,
        rates.minimum_commitment.amount,
        ", ".join(charge.charge_id for charge in rates.charges),
        plan.trial_days or "",
    )


def _charge_row(charge: PlanCharge, rates: PlanRates) -> tuple[object, ...]:
    model = PriceModel.Name(charge.price_model).removeprefix("PRICE_MODEL_").lower()
    tiers = ", ".join(
        f"{tier.unit_price.amount} up to {tier.up_to_quantity}"
        if tier.up_to_quantity
        else tier.unit_price.amount
        for tier in charge.tiers
    )
    ratio = f"cost x {charge.cost_ratio}" if model == "cost_plus" else ""
    price = tiers or ratio or charge.unit_price.amount
    return (
        charge.charge_id,
        charge.display_name,
        model,
        price,
        charge.filter,
        charge.unit,
        rates.currency_code,
    )

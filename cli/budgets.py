"""`finops budgets`: limits on cost, how they stand, and what they would have done."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import typer
from finops.budget.v1.backtest_messages_pb2 import BacktestBudgetRequest, BacktestBudgetResponse
from finops.budget.v1.budget_model_pb2 import (
    Budget,
    BudgetCadence,
    BudgetEnforcement,
    BudgetScope,
    BudgetState,
)
from finops.budget.v1.budget_service_pb2 import (
    CreateBudgetRequest,
    DeleteBudgetRequest,
    GetBudgetStatusRequest,
    ListBudgetsRequest,
    ListBudgetStatusesRequest,
    UpdateBudgetRequest,
)
from finops.budget.v1.budget_status_model_pb2 import BudgetStatus, TrendMethod
from finops.common.v1.money_pb2 import Money

from cli import budget_options as options
from cli.budget_options import AtLimit, Cadence, budget_of, money_of, scope_of
from cli.connection import open_connection
from cli.errors import UsageError
from cli.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    End,
    Filter,
    Limit,
    OutputFormat,
    Start,
    Tenant,
    Url,
)
from cli.output import Format, Output
from cli.times import utc_text

app = typer.Typer(help="Keeps limits on cost.", no_args_is_help=True)
_BACKTEST_SECONDS = 300.0
BudgetId = Annotated[str, typer.Argument(help="Id of the budget.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Name for people.", show_default=False)]


@app.command()
def create(
    name: Name,
    *,
    amount: options.Amount,
    every: options.Every = Cadence.MONTHLY,
    at_limit: options.Limit = AtLimit.ALERT,
    department: options.Department = "",
    user: options.User = "",
    project: options.Project = "",
    resource_type: options.ResourceType = "",
    tags: options.Tags = None,
    zone: options.Zone = "",
    thresholds: options.Thresholds = None,
    rollover: options.Rollover = False,
    draft: Annotated[bool, typer.Option("--draft", help="Keep it without effect.")] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Creates a budget; what was spent in its running period is counted in at once."""
    scope = scope_of(
        department=department, user=user, project=project, resource_type=resource_type, tags=tags
    )
    budget = budget_of(
        name,
        scope,
        amount=amount,
        every=every,
        at_limit=at_limit,
        zone=zone,
        thresholds=thresholds,
        rollover=rollover,
    )
    with open_connection(data_dir, url, tenant) as connection:
        request = CreateBudgetRequest(tenant_id=connection.tenant, budget=budget, draft=draft)
        made = connection.client.budgets.CreateBudget(request).budget
    _show_budget(made, Output(form))


@app.command("list")
def list_budgets(
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists budgets."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListBudgetsRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.budgets.ListBudgets
        found = connection.collect(call, request, lambda page: page.budgets, limit=limit)
    columns = ("budget_id", "display_name", "scope", "cadence", "amount", "at_limit", "state")
    rows = [
        (
            each.budget_id,
            each.display_name,
            _scope_text(each.scope),
            _lower(BudgetCadence.Name(each.cadence)),
            _money_text(each.amount),
            _lower(BudgetEnforcement.Name(each.enforcement)),
            _lower(BudgetState.Name(each.state)),
        )
        for each in found
    ]
    Output(form).rows(columns, rows, content=found)


@app.command()
def status(
    budget_id: Annotated[
        str, typer.Argument(help="Id of a budget. [default: all]", show_default=False)
    ] = "",
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Tells what is spent, held and left, and where the spend goes."""
    with open_connection(data_dir, url, tenant) as connection:
        if budget_id:
            request = GetBudgetStatusRequest(tenant_id=connection.tenant, budget_id=budget_id)
            one = connection.client.budgets.GetBudgetStatus(request).budget_status
            _show_status(one, Output(form))
            return
        listing = ListBudgetStatusesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.budgets.ListBudgetStatuses
        found = connection.collect(call, listing, lambda page: page.statuses, limit=limit)
    columns = (
        *("budget_id", "display_name", "limit", "spent", "held", "remaining", "used"),
        *("expected", "breach_probability", "reset_time"),
    )
    rows = [
        (
            each.budget_id,
            each.display_name,
            _money_text(each.totals.limit),
            _money_text(each.totals.spent),
            _money_text(each.totals.held),
            _money_text(each.totals.remaining),
            _percent(each.totals.utilization_ratio),
            _money_text(each.forecast.spend.expected),
            _percent(each.forecast.breach_probability_ratio),
            utc_text(each.reset_time),
        )
        for each in found
    ]
    Output(form).rows(columns, rows, content=found)


@app.command()
def update(
    budget_id: BudgetId,
    *,
    amount: Annotated[
        str, typer.Option("--amount", help="New limit of a period.", show_default=False)
    ] = "",
    at_limit: Annotated[
        AtLimit | None,
        typer.Option("--at-limit", help="What happens at the limit.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="New name.", show_default=False)] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why.", show_default=False)] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Changes a budget from now on; closed periods keep what they ran under."""
    if not (amount or at_limit or name):
        raise UsageError("there is nothing to change; give --amount, --at-limit or --name")
    budget = Budget(budget_id=budget_id, display_name=name)
    if amount:
        budget.amount.CopyFrom(money_of(amount))
    if at_limit is not None:
        budget.enforcement = BudgetEnforcement.Value(f"BUDGET_ENFORCEMENT_{at_limit.name}")
    with open_connection(data_dir, url, tenant) as connection:
        request = UpdateBudgetRequest(tenant_id=connection.tenant, budget=budget, reason=reason)
        changed = connection.client.budgets.UpdateBudget(request).budget
    _show_budget(changed, Output(form))


@app.command()
def delete(
    budget_id: BudgetId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
) -> None:
    """Ends a budget now; its periods stay readable."""
    with open_connection(data_dir, url, tenant) as connection:
        request = DeleteBudgetRequest(tenant_id=connection.tenant, budget_id=budget_id)
        connection.client.budgets.DeleteBudget(request)
    Output().note(f"budget {budget_id} has ended")


@app.command()
def backtest(
    budget_id: Annotated[
        str, typer.Argument(help="A stored budget. [default: a planned one]", show_default=False)
    ] = "",
    *,
    amount: Annotated[str, typer.Option("--amount", help="Limit to try.", show_default=False)] = "",
    every: Annotated[
        Cadence | None, typer.Option("--every", help="Length of a period.", show_default=False)
    ] = None,
    at_limit: Annotated[
        AtLimit | None,
        typer.Option("--at-limit", help="What to try. [default: hard, or the stored budget's]"),
    ] = None,
    department: options.Department = "",
    user: options.User = "",
    project: options.Project = "",
    resource_type: options.ResourceType = "",
    tags: options.Tags = None,
    start: Start = "",
    end: End = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Says which alerts and blocks a budget would have caused over past usage."""
    scope = scope_of(
        department=department, user=user, project=project, resource_type=resource_type, tags=tags
    )
    budget = Budget()
    if at_limit is not None or not budget_id:
        chosen = at_limit or AtLimit.HARD
        budget.enforcement = BudgetEnforcement.Value(f"BUDGET_ENFORCEMENT_{chosen.name}")
    if scope != BudgetScope():
        budget.scope.CopyFrom(scope)
    if amount:
        budget.amount.CopyFrom(money_of(amount))
    if every is not None or not budget_id:
        length = every or Cadence.MONTHLY
        budget.cadence = BudgetCadence.Value(f"BUDGET_CADENCE_{length.name}")
    with open_connection(data_dir, url, tenant) as connection:
        request = BacktestBudgetRequest(
            tenant_id=connection.tenant, budget_id=budget_id, budget=budget, start=start, end=end
        )
        call = connection.client.budgets.BacktestBudget
        found = call(request, timeout=_BACKTEST_SECONDS)
    _show_backtest(found, Output(form))


def _show_budget(budget: Budget, output: Output) -> None:
    if output.form is Format.JSON:
        output.json(budget)
        return
    output.record(
        {
            "budget_id": budget.budget_id,
            "display_name": budget.display_name,
            "scope": _scope_text(budget.scope),
            "cadence": _lower(BudgetCadence.Name(budget.cadence)),
            "time_zone": budget.period_rule.time_zone,
            "amount": _money_text(budget.amount),
            "at_limit": _lower(BudgetEnforcement.Name(budget.enforcement)),
            "thresholds": ", ".join(_percent(t.threshold_ratio) for t in budget.thresholds),
            "state": _lower(BudgetState.Name(budget.state)),
            "version": budget.version,
        }
    )


def _show_status(status: BudgetStatus, output: Output) -> None:
    if output.form is Format.JSON:
        output.json(status)
        return
    totals, forecast = status.totals, status.forecast
    spend = forecast.spend
    fields: dict[str, object] = {
        "budget": f"{status.display_name} (version {status.version})",
        "period": f"{utc_text(status.period.start_time)} to {utc_text(status.period.end_time)}",
        "limit": _money_text(totals.limit),
        "spent": f"{_money_text(totals.spent)} ({_percent(totals.utilization_ratio)})",
        "held": _money_text(totals.held),
        "remaining": _money_text(totals.remaining),
        "burn rate": f"{_money_text(status.burn_rate.week)} a day over the last 7 days",
        "limit reached": utc_text(status.runway_time) or "not in this period or the next",
        "plan": f"{_money_text(status.plan_variance.difference)} against the plan",
    }
    if status.HasField("forecast"):
        method = _lower(TrendMethod.Name(forecast.method).removeprefix("TREND_"))
        fields["expected"] = (
            f"{_money_text(spend.expected)} by {method} trend; 80 %: "
            f"{_money_text(spend.lower)} to {_money_text(spend.upper)}"
        )
        fields["over the limit"] = f"{_percent(forecast.breach_probability_ratio)} likely"
    output.record(fields)


def _show_backtest(found: BacktestBudgetResponse, output: Output) -> None:
    if output.form is Format.JSON:
        output.json(found)
        return
    output.record(
        {
            "period": f"{utc_text(found.period.start_time)} to {utc_text(found.period.end_time)}",
            "events": found.event_count,
            "cost": _money_text(found.spent),
            "alerts": len(found.alerts),
            "blocked events": found.blocked_event_count,
            "blocked cost": _money_text(found.blocked_cost),
        }
    )
    rows = [
        (
            utc_text(each.fire_time),
            _percent(each.threshold.threshold_ratio),
            _money_text(each.spent),
            each.usage_event_id,
        )
        for each in found.alerts
    ]
    if rows:
        columns = ("fire_time", "threshold", "spent", "usage_event_id")
        output.rows(columns, rows, content=found.alerts)


def _scope_text(scope: BudgetScope) -> str:
    named = [
        f"{field.name}={value}"
        for field, value in scope.ListFields()
        if field.name not in ("tags", "exclude_subdepartments")
    ]
    named += [f"tags.{key}={value}" for key, value in sorted(scope.tags.items())]
    return " ".join(named) or "everything"


def _money_text(money: Money) -> str:
    """Returns an amount of at most six digits after the point; JSON has them all."""
    if not money.currency_code:
        return ""
    amount = Decimal(money.amount)
    shown = amount.quantize(Decimal("0.000001")) if amount % 1 else amount
    text = f"{shown:,.6f}".rstrip("0") if amount % 1 else f"{shown:,.0f}"
    return f"{text.rstrip('.')} {money.currency_code}"


def _percent(ratio: str) -> str:
    return f"{Decimal(ratio) * 100:.1f} %".replace(".0 %", " %") if ratio else ""


def _lower(name: str) -> str:
    return name.rpartition("_")[2].lower()

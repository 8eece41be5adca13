"""`finops spend`: asks budgets whether work may spend, settles it, explains what was decided."""

from __future__ import annotations

from typing import Annotated

import typer
from finops.budget.v1.budget_model_pb2 import BudgetEnforcement
from finops.budget.v1.spend_messages_pb2 import (
    AuthorizeSpendRequest,
    ExplainAuthorizationRequest,
    ReleaseSpendRequest,
    SettleSpendRequest,
)
from finops.budget.v1.spend_model_pb2 import (
    AuthorizationState,
    EstimateMethod,
    SpendAuthorization,
    SpendOutcome,
)
from finops.common.v1.money_pb2 import Money

from cli.budget_options import money_of
from cli.connection import open_connection
from cli.errors import UsageError
from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat, Tenant, Url
from cli.output import Format, Output
from cli.times import utc_text

app = typer.Typer(no_args_is_help=True, help="Asks budgets whether work may spend.")
_COLUMNS = ("budget", "enforcement", "limit", "spent", "held", "asked", "remaining", "reset", "way")

Authorization = Annotated[str, typer.Argument(help="Id of the authorization.")]


@app.command()
def authorize(
    *,
    resource_type: Annotated[str, typer.Option("--resource-type", help="Kind of resource.")],
    amount: Annotated[
        str, typer.Option("--amount", help="To hold, as 1.50 or '1.50 EUR'. Default: estimated.")
    ] = "",
    usage: Annotated[
        list[str] | None, typer.Option("--usage", help="Expected, as METER=QUANTITY; repeat it.")
    ] = None,
    usage_max: Annotated[
        list[str] | None, typer.Option("--usage-max", help="At most, as METER=QUANTITY.")
    ] = None,
    resource_id: Annotated[str, typer.Option("--resource-id", help="Resource or model.")] = "",
    user: Annotated[str, typer.Option("--user", help="Who does the work. Default: you.")] = "",
    department: Annotated[
        str, typer.Option("--department", help="Default: the user's department.")
    ] = "",
    project: Annotated[str, typer.Option("--project", help="Project.")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="As KEY=VALUE.")] = None,
    hold_seconds: Annotated[
        int, typer.Option("--hold-seconds", min=1, max=86_400, help="Life of the hold.")
    ] = 900,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide and explain, but hold nothing.")
    ] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Holds an amount in every covering budget, or in none; exits with 1 when refused."""
    with open_connection(data_dir, url, tenant) as connection:
        request = AuthorizeSpendRequest(
            tenant_id=connection.tenant,
            amount=money_of(amount) if amount else None,
            usage=_pairs(usage, "--usage"),
            usage_max=_pairs(usage_max, "--usage-max"),
            validate_only=dry_run,
        )
        request.hold_duration.seconds = hold_seconds
        subject = request.subject
        subject.resource_type, subject.resource_id = resource_type, resource_id
        subject.user_id, subject.department_id, subject.project = user, department, project
        subject.tags.update(_pairs(tag, "--tag"))
        answer = connection.client.budgets.AuthorizeSpend(request)
    show(answer.spend_authorization, Output(form))


@app.command()
def settle(
    authorization_id: Authorization,
    cost: Annotated[str, typer.Argument(help="What the work really cost, as 0.42 or '0.42 EUR'.")],
    *,
    usage_event_id: Annotated[
        str, typer.Option("--usage-event-id", help="Usage event that reports the same work.")
    ] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Replaces a hold by the real cost, in full even above the hold."""
    with open_connection(data_dir, url, tenant) as connection:
        answer = connection.client.budgets.SettleSpend(
            SettleSpendRequest(
                tenant_id=connection.tenant,
                authorization_id=authorization_id,
                cost=money_of(cost),
                usage_event_id=usage_event_id,
            )
        )
    show(answer.spend_authorization, Output(form))


@app.command()
def release(
    authorization_id: Authorization,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why the work did not happen.")] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Gives a hold back because the work did not happen."""
    with open_connection(data_dir, url, tenant) as connection:
        answer = connection.client.budgets.ReleaseSpend(
            ReleaseSpendRequest(
                tenant_id=connection.tenant, authorization_id=authorization_id, reason=reason
            )
        )
    show(answer.spend_authorization, Output(form))


@app.command()
def explain(
    authorization_id: Authorization,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows a past decision, granted or refused, with the figures of every budget."""
    with open_connection(data_dir, url, tenant) as connection:
        answer = connection.client.budgets.ExplainAuthorization(
            ExplainAuthorizationRequest(
                tenant_id=connection.tenant, authorization_id=authorization_id
            )
        )
    show(answer.spend_authorization, Output(form))


def show(one: SpendAuthorization, output: Output) -> None:
    """Writes a decision: one row a budget, and for people what it means."""
    rows: list[tuple[str, ...]] = [
        (
            check.display_name,
            BudgetEnforcement.Name(check.enforcement).removeprefix("BUDGET_ENFORCEMENT_").lower(),
            check.limit.amount,
            check.spent.amount,
            check.held.amount,
            check.asked.amount,
            check.remaining.amount,
            utc_text(check.reset_time) if check.HasField("reset_time") else "",
            "blocks" if check.blocking else "",
        )
        for check in one.decision.checks
    ]
    if output.form is Format.CSV:
        # Each row says of which decision it is; one that no budget covers has a row too.
        known = [(one.authorization_id, *row) for row in rows or [("",) * len(_COLUMNS)]]
        output.rows(("authorization_id", *_COLUMNS), known)
        return
    output.rows(_COLUMNS, rows, content=one)
    if output.form is Format.JSON:
        return
    estimate = one.decision.estimate
    outcome = SpendOutcome.Name(one.decision.outcome).removeprefix("SPEND_OUTCOME_").lower()
    state = AuthorizationState.Name(one.state).removeprefix("AUTHORIZATION_STATE_").lower()
    method = EstimateMethod.Name(estimate.method).removeprefix("ESTIMATE_METHOD_").lower()
    output.line(f"{one.authorization_id or 'dry run'}: {state}, {outcome}")
    output.line(one.decision.explanation)
    output.line(f"held {_text(one.held)} ({method}: {estimate.explanation})")
    if one.HasField("settled"):
        late = ", after the hold ran out" if one.settled_late else ""
        output.line(f"settled {_text(one.settled)}, excess {_text(one.excess)}{late}")


def _text(money: Money) -> str:
    return f"{money.amount} {money.currency_code}"


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in texts or []:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"{option} {text!r}: write it as KEY=VALUE")
        pairs[key] = value
    return pairs

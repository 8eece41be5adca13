"""`finops recommendations`: what would save money, what was done, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from finops.common.v1.interval_pb2 import MoneyInterval
from finops.optimizer.v1 import optimizer_messages_pb2 as messages
from finops.optimizer.v1.optimizer_model_pb2 import (
    DISMISSAL_REASON_UNSPECIFIED,
    RECOMMENDATION_STATE_ACCEPTED,
    RECOMMENDATION_STATE_COMPLETED,
    RECOMMENDATION_STATE_DISMISSED,
    DismissalReason,
    Recommendation,
)
from finops.optimizer.v1.resource_service_pb2 import (
    ImportCatalogueRequest,
    ImportEmissionFactorsRequest,
)
from finops.optimizer.v1.run_model_pb2 import RunState
from finops.optimizer.v1.saving_model_pb2 import SavingVerdict
from google.api.httpbody_pb2 import HttpBody

from cli.connection import Connection, open_connection
from cli.errors import CommandError, UsageError
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
from cli.recommendation_output import (
    fields_of,
    interval_text,
    lower,
    money_text,
    savings_row,
    show_list,
)
from cli.times import utc_text

app = typer.Typer(help="Finds savings, and proves them.", no_args_is_help=True)
_WAIT_SECONDS = 30
_CALL_SECONDS = 60.0
RecommendationId = Annotated[
    str, typer.Argument(help="Id of the recommendation.", show_default=False)
]
Note = Annotated[str, typer.Option("--note", help="Why; kept in its history.", show_default=False)]
GroupBy = Annotated[
    str,
    typer.Option(
        "--group-by",
        "-g",
        help="kind, detector, department, project, owner or month.",
        show_default=False,
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(help="Ids of recommendations. [default: all open ones]", show_default=False),
]
FileName = Annotated[
    Path, typer.Argument(help="The file.", exists=True, dir_okay=False, show_default=False)
]


@app.command()
def generate(
    *,
    start: Start = "",
    end: End = "",
    filter_text: Filter = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Runs the detectors over the last 90 days, or the period given, and shows what they find."""
    with open_connection(data_dir, url, tenant) as connection:
        request = messages.GenerateRecommendationsRequest(
            tenant_id=connection.tenant, start=start, end=end, filter=filter_text
        )
        request.wait.FromSeconds(_WAIT_SECONDS)
        answer = connection.client.optimizer.GenerateRecommendations(request, timeout=_CALL_SECONDS)
    output = Output(form)
    show_list(list(answer.recommendations), output)
    run = answer.run
    state = RunState.Name(run.state).removeprefix("RUN_STATE_").lower()
    if run.error:
        raise CommandError(f"Run {run.run_id} {state}: {run.error}")
    output.note(
        f"Run {run.run_id} {state}: {run.found_count} found, {run.refreshed_count} refreshed, "
        f"{run.expired_count} expired, from {run.event_count} events."
    )


@app.command("list")
def list_recommendations(
    *,
    filter_text: Filter = "",
    limit: Limit = 50,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists recommendations, those of the highest value under effort and risk first."""
    joint = MoneyInterval()

    def items(page: messages.ListRecommendationsResponse) -> Iterable[Recommendation]:
        joint.CopyFrom(page.joint_monthly_saving)
        return page.recommendations

    with open_connection(data_dir, url, tenant) as connection:
        request = messages.ListRecommendationsRequest(
            tenant_id=connection.tenant, filter=filter_text
        )
        call = connection.client.asynchronous.optimizer.ListRecommendations
        found = connection.collect(call, request, items, limit=limit)
    output = Output(form)
    show_list(found, output)
    output.note(f"Together the open ones save {interval_text(joint)} a month.")


@app.command()
def show(
    recommendation_id: RecommendationId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows one with its evidence, steps, way to verify and to roll back, and history."""
    with open_connection(data_dir, url, tenant) as connection:
        found = _get(connection, recommendation_id)
    output = Output(form)
    if form is Format.JSON:
        output.json(found)
        return
    output.record(fields_of(found))


@app.command()
def accept(
    recommendation_id: RecommendationId,
    *,
    owner: Annotated[str, typer.Option("--owner", help="Who does it.", show_default=False)] = "",
    note: Note = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Decides to do it."""
    change = Recommendation(
        recommendation_id=recommendation_id, state=RECOMMENDATION_STATE_ACCEPTED, owner=owner
    )
    with open_connection(data_dir, url, tenant) as connection:
        show_list([_update(connection, change, note)], Output(form))


@app.command()
def complete(
    recommendation_id: RecommendationId,
    *,
    at: Annotated[
        str,
        typer.Option("--at", help="RFC 3339 instant. [default: now]", show_default=False),
    ] = "",
    note: Note = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Says that it is done; what it really saves is measured from then on."""
    change = Recommendation(
        recommendation_id=recommendation_id, state=RECOMMENDATION_STATE_COMPLETED
    )
    if at:
        try:
            change.completion_time.FromJsonString(at)
        except ValueError as error:
            raise UsageError(f"--at: {error}") from None
    with open_connection(data_dir, url, tenant) as connection:
        show_list([_update(connection, change, note)], Output(form))


@app.command()
def dismiss(
    recommendation_id: RecommendationId,
    *,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            help="not_applicable, expected, too_risky, too_much_effort, quality, duplicate, other.",
        ),
    ],
    note: Note = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Decides not to do it; the reason teaches the detector."""
    name = f"DISMISSAL_REASON_{reason.upper()}"
    if name not in DismissalReason.keys():  # noqa: SIM118 - an enum's wrapper is no mapping
        raise UsageError(f"--reason: there is no reason {reason!r}; see --help")
    change = Recommendation(
        recommendation_id=recommendation_id,
        state=RECOMMENDATION_STATE_DISMISSED,
        dismissal_reason=DismissalReason.Value(name) or DISMISSAL_REASON_UNSPECIFIED,
    )
    with open_connection(data_dir, url, tenant) as connection:
        show_list([_update(connection, change, note)], Output(form))


@app.command()
def verify(
    recommendation_id: RecommendationId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Measures now what a completed one really saved, against what would have been."""
    with open_connection(data_dir, url, tenant) as connection:
        request = messages.VerifyRecommendationRequest(
            tenant_id=connection.tenant, recommendation_id=recommendation_id
        )
        found = connection.client.optimizer.VerifyRecommendation(request).measurement
    Output(form).record(
        {
            "verdict": lower(SavingVerdict.Name(found.verdict), "SAVING_VERDICT_"),
            "after": f"{utc_text(found.after.start_time)} to {utc_text(found.after.end_time)}",
            "claimed": interval_text(found.claimed),
            "realized": interval_text(found.realized),
            "actual_cost": money_text(found.actual_cost),
            "counterfactual_cost": money_text(found.counterfactual_cost),
            "volume_effect_ratio": found.volume_effect_ratio,
            "price_effect_ratio": found.price_effect_ratio,
            "model_error_ratio": found.model_error_ratio,
        }
    )


@app.command()
def savings(
    *,
    start: Start = "",
    end: End = "",
    filter_text: Filter = "",
    group_by: GroupBy = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows savings claimed, and realized beside them."""
    with open_connection(data_dir, url, tenant) as connection:
        request = messages.GetSavingsRequest(
            tenant_id=connection.tenant,
            start=start,
            end=end,
            filter=filter_text,
            group_by=group_by,
        )
        answer = connection.client.optimizer.GetSavings(request)
    columns = ("group", "recommendations", "completed", "verified", "open_monthly")
    rows = [savings_row(row) for row in (*answer.rows, answer.total)]
    Output(form).rows((*columns, "claimed", "realized", "ratio"), rows, content=answer)


@app.command()
def simulate(
    ids: Ids = None,
    *,
    filter_text: Filter = "",
    days: Annotated[int, typer.Option("--days", min=1, max=1095, help="Days ahead.")] = 90,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Computes what a set saves together: overlaps count once, never more than is spent."""
    with open_connection(data_dir, url, tenant) as connection:
        request = messages.SimulateSavingsRequest(
            tenant_id=connection.tenant,
            recommendation_ids=ids or [],
            filter=filter_text,
            horizon_days=days,
        )
        answer = connection.client.optimizer.SimulateSavings(request)
    output = Output(form)
    columns = ("recommendation_id", "separate_saving", "marginal_saving", "excluded")
    rows = [
        (
            one.recommendation_id,
            money_text(one.separate_saving),
            money_text(one.marginal_saving),
            "yes" if one.excluded else "",
        )
        for one in answer.savings
    ]
    output.rows(columns, rows, content=answer)
    output.note(
        f"In {days} days: {money_text(answer.baseline_cost)} as it is, "
        f"{money_text(answer.simulated_cost)} with all of them; saved "
        f"{interval_text(answer.joint_saving)}."
    )


@app.command("load-catalogue")
def load_catalogue(
    catalogue_id: Annotated[str, typer.Argument(help="Id of the catalogue.", show_default=False)],
    file: FileName,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Loads instance types with prices, CSV or JSON; right-sizing compares with them."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ImportCatalogueRequest(
            tenant_id=connection.tenant,
            catalogue_id=catalogue_id,
            content=HttpBody(data=file.read_bytes()),
        )
        found = connection.client.resources.ImportCatalogue(request).catalogue
    output = Output(form)
    output.record({"catalogue_id": found.catalogue_id, "types": found.type_count})
    for problem in found.problems:
        output.note(problem)


@app.command("load-factors")
def load_factors(
    file: FileName,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Loads emission factors, CSV; each row names its source."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ImportEmissionFactorsRequest(
            tenant_id=connection.tenant, content=HttpBody(data=file.read_bytes())
        )
        answer = connection.client.resources.ImportEmissionFactors(request)
    output = Output(form)
    output.record({"rows": answer.row_count})
    for problem in answer.problems:
        output.note(problem)


def _get(connection: Connection, recommendation_id: str) -> Recommendation:
    request = messages.GetRecommendationRequest(
        tenant_id=connection.tenant, recommendation_id=recommendation_id
    )
    found: Recommendation = connection.client.optimizer.GetRecommendation(request).recommendation
    return found


def _update(connection: Connection, change: Recommendation, note: str) -> Recommendation:
    request = messages.UpdateRecommendationRequest(
        tenant_id=connection.tenant, recommendation=change, note=note
    )
    changed: Recommendation = connection.client.optimizer.UpdateRecommendation(
        request
    ).recommendation
    return changed

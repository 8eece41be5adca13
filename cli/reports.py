"""`finops reports`: makes reports, fetches them, and shows what is made by the calendar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from finops.reporting.v1 import report_messages_pb2 as messages
from finops.reporting.v1.report_model_pb2 import (
    JOB_STATE_FAILED,
    JobState,
    Report,
    ReportFormat,
    ReportKind,
    ReportSchedule,
)
from finops.reporting.v1.schedule_service_pb2 import ListReportSchedulesRequest

from cli.connection import Connection, open_connection
from cli.errors import CommandError
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
from cli.recommendation_output import lower
from cli.times import utc_text

app = typer.Typer(help="Makes reports, and fetches them.", no_args_is_help=True)
ReportId = Annotated[str, typer.Argument(help="Id of the report.", show_default=False)]
POLL_SECONDS = 0.5
COLUMNS = ("report_id", "kind", "state", "done", "created", "title")
SCHEDULES = ("schedule_id", "kind", "schedule", "time_zone", "next_run", "sent_to", "display_name")


class Kind(Enum):
    """What a report is about."""

    EXECUTIVE = "executive"
    OPERATIONAL = "operational"
    FORECAST = "forecast"
    CHARGEBACK = "chargeback"
    VARIANCE = "variance"
    UNIT_ECONOMICS = "unit-economics"


class FileForm(Enum):
    """A form of a report."""

    HTML = "html"
    PDF = "pdf"
    XLSX = "xlsx"
    CSV = "csv"


@app.command()
def create(
    kind: Annotated[Kind, typer.Argument(help="What it is about.", show_default=False)],
    *,
    files: Annotated[
        list[FileForm] | None,
        typer.Option("--as", help="A form to make; repeat it for more. [default: html, pdf]"),
    ] = None,
    start: Start = "",
    end: End = "",
    filter_text: Filter = "",
    group_by: Annotated[
        list[str] | None,
        typer.Option("--group-by", "-g", help="A dimension of its tables; repeat it for more."),
    ] = None,
    locale: Annotated[str, typer.Option("--locale", help="Language and numbers, as de-CH.")] = "en",
    wait: Annotated[float, typer.Option("--wait", help="Seconds to wait for it.")] = 60.0,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Makes a report about the last full month, or the period given, and waits for it."""
    report = Report(
        kind=ReportKind.Value(f"REPORT_KIND_{kind.name}"),
        start=start,
        end=end,
        filter=filter_text,
        group_by=group_by or [],
        formats=[ReportFormat.Value(f"REPORT_FORMAT_{each.name}") for each in files or ()],
        locale=locale,
    )
    with open_connection(data_dir, url, tenant) as connection:
        request = messages.CreateReportRequest(tenant_id=connection.tenant, report=report)
        made = connection.client.reporting.CreateReport(request).report
        made = _awaited(connection, made, seconds=wait)
    _show(made, Output(form))


@app.command("list")
def list_reports(
    *,
    filter_text: Filter = "",
    limit: Limit = 50,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists reports, newest first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = messages.ListReportsRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.reporting.ListReports
        found = connection.collect(call, request, lambda page: page.reports, limit=limit)
    Output(form).rows(COLUMNS, [_row(each) for each in found], content=found)


@app.command()
def show(
    report_id: ReportId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows a report's figures, each with the query that gives it."""
    with open_connection(data_dir, url, tenant) as connection:
        found = _get(connection, report_id)
    output = Output(form)
    rows = [(each.section, each.label, each.value, each.unit, each.query) for each in found.figures]
    output.rows(("section", "label", "value", "unit", "query"), rows, content=[found])
    if found.error:
        raise CommandError(f"The report failed: {found.error}")


@app.command()
def download(
    report_id: ReportId,
    *,
    file_form: Annotated[
        FileForm | None, typer.Option("--as", help="The form. [default: the report's first]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to. [default: the report's id]", dir_okay=False),
    ] = None,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
) -> None:
    """Fetches a report into a file."""
    wanted = file_form.value if file_form is not None else ""
    with open_connection(data_dir, url, tenant) as connection:
        request = messages.GetReportContentRequest(
            tenant_id=connection.tenant, report_id=report_id, format=wanted
        )
        parts: Iterator[Any] = connection.client.iterate(
            aiter(connection.client.asynchronous.reporting.GetReportContent(request))
        )
        first = next(parts)
        target = out or Path(f"{report_id}.{_extension(first.content_type)}")
        with target.open("wb") as file:
            file.write(first.data)
            for part in parts:
                file.write(part.data)
    Output(Format.TABLE).note(f"{target}: {target.stat().st_size:,} bytes")


@app.command()
def schedules(
    *,
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists what is made by the calendar, the next one first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListReportSchedulesRequest(tenant_id=connection.tenant, order_by="next_run_time")
        call = connection.client.asynchronous.report_schedules.ListReportSchedules
        found = connection.collect(call, request, lambda page: page.schedules, limit=limit)
    Output(form).rows(SCHEDULES, [_schedule_row(each) for each in found], content=found)


def _awaited(connection: Connection, report: Report, *, seconds: float) -> Report:
    ends = time.monotonic() + seconds
    while not report.HasField("end_time") and time.monotonic() < ends:
        time.sleep(POLL_SECONDS)
        report = _get(connection, report.report_id)
    return report


def _get(connection: Connection, report_id: str) -> Report:
    request = messages.GetReportRequest(tenant_id=connection.tenant, report_id=report_id)
    return connection.client.reporting.GetReport(request).report


def _show(report: Report, output: Output) -> None:
    output.rows(COLUMNS, [_row(report)], content=[report])
    if report.state == JOB_STATE_FAILED:
        raise CommandError(f"The report failed: {report.error}")


def _row(report: Report) -> tuple[object, ...]:
    progress = report.progress
    return (
        report.report_id,
        lower(ReportKind.Name(report.kind), "REPORT_KIND_"),
        lower(JobState.Name(report.state), "JOB_STATE_"),
        f"{progress.done_units}/{progress.total_units}",
        utc_text(report.create_time),
        report.title,
    )


def _schedule_row(schedule: ReportSchedule) -> tuple[object, ...]:
    return (
        schedule.schedule_id,
        lower(ReportKind.Name(schedule.kind), "REPORT_KIND_"),
        schedule.schedule,
        schedule.time_zone,
        utc_text(schedule.next_run_time) if schedule.HasField("next_run_time") else "never",
        len(schedule.recipients) + len(schedule.channel_ids),
        schedule.display_name,
    )


def _extension(media_type: str) -> str:
    known = {"text/html": "html", "application/pdf": "pdf", "text/csv": "csv"}
    plain = media_type.partition(";")[0]
    return known.get(plain, "zip" if plain == "application/zip" else "xlsx")

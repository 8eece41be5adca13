"""`finops export`: writes costs, usage and what stands beside them to a file, and checks FOCUS."""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from babel.numbers import list_currencies
from finops.reporting.v1.report_model_pb2 import (
    JOB_STATE_FAILED,
    JOB_STATE_SUCCEEDED,
    ExportJob,
)
from finops.reporting.v1.schedule_service_pb2 import (
    CreateExportRequest,
    DownloadExportRequest,
    GetExportRequest,
)

from cli.connection import Connection, open_connection
from cli.errors import CommandError, PartiallyRejected, UsageError
from cli.focus_file import batches_of
from cli.options import DEFAULT_DATA_DIR, DataDir, End, Filter, OutputFormat, Start, Tenant, Url
from cli.output import Format, Output
from services.reporting.domain.focus_rules.judging import Judgement, Outcome, Verdict
from services.reporting.domain.focus_rules.model import RuleModel, UnknownRuleModel
from services.reporting.domain.links import parts_of

app = typer.Typer(help="Writes costs, usage, budgets and more to a file; checks FOCUS files.")
_POLL_SECONDS = 0.1
_POLL_SECONDS_MAX = 1.0
_DOWNLOAD_SECONDS = 3600.0
_ENDINGS = {"focus": "csv"}
_COLUMNS = ("rule", "demand", "rows", "first", "text")


class Dataset(StrEnum):
    """What can be exported."""

    COSTS = "costs"
    USAGE = "usage"
    BUDGETS = "budgets"
    INVOICES = "invoices"
    RECOMMENDATIONS = "recommendations"
    ANOMALIES = "anomalies"


class FileFormat(StrEnum):
    """How it is written."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"
    JSON = "json"
    PDF = "pdf"
    FOCUS = "focus"


@app.command("write")
def write(
    dataset: Annotated[Dataset, typer.Argument(help="What to export.")] = Dataset.COSTS,
    *,
    file_format: Annotated[FileFormat, typer.Option("--as", help="Format of the file.")] = (
        FileFormat.CSV
    ),
    path: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: named by its dataset."),
    ] = None,
    start: Start = "",
    end: End = "",
    group_by: Annotated[
        list[str] | None, typer.Option("--group-by", "-g", help="Dimension of costs.")
    ] = None,
    granularity: Annotated[
        str, typer.Option("--granularity", help="total, hour, day, week or month, of costs.")
    ] = "",
    filter_text: Filter = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Exports to a file, of any size; `costs --as focus` is one FOCUS 1.2 row a charge."""
    target = path or Path(f"finops-{dataset.value}.{_ENDINGS.get(file_format, file_format.value)}")
    wish = ExportJob(
        dataset=dataset.value,
        format=file_format.value,
        start=start,
        end=end,
        group_by=group_by or [],
        granularity=granularity,
        filter=filter_text,
    )
    output = Output(form)
    with open_connection(data_dir, url, tenant) as connection:
        request = CreateExportRequest(tenant_id=connection.tenant, export=wish)
        made = connection.client.exports.CreateExport(request).export
        done = _followed(connection, made, output)
        _download(connection, done, target, output)
    output.record(
        {
            "file": str(target),
            "rows": done.row_count,
            "bytes": done.byte_count,
            "sha256": done.content_hash,
        }
    )


@app.command("check")
def check(
    file: Annotated[
        Path, typer.Argument(help="FOCUS file, CSV or Parquet.", exists=True, dir_okay=False)
    ],
    *,
    rules: Annotated[
        Path,
        typer.Option("--rules", help="Rule model of FOCUS 1.2, JSON, plain or gzip.", exists=True),
    ],
    unsupported: Annotated[
        list[str] | None,
        typer.Option("--unsupported", help="Criterion that the provider does not meet."),
    ] = None,
    form: OutputFormat = Format.TABLE,
) -> None:
    """Checks a FOCUS file by the published rules, without a server; exit code 5 for breaches."""
    model = _model(rules)
    judgement: Judgement | None = None
    count = 0
    for columns in batches_of(file):
        if judgement is None:
            currencies = frozenset(list_currencies())
            judgement = Judgement(
                model, list(columns), currencies, unsupported=frozenset(unsupported or ())
            )
        judgement.add(columns)
        count += len(next(iter(columns.values()), ()))
    if judgement is None:
        raise UsageError(f"{file} has no rows")
    verdicts = judgement.verdicts()
    output = Output(form)
    breached = [each for each in verdicts if each.outcome is Outcome.FAILED and each.rows]
    rows = [_row(each) for each in breached]
    output.rows(_COLUMNS, rows, content=[dict(zip(_COLUMNS, row, strict=True)) for row in rows])
    output.note(_summary(count, verdicts))
    required = [each for each in breached if each.is_required]
    if required:
        raise PartiallyRejected(f"{file} breaches {len(required)} rules that it must keep")


def _followed(connection: Connection, job: ExportJob, output: Output) -> ExportJob:
    """Waits until the file is made, and shows how far it is."""
    request = GetExportRequest(tenant_id=connection.tenant, export_id=job.export_id)
    pause = _POLL_SECONDS
    with output.progress("exporting", None, "rows") as advance:
        while job.state not in (JOB_STATE_SUCCEEDED, JOB_STATE_FAILED):
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_SECONDS_MAX)
            job = connection.client.exports.GetExport(request).export
            advance(job.progress.done_units)
    if job.state == JOB_STATE_FAILED:
        raise CommandError(f"The export failed: {job.error}")
    return job


def _download(connection: Connection, job: ExportJob, target: Path, output: Output) -> None:
    link = parts_of(job.download_path)
    request = DownloadExportRequest(
        export_id=link.file_id, expires=link.expires, signature=link.signature
    )
    client = connection.client
    answers: Any = client.asynchronous.exports.DownloadExport(request, timeout=_DOWNLOAD_SECONDS)
    pieces: Iterator[Any] = client.iterate(aiter(answers))
    with target.open("wb") as file, output.progress("writing", job.byte_count, "bytes") as advance:
        for piece in pieces:
            file.write(piece.data)
            advance(file.tell())


def _model(path: Path) -> RuleModel:
    content = path.read_bytes()
    try:
        text = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        return RuleModel(json.loads(text))
    except (UnknownRuleModel, ValueError) as error:
        raise UsageError(f"{path} is no rule model of FOCUS: {error}") from None


def _row(verdict: Verdict) -> tuple[object, ...]:
    demand = "must" if verdict.is_required else "should"
    first = ", ".join(str(row) for row in verdict.examples if row)
    return (verdict.rule_id, demand, verdict.rows, first, verdict.text)


def _summary(rows: int, verdicts: list[Verdict]) -> str:
    counts = Counter(verdict.outcome for verdict in verdicts)
    ran = counts[Outcome.PASSED] + counts[Outcome.FAILED] + counts[Outcome.ERRATUM]
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    return f"{rows:,} rows; {len(verdicts)} rules, {ran} run: {told}"

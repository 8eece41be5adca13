"""`finops compliance`: evidence for auditors, and what persons may ask for."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Annotated

import typer
from finops.reporting.v1.compliance_messages_pb2 import (
    EraseSubjectRequest,
    ExportSubjectDataRequest,
    GetComplianceReportRequest,
    GetSubjectCaseRequest,
    GetSubjectDataRequest,
    ListSubjectCasesRequest,
)
from finops.reporting.v1.compliance_model_pb2 import (
    SUBJECT_CASE_STATE_SUCCEEDED,
    ComplianceReport,
    SubjectCase,
    SubjectCaseKind,
    SubjectCaseState,
)
from google.protobuf.json_format import MessageToDict, Parse, ParseError

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
from cli.times import utc_text

app = typer.Typer(help="Evidence for auditors, and what persons may ask for.", no_args_is_help=True)
POLL_SECONDS = 0.5
WAIT_SECONDS = 600.0
CASES = ("subject_case_id", "kind", "state", "dry_run", "progress", "records", "create_time")
CHANGES = ("service", "kind", "actor", "changes", "resources")
COUNTS = ("collection", "records", "held")
Subject = Annotated[str, typer.Argument(help="The person: user_id of usage, sub of a token.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the end at most.")]


@app.command()
def report(
    *,
    start: Start = "",
    end: End = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows who changed what, and who did two things that are two persons' business.

    The period is the last full quarter unless it is said. `--format json` is the evidence to keep;
    `finops compliance check` tells later whether it was changed.
    """
    with open_connection(data_dir, url, tenant) as connection:
        request = GetComplianceReportRequest(
            tenant_id=connection.tenant, kind="sox", start=start, end=end
        )
        found = connection.client.compliance.GetComplianceReport(request, timeout=WAIT_SECONDS)
    output = Output(form)
    if form is Format.JSON:
        output.json(found.report)
        return
    rows = [
        (each.service, each.resource_kind, each.actor, each.change_count, len(each.resources))
        for each in found.report.changes
    ]
    output.rows(CHANGES, rows)
    if form is Format.TABLE:
        _show(found.report, output)


def _show(found: ComplianceReport, output: Output) -> None:
    for each in found.exceptions:
        output.note(f"exception: {each.rule}: {each.description}")
    for chain in found.chains:
        if not chain.is_intact:
            output.note(
                f"the log of {chain.service} does not hold from entry "
                f"{chain.first_broken_sequence} on: {chain.finding}"
            )
    output.record(
        {
            "period": f"{utc_text(found.period.start_time)} to {utc_text(found.period.end_time)}",
            "exceptions": len(found.exceptions),
            "logs intact": all(chain.is_intact for chain in found.chains),
            "evidence": found.evidence_hash,
        }
    )


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A report as JSON.", exists=True, dir_okay=False)],
) -> None:
    """Tells whether a report that was kept is as it was made; exits with 1 where it is not."""
    try:
        kept = Parse(file.read_text(encoding="utf-8"), ComplianceReport())
    except (ParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no report: {error}") from None
    if kept.evidence_hash != evidence_hash(kept):
        raise CommandError(f"{file} was changed: its content does not have the hash it names")
    Output(Format.TABLE).line(f"{file} is as it was made: {kept.evidence_hash}")


def evidence_hash(kept: ComplianceReport) -> str:
    """Returns SHA-256, hexadecimal, of a report's canonical JSON without its hash and time."""
    content = ComplianceReport()
    content.CopyFrom(kept)
    content.ClearField("evidence_hash")
    content.ClearField("create_time")
    fields = MessageToDict(content, preserving_proto_field_name=True)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@app.command()
def erase(
    subject_id: Subject,
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Case it belongs to. It stays, so it names nobody.")
    ],
    confirmed: Annotated[
        bool, typer.Option("--yes", help="Erase; without it the records are only counted.")
    ] = False,
    wait: Wait = WAIT_SECONDS,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Counts what all services store of a person, or with --yes erases the person from it.

    Amounts stay, under a pseudonym. There is no way back.
    """
    with open_connection(data_dir, url, tenant) as connection:
        request = EraseSubjectRequest(
            tenant_id=connection.tenant,
            subject_id=subject_id,
            reason=reason,
            dry_run=not confirmed,
        )
        made = connection.client.compliance.EraseSubject(request).subject_case
        ended = _awaited(connection, made, seconds=wait)
    output = Output(form)
    _show_case(ended, output)
    if not confirmed:
        output.note("Nothing was changed; run it again with --yes to erase.")


@app.command()
def export(
    subject_id: Subject,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to. [default: the case's id]", dir_okay=False),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Case it belongs to.")] = "",
    wait: Wait = WAIT_SECONDS,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Collects what all services store of a person, and fetches it as a ZIP of JSON files."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ExportSubjectDataRequest(
            tenant_id=connection.tenant, subject_id=subject_id, reason=reason
        )
        made = connection.client.compliance.ExportSubjectData(request).subject_case
        ended = _awaited(connection, made, seconds=wait)
        target = out or Path(f"{ended.subject_case_id}.zip")
        wanted = GetSubjectDataRequest(
            tenant_id=connection.tenant, subject_case_id=ended.subject_case_id
        )
        if ended.state == SUBJECT_CASE_STATE_SUCCEEDED:
            with target.open("wb") as file:
                for part in connection.client.compliance.GetSubjectData(wanted):
                    file.write(part.data)
    output = Output(form)
    _show_case(ended, output)
    output.note(f"{target}: {target.stat().st_size:,} bytes")


@app.command()
def cases(
    *,
    filter_text: Filter = "",
    limit: Limit = 50,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists collections and erasures, newest first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListSubjectCasesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.compliance.ListSubjectCases
        found = connection.collect(call, request, lambda page: page.subject_cases, limit=limit)
    Output(form).rows(CASES, [_row(each) for each in found], content=found)


def _awaited(connection: Connection, case: SubjectCase, *, seconds: float) -> SubjectCase:
    ends = time.monotonic() + seconds
    request = GetSubjectCaseRequest(
        tenant_id=connection.tenant, subject_case_id=case.subject_case_id
    )
    # A failed case has no end time: it goes on by itself once its cause is mended.
    while not (case.HasField("end_time") or case.error) and time.monotonic() < ends:
        time.sleep(POLL_SECONDS)
        case = connection.client.compliance.GetSubjectCase(request).subject_case
    return case


def _show_case(case: SubjectCase, output: Output) -> None:
    rows = [(each.collection, each.record_count, each.held_count) for each in case.counts]
    output.rows(COUNTS, rows, content=case)
    if case.error:
        raise CommandError(f"The case {case.subject_case_id} stopped: {case.error}")
    if not case.HasField("end_time"):
        raise CommandError(
            f"The case {case.subject_case_id} goes on; `finops compliance cases` shows how far"
        )
    if case.pseudonym:
        output.note(f"Erased; {case.pseudonym} stands in the person's place.")


def _row(case: SubjectCase) -> tuple[object, ...]:
    progress = case.progress
    return (
        case.subject_case_id,
        SubjectCaseKind.Name(case.kind).removeprefix("SUBJECT_CASE_KIND_").lower(),
        SubjectCaseState.Name(case.state).removeprefix("SUBJECT_CASE_STATE_").lower(),
        case.dry_run,
        f"{progress.done_units}/{progress.total_units}",
        sum(each.record_count for each in case.counts),
        utc_text(case.create_time),
    )

"""Reports over real usage, budgets and recommendations, from the call to the file."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from finops.reporting.v1 import report_messages_pb2 as messages
from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1.schedule_service_pb2 import CreateReportScheduleRequest
from finops.usage.v1 import (
    usage_service_pb2,  # noqa: F401 - holds the contract; the stubs load its messages alone
)

from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.reporting import bootstrap
from services.reporting.bootstrap import ReportingService
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.report import ReportKind
from services.reporting.service import reports_making
from services.reporting.service.reports_kinds import PARTS
from services.reporting.settings import ReportingSettings
from tests.reporting.conftest import NOW, SECRETS, Caller
from tests.reporting.reporter import Reporter, reporter_of
from tests.support.server import LocalServer, refused, service_token_of

EVERY_FORMAT = [
    model.REPORT_FORMAT_HTML,
    model.REPORT_FORMAT_PDF,
    model.REPORT_FORMAT_XLSX,
    model.REPORT_FORMAT_CSV,
]
CSV = [model.REPORT_FORMAT_CSV]
NASTY = ("<script>alert(1)</script>", '=HYPERLINK("http://x")', "+1-1", '#text("a") $x$ \\ "q"')


@pytest.fixture
async def reporter(
    built: ReportingService, reporting_database: Database, tenant: str
) -> AsyncIterator[Reporter]:
    """The administrator of a tenant, whose reports are made."""
    async with reporter_of(built, reporting_database, tenant) as found:
        yield found


@pytest.fixture
async def idle(
    built: ReportingService, reporting_database: Database, tenant: str
) -> AsyncIterator[Reporter]:
    """The same, but nobody works on what is queued."""
    async with reporter_of(built, reporting_database, tenant, is_working=False) as found:
        yield found


def files_of(archive: bytes) -> dict[str, list[list[str]]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {
            name: list(csv.reader(io.StringIO(opened.read(name).decode(), newline="")))
            for name in opened.namelist()
        }


def job_of(report: model.Report, tenant: str, *, attempt: int = 1) -> Job:
    payload = json.dumps({"report_id": report.report_id}).encode()
    return Job(1, "report", payload, attempt, tenant)


async def test_an_executive_report_is_made_in_every_format(
    caller: Caller, reporter: Reporter
) -> None:
    await caller.record_days(["100", "20.000000000000000001", "7"] * 20, department="research")

    made = await reporter.made(kind=model.REPORT_KIND_EXECUTIVE, formats=EVERY_FORMAT)

    assert made.state == model.JOB_STATE_SUCCEEDED, made.error
    assert made.progress.done_units == made.progress.total_units == 11
    assert made.title == "Executive report May 2026"
    assert made.content_hash
    contents = {name: await reporter.content(made.report_id, name) for name in FORMATS}
    assert {name: kind for name, (kind, _) in contents.items()} == FORMATS
    assert contents["pdf"][1].startswith(b"%PDF")
    assert b"/api/v1/finops/cost-attribution?" in contents["html"][1]
    figures = files_of(contents["csv"][1])["figures.csv"]
    assert len(figures) == len(made.figures) + 1
    assert (await reporter.content(made.report_id))[0] == FORMATS["html"]


FORMATS = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "application/zip",
}


@pytest.mark.parametrize(
    "kind",
    [
        model.REPORT_KIND_EXECUTIVE,
        model.REPORT_KIND_OPERATIONAL,
        model.REPORT_KIND_FORECAST,
        model.REPORT_KIND_CHARGEBACK,
        model.REPORT_KIND_VARIANCE,
        model.REPORT_KIND_UNIT_ECONOMICS,
    ],
)
async def test_every_kind_is_made_and_every_number_has_its_query(
    caller: Caller, reporter: Reporter, kind: model.ReportKind.ValueType
) -> None:
    await caller.record_days(["10", "30"] * 40, department="research")
    await caller.record_days(["5.5"] * 60, department="sales", resource_type="gpu", unit="hour")

    formats = [model.REPORT_FORMAT_PDF, model.REPORT_FORMAT_HTML]
    made = await reporter.made(kind=kind, formats=formats)

    assert made.state == model.JOB_STATE_SUCCEEDED, made.error
    assert len(made.figures) > 10
    for figure in made.figures:
        assert figure.query.startswith("/api/v1/finops/"), figure
        assert figure.section
        assert figure.label
        assert Decimal(figure.value).is_finite()


async def test_a_tenant_without_usage_gets_a_report_that_says_so(reporter: Reporter) -> None:
    for kind in (model.REPORT_KIND_EXECUTIVE, model.REPORT_KIND_OPERATIONAL):
        made = await reporter.made(kind=kind, formats=[model.REPORT_FORMAT_HTML])

        assert made.state == model.JOB_STATE_SUCCEEDED, made.error
        _, page = await reporter.content(made.report_id)
        assert b"no" in page


async def test_names_are_neither_markup_nor_formulas(caller: Caller, reporter: Reporter) -> None:
    for place, name in enumerate(NASTY):
        await caller.record_days(["50"] * (40 + place), department=name)

    made = await reporter.made(kind=model.REPORT_KIND_EXECUTIVE, formats=EVERY_FORMAT)

    assert made.state == model.JOB_STATE_SUCCEEDED, made.error
    _, page = await reporter.content(made.report_id, "html")
    assert b"<script" not in page
    assert b"&lt;script&gt;" in page
    _, book = await reporter.content(made.report_id, "xlsx")
    with zipfile.ZipFile(io.BytesIO(book)) as opened:
        sheets = [opened.read(name) for name in opened.namelist() if "sheets/sheet" in name]
    assert sheets
    assert not any(b"<f>" in sheet or b"<f " in sheet for sheet in sheets)
    _, tables = await reporter.content(made.report_id, "csv")
    cells = [cell for rows in files_of(tables).values() for row in rows for cell in row]
    assert '\'=HYPERLINK("http://x")' in cells
    assert "'+1-1" in cells
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells)


async def test_sections_that_were_finished_are_kept_when_making_goes_on(
    caller: Caller,
    idle: Reporter,
    built: ReportingService,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await caller.record_days(["10"] * 60)
    wish = model.Report(kind=model.REPORT_KIND_CHARGEBACK, formats=CSV)
    queued = (await idle.reports.CreateReport(messages.CreateReportRequest(report=wish))).report
    first, _, *rest = PARTS[ReportKind.CHARGEBACK]

    async def dies(_: object) -> Section:
        raise KeyboardInterrupt

    broken = {**PARTS, ReportKind.CHARGEBACK: (first, dies, *rest)}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reports_making, "PARTS", broken)
        await built.reporting.making.run(job_of(queued, tenant))
    interrupted = await idle.get(queued.report_id)
    # What comes later is in none of the sections that were finished before.
    await caller.record_days(["1000"] * 20)
    await built.reporting.making.run(job_of(queued, tenant, attempt=2))
    ended = await idle.get(queued.report_id)

    assert interrupted.state == model.JOB_STATE_RUNNING
    assert interrupted.progress.done_units == 1
    assert interrupted.progress.message == "Section Chargeback is done"
    assert ended.state == model.JOB_STATE_SUCCEEDED
    kept = [figure for figure in ended.figures if figure.section == "chargeback"]
    assert kept == list(interrupted.figures)


async def test_a_report_whose_job_is_lost_is_queued_again(
    caller: Caller,
    idle: Reporter,
    built: ReportingService,
    reporting_database: Database,
    clock: ManualClock,
) -> None:
    tenant = idle.tenant_id
    await caller.record_days(["10"] * 60)
    wish = model.Report(kind=model.REPORT_KIND_CHARGEBACK, formats=CSV)
    await idle.reports.CreateReport(messages.CreateReportRequest(report=wish))

    async def jobs() -> int:
        async with reporting_database.system_transaction() as tx:
            count: int = await tx.driver.fetchval(
                "SELECT count(*) FROM pgqueuer WHERE headers ->> 'tenant' = $1", tenant
            )
        return count

    before = await jobs()
    async with reporting_database.system_transaction() as tx:
        await tx.driver.execute("DELETE FROM pgqueuer WHERE headers ->> 'tenant' = $1", tenant)
    await built.reporting.making.sweep(Job(1, "sweep", b"", 1, None))
    fresh = await jobs()
    clock.advance(timedelta(minutes=5))
    await built.reporting.making.sweep(Job(1, "sweep", b"", 1, None))
    await built.reporting.making.sweep(Job(1, "sweep", b"", 1, None))

    assert (before, fresh, await jobs()) == (1, 0, 1)


async def test_what_it_fails_with_is_kept(caller: Caller, reporter: Reporter) -> None:
    await caller.record_days(["10"] * 60)

    made = await reporter.made(kind=model.REPORT_KIND_CHARGEBACK, currency="CREDITS", formats=CSV)
    refusal = await refused(
        anext(
            reporter.reports.GetReportContent(
                messages.GetReportContentRequest(report_id=made.report_id)
            )
        )
    )

    assert made.state == model.JOB_STATE_FAILED
    assert "CREDITS" in made.error
    assert refusal.reason == "REPORT_NOT_DONE"


async def test_absent_services_are_said_to_be_absent(
    reporting_database: Database, usage_server: LocalServer, caller: Caller, tenant: str
) -> None:
    usage = usage_server.channel_with(service_token_of("reporting", tenant=""))
    alone = bootstrap.build(
        reporting_database, usage, None, ReportingSettings(**SECRETS), clock=ManualClock(NOW)
    )
    await caller.record_days(["10", "30"] * 40)

    async with reporter_of(alone, reporting_database, tenant) as reporter:
        made = await reporter.made(kind=model.REPORT_KIND_EXECUTIVE)
        _, page = await reporter.content(made.report_id, "html")
        refusal = await refused(
            reporter.schedules.CreateReportSchedule(
                CreateReportScheduleRequest(
                    schedule=model.ReportSchedule(
                        display_name="Monthly",
                        kind=model.REPORT_KIND_EXECUTIVE,
                        schedule="0 7 1 * *",
                        recipients=["cfo@example.com"],
                    )
                )
            )
        )

    assert b"No budget service is connected" in page
    assert b"No optimizer is connected" in page
    assert not {"budgets", "savings"} & {figure.section for figure in made.figures}
    assert refusal.reason == "NOTIFICATIONS_NOT_CONNECTED"


async def test_reports_are_listed_deleted_and_expire(
    caller: Caller, reporter: Reporter, built: ReportingService, clock: ManualClock
) -> None:
    await caller.record_days(["10"] * 60)
    first = await reporter.made(kind=model.REPORT_KIND_CHARGEBACK, formats=CSV)
    clock.advance(timedelta(hours=1))
    second = await reporter.made(kind=model.REPORT_KIND_VARIANCE, formats=CSV)

    listed = await reporter.reports.ListReports(messages.ListReportsRequest(page_size=1))
    rest = await reporter.reports.ListReports(
        messages.ListReportsRequest(page_size=1, page_token=listed.next_page_token)
    )
    charged = await reporter.reports.ListReports(
        messages.ListReportsRequest(filter="kind = CHARGEBACK AND state = SUCCEEDED")
    )
    missing = await refused(reporter.content(second.report_id, "pdf"))
    await reporter.reports.DeleteReport(messages.DeleteReportRequest(report_id=second.report_id))
    gone = await refused(reporter.get(second.report_id))
    clock.advance(timedelta(days=401))
    await built.reporting.reports.expire()
    expired = await reporter.get(first.report_id)

    assert [each.report_id for each in (*listed.reports, *rest.reports)] == [
        second.report_id,
        first.report_id,
    ]
    assert not listed.reports[0].figures
    assert [each.report_id for each in charged.reports] == [first.report_id]
    assert missing.reason == "REPORT_FORMAT_NOT_MADE"
    assert gone.code is grpc.StatusCode.NOT_FOUND
    assert gone.reason == "REPORT_NOT_FOUND"
    assert expired.state == model.JOB_STATE_EXPIRED
    assert expired.figures
    assert (await refused(reporter.content(first.report_id))).reason == "REPORT_NOT_DONE"


async def test_a_repeated_request_makes_one_report(caller: Caller, idle: Reporter) -> None:
    await caller.record_days(["10"])
    request = messages.CreateReportRequest(
        report=model.Report(kind=model.REPORT_KIND_CHARGEBACK), request_id="once"
    )

    first = await idle.reports.CreateReport(request)
    second = await idle.reports.CreateReport(request)
    listed = await idle.reports.ListReports(messages.ListReportsRequest())

    assert first == second
    assert len(listed.reports) == 1


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"filter": 'planet = "mars"'}, "USAGE_QUESTION_REFUSED"),
        ({"group_by": ["planet"]}, "USAGE_QUESTION_REFUSED"),
        ({"filter": "department ="}, "INVALID_FILTER"),
        ({"locale": "tlh-Qo"}, "FIELD_VIOLATIONS"),
        ({"start": "yesterday"}, "INVALID_FORECAST_INSTANT"),
        ({"start": "2026-05-01", "end": "2026-04-01"}, "INVALID_PERIOD"),
        ({"kind": model.REPORT_KIND_SOX}, "FIELD_VIOLATIONS"),
        ({"kind": model.REPORT_KIND_UNSPECIFIED}, "FIELD_VIOLATIONS"),
    ],
)
async def test_wishes_that_make_no_sense_are_refused_at_once(
    idle: Reporter, wish: dict[str, Any], reason: str
) -> None:
    report = model.Report(**{"kind": model.REPORT_KIND_EXECUTIVE, **wish})

    refusal = await refused(idle.reports.CreateReport(messages.CreateReportRequest(report=report)))

    assert refusal.reason == reason
    assert refusal.message


async def test_a_report_speaks_german_where_that_is_asked(
    caller: Caller, reporter: Reporter
) -> None:
    await caller.record_days(["1234.5"] * 80)

    made = await reporter.made(
        kind=model.REPORT_KIND_EXECUTIVE, locale="de-CH", theme="dark", formats=EVERY_FORMAT[:1]
    )
    _, page = await reporter.content(made.report_id)

    text = page.decode()
    assert made.title.startswith("Bericht für die Leitung")
    assert '<html lang="de" class="dark">' in text
    assert "38\N{RIGHT SINGLE QUOTATION MARK}269.50" in text
    assert "Kosten nach Abteilung" in text

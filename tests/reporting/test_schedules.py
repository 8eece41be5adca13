"""Schedules: when they run, what they make, who gets it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from finops.reporting.v1 import report_messages_pb2 as reports
from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1 import schedule_service_pb2 as messages
from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import SecretStr

from services.budget import bootstrap as budget_bootstrap
from services.budget.settings import BudgetSettings
from services.kernel.clock import ManualClock
from services.kernel.database import Database, PoolLimits
from services.kernel.jobs import Job
from services.kernel.period import zone
from services.reporting import bootstrap
from services.reporting.bootstrap import ReportingService
from services.reporting.convert.notifications import BudgetNotifier
from services.reporting.domain.links import LinkParts, Links, parts_of
from services.reporting.errors import NoticeRefused
from services.reporting.service import schedules_mailing
from services.reporting.service.schedules_mailing import ReportMailing, ReportNotice
from services.reporting.service.schedules_ticks import last_tick, next_tick
from services.reporting.settings import ReportingSettings
from tests.budget.alerts.receiving import Mailbox, smtp_receiver
from tests.reporting.conftest import NOW, SECRETS, Caller
from tests.reporting.reporter import Reporter, reporter_of, request_of
from tests.support.database import migrated
from tests.support.server import LocalServer, refused, service_token_of, serving
from tests.support.waiting import eventually

MONTHLY = "0 7 1 * *"
DUE = Job(1, "report-due", b"", 1, None)


@pytest.fixture
async def reporter(
    built: ReportingService, reporting_database: Database, tenant: str
) -> AsyncIterator[Reporter]:
    """The administrator of a tenant; nobody works on what is queued."""
    async with reporter_of(built, reporting_database, tenant, is_working=False) as found:
        yield found


async def created(reporter: Reporter, **fields: Any) -> model.ReportSchedule:
    schedule = {"display_name": "Monthly", "kind": model.REPORT_KIND_CHARGEBACK, **fields}
    request = messages.CreateReportScheduleRequest(
        schedule=model.ReportSchedule(**{"schedule": MONTHLY, **schedule})
    )
    found: model.ReportSchedule = (await reporter.schedules.CreateReportSchedule(request)).schedule
    return found


async def got(reporter: Reporter, schedule_id: str) -> model.ReportSchedule:
    request = messages.GetReportScheduleRequest(schedule_id=schedule_id)
    found: model.ReportSchedule = (await reporter.schedules.GetReportSchedule(request)).schedule
    return found


async def made_by(reporter: Reporter, schedule_id: str) -> list[model.Report]:
    request = reports.ListReportsRequest(
        filter=f'schedule_id = "{schedule_id}"', order_by="create_time"
    )
    return list((await reporter.reports.ListReports(request)).reports)


def instant(stamp: Any) -> datetime:
    found: datetime = stamp.ToDatetime(tzinfo=UTC)
    return found


# 2026-03-29 02:00 -> 03:00 and 2026-10-25 03:00 -> 02:00 in Berlin.
@pytest.mark.parametrize(
    ("cron", "after", "following"),
    [
        ("0 7 * * *", "2026-03-28T06:00:00Z", "2026-03-29T05:00:00Z"),
        # 02:30 does not exist that day; the run is at the first instant after the gap.
        ("30 2 * * *", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
        # 02:30 comes twice that day; the first one is taken.
        ("30 2 * * *", "2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("30 2 * * *", "2026-10-25T01:15:00Z", "2026-10-26T01:30:00Z"),
        ("0 7 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T06:00:00Z"),
    ],
)
def test_runs_follow_the_clocks_of_the_zone(cron: str, after: str, following: str) -> None:
    berlin = zone("Europe/Berlin")
    tick = datetime.fromisoformat(following)

    assert next_tick(cron, datetime.fromisoformat(after), berlin) == tick
    assert last_tick(cron, tick, berlin) == tick
    assert last_tick(cron, tick + timedelta(minutes=59), berlin) == tick


async def test_a_schedule_shows_its_next_run_in_its_own_zone(
    caller: Caller, reporter: Reporter
) -> None:
    await caller.record_days(["10"] * 60)

    made = await created(reporter, time_zone="Europe/Berlin")
    plain = await created(reporter, display_name="Another")
    idle = await created(reporter, display_name="Off", disabled=True)
    request = messages.ListReportSchedulesRequest(order_by="next_run_time desc")
    listed = (await reporter.schedules.ListReportSchedules(request)).schedules

    assert instant(made.next_run_time) == datetime(2026, 7, 1, 5, tzinfo=UTC)
    assert plain.time_zone == "UTC"
    assert list(plain.formats) == [model.REPORT_FORMAT_PDF]
    assert instant(plain.next_run_time) == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert not idle.HasField("next_run_time")
    assert [each.display_name for each in listed] == ["Off", "Another", "Monthly"]
    assert await got(reporter, made.schedule_id) == made


async def test_a_missed_run_is_made_up_for_once_about_its_own_period(
    caller: Caller, reporter: Reporter, built: ReportingService, clock: ManualClock
) -> None:
    await caller.record_days(["10"] * 60)
    made = await created(reporter, schedule="0 7 * * *", period_kind="day")

    await built.reporting.schedules.run_due(DUE)
    early = await made_by(reporter, made.schedule_id)
    # Four runs are missed; the last of them was on the 19th at seven.
    clock.advance(datetime(2026, 6, 19, 22, tzinfo=UTC) - NOW)
    await built.reporting.schedules.run_due(DUE)
    await built.reporting.schedules.run_due(DUE)
    late = await made_by(reporter, made.schedule_id)
    now = await got(reporter, made.schedule_id)

    assert early == []
    (report,) = late
    assert instant(report.period.start_time) == datetime(2026, 6, 18, tzinfo=UTC)
    assert report.author == f"schedule:{made.schedule_id}"
    assert now.last_report_id == report.report_id
    assert instant(now.next_run_time) == datetime(2026, 6, 20, 7, tzinfo=UTC)


async def test_a_schedule_is_changed_run_at_once_and_deleted(
    caller: Caller, reporter: Reporter, built: ReportingService, clock: ManualClock
) -> None:
    await caller.record_days(["10"] * 60)
    made = await created(reporter)

    changed = await reporter.schedules.UpdateReportSchedule(
        messages.UpdateReportScheduleRequest(
            schedule=model.ReportSchedule(
                schedule_id=made.schedule_id, schedule="0 6 * * 1", period_kind="week"
            ),
            update_mask=FieldMask(paths=["schedule", "period_kind"]),
        )
    )
    stale = await refused(
        reporter.schedules.UpdateReportSchedule(
            messages.UpdateReportScheduleRequest(
                schedule=model.ReportSchedule(
                    schedule_id=made.schedule_id, display_name="X", etag=made.etag
                )
            )
        )
    )
    run = messages.RunReportScheduleRequest(schedule_id=made.schedule_id)
    report = (await reporter.schedules.RunReportSchedule(run)).report
    off = await reporter.schedules.UpdateReportSchedule(
        messages.UpdateReportScheduleRequest(
            schedule=model.ReportSchedule(schedule_id=made.schedule_id, disabled=True)
        )
    )
    clock.advance(timedelta(days=20))
    await built.reporting.schedules.run_due(DUE)
    await reporter.schedules.DeleteReportSchedule(
        messages.DeleteReportScheduleRequest(schedule_id=made.schedule_id)
    )
    gone = await refused(got(reporter, made.schedule_id))

    assert changed.schedule.display_name == "Monthly"
    assert changed.schedule.etag != made.etag
    assert instant(changed.schedule.next_run_time) == datetime(2026, 6, 22, 6, tzinfo=UTC)
    assert stale.reason == "REPORT_SCHEDULE_CHANGED"
    assert instant(report.period.start_time) == datetime(2026, 6, 8, tzinfo=UTC)
    assert not off.schedule.HasField("next_run_time")
    assert gone.reason == "REPORT_SCHEDULE_NOT_FOUND"
    assert [each.report_id for each in await made_by(reporter, made.schedule_id)] == [
        report.report_id
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"schedule": "at seven o'clock"}, "FIELD_VIOLATIONS"),
        ({"schedule": "* * * * * *"}, "FIELD_VIOLATIONS"),
        ({"schedule": "0 0 30 2 *"}, "FIELD_VIOLATIONS"),
        ({"schedule": "*/5 * * * *"}, "FIELD_VIOLATIONS"),
        ({"time_zone": "Mars/Olympus"}, "UNKNOWN_TIME_ZONE"),
        ({"filter": 'planet = "mars"'}, "USAGE_QUESTION_REFUSED"),
        ({"kind": model.REPORT_KIND_SOX}, "FIELD_VIOLATIONS"),
        ({"recipients": ["nobody"]}, "FIELD_VIOLATIONS"),
    ],
)
async def test_schedules_that_make_no_sense_are_refused(
    reporter: Reporter, fields: dict[str, Any], reason: str
) -> None:
    assert (await refused(created(reporter, **fields))).reason == reason


@pytest.fixture
async def mailing(
    owner_url: str, usage_server: LocalServer, clock: ManualClock
) -> AsyncIterator[tuple[Mailbox, LocalServer, budget_bootstrap.BudgetService]]:
    """A budget service that sends mails to a real SMTP server."""
    service = await migrated(owner_url, "budget")
    database = service.connect(PoolLimits(connections=10))
    async with smtp_receiver() as mailbox:
        settings = BudgetSettings(
            **SECRETS,
            smtp_url=SecretStr(mailbox.url),
            mail_sender="FinOps <finops@example.com>",
        )
        usage = usage_server.channel_with(service_token_of("budget", tenant=""))
        built = budget_bootstrap.build(database, usage, settings, clock=clock)
        async with serving(*built.servicers, database=database) as server:
            yield mailbox, server, built
    await database.close()


async def test_a_scheduled_report_is_mailed_once_with_its_files(
    caller: Caller,
    mailing: tuple[Mailbox, LocalServer, budget_bootstrap.BudgetService],
    usage_server: LocalServer,
    reporting_database: Database,
    clock: ManualClock,
) -> None:
    mailbox, budget_server, budget = mailing
    await caller.record_days(["10"] * 60)
    built = bootstrap.build(
        reporting_database,
        usage_server.channel_with(service_token_of("reporting", tenant="")),
        budget_server.channel_with(service_token_of("reporting", tenant="")),
        ReportingSettings(**SECRETS, public_url="https://finops.example.com/"),
        clock=clock,
    )

    async with reporter_of(built, reporting_database, caller.tenant_id) as reporter:
        schedule = await created(
            reporter,
            recipients=["cfo@example.com"],
            formats=[model.REPORT_FORMAT_PDF, model.REPORT_FORMAT_XLSX],
        )
        clock.advance(datetime(2026, 7, 1, 7, 0, 30, tzinfo=UTC) - NOW)
        await built.reporting.schedules.run_due(DUE)
        (report,) = await made_by(reporter, schedule.schedule_id)
        ended = await reporter.ended(report.report_id)

        async def arrived() -> bool:
            await budget.alert_work.run_once()
            return bool(mailbox.mails)

        await eventually(arrived)
        # The job runs at least once: a repetition is known by its key.
        again = Job(
            1, "report-mail", f'{{"report_id": "{report.report_id}"}}'.encode(), 2, caller.tenant_id
        )
        await built.reporting.mailing.run(again)
        await budget.alert_work.run_once()

    assert ended.state == model.JOB_STATE_SUCCEEDED
    (mail,) = mailbox.mails
    assert mailbox.receivers == ["cfo@example.com"]
    assert mail["Subject"] == "Chargeback report June 2026"
    parts: list[Any] = [part for part in mail.walk() if not part.is_multipart()]
    names = {part.get_filename(): part.get_payload(decode=True) for part in parts}
    assert names["chargeback-2026-06-01.pdf"].startswith(b"%PDF")
    assert "chargeback-2026-06-01.xlsx" in names
    text = parts[0].get_payload(decode=True).decode()
    assert "Cost: 140.00" in text
    (link,) = links_in(text)
    assert link.file_name == "chargeback-2026-06-01.pdf"


def links_in(text: str) -> list[LinkParts]:
    """Returns the links of a text, each of which is a line's end."""
    found = re.findall(r"https://finops\.example\.com(/\S+)", text)
    return [parts_of(path) for path in found]


async def test_a_report_too_large_for_a_mail_comes_as_links_that_end(
    caller: Caller,
    usage_server: LocalServer,
    reporting_database: Database,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedules_mailing, "ATTACHED_BYTES_MAX", 1)
    notices: list[ReportNotice] = []

    class Outbox:
        async def publish(self, notice: ReportNotice) -> None:
            notices.append(notice)

    settings = ReportingSettings(**SECRETS, public_url="https://finops.example.com/")
    channel = usage_server.channel_with(service_token_of("reporting", tenant=""))
    built = bootstrap.build(reporting_database, channel, channel, settings, clock=clock)
    links = Links(settings.page_token_secret)
    mailing = ReportMailing(
        reporting_database, Outbox(), links=links, public_url=settings.public_url, clock=clock
    )
    async with reporter_of(built, reporting_database, caller.tenant_id) as reporter:
        schedule = await created(
            reporter,
            recipients=["cfo@example.com"],
            formats=[model.REPORT_FORMAT_CSV, model.REPORT_FORMAT_HTML],
        )
        await reporter.schedules.RunReportSchedule(
            messages.RunReportScheduleRequest(schedule_id=schedule.schedule_id)
        )
        (report,) = await made_by(reporter, schedule.schedule_id)
        await reporter.ended(report.report_id)

        payload = f'{{"report_id": "{report.report_id}"}}'.encode()
        await mailing.run(Job(1, "report-mail", payload, 1, caller.tenant_id))

        (notice,) = notices
        sent = links_in(notice.body)
        fetched = []
        for link in sent:
            request = request_of(link)
            fetched.append([part async for part in reporter.files.DownloadExport(request)])
        clock.advance(timedelta(days=7))
        request = request_of(sent[0])
        over = await refused(anext(aiter(reporter.files.DownloadExport(request))))
    assert notice.files == []
    assert "These links open them until 22 Jun 2026, 09:30 UTC:" in notice.body
    names = ["chargeback-2026-05-01.html", "chargeback-2026-05-01.zip"]
    assert [link.file_name for link in sent] == names
    assert [parts[0].content_type for parts in fetched] == [
        "text/html; charset=utf-8",
        "application/zip",
    ]
    assert notice.link.endswith(sent[0].signature)
    assert over.reason == "LINK_REFUSED"


async def test_a_notice_that_the_budget_service_refuses_is_no_success(
    budget_server: LocalServer, tenant: str
) -> None:
    channel = budget_server.channel_with(service_token_of("reporting", tenant=""))
    notice = ReportNotice(
        tenant_id=tenant,
        key="report-1",
        event_type="report.ready",
        title="Chargeback report",
        body="",
        payload="{}",
        link="",
        addresses=["nobody"],
        channel_ids=[],
        files=[],
    )

    with pytest.raises(NoticeRefused) as caught:
        await BudgetNotifier(channel).publish(notice)

    assert caught.value.reason == "NOTICE_REFUSED"
    assert "email" in caught.value.message

"""Sends what schedules made, through the budget service's durable deliveries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from services.kernel.database import Database, Transaction
from services.kernel.jobs import Job, enqueue
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.report import JobState, Report
from services.reporting.domain.report.schedule import ReportSchedule
from services.reporting.domain.report.wording import Wording
from services.reporting.service.reports_numbers import Writing, locale_of
from services.reporting.service.reports_writing import subtitle_of
from services.reporting.store import files as file_rows
from services.reporting.store import reports as report_rows
from services.reporting.store import schedules as rows
from services.reporting.store.reports import ReportFile

JOB: Final = "report-mail"
# A mail's files together; larger reports are sent as a link alone. The queue takes 10 MiB.
ATTACHED_BYTES_MAX: Final = 8 << 20
TITLE_LENGTH: Final = 200  # the queue's own bound
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    """A file of a mail."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportNotice:
    """What people get. key: notices of one key are sent once."""

    tenant_id: str
    key: str
    event_type: str
    title: str
    body: str
    payload: str
    link: str
    addresses: Sequence[str]
    channel_ids: Sequence[str]
    files: Sequence[AttachedFile]


class Notifier(Protocol):
    """Queues notices durably; the budget service, at the process edge."""

    async def publish(self, notice: ReportNotice) -> None:
        """Queues a notice. Raises PeerUnavailable, PeerTimeout, NoticeRefused."""
        ...


class ReportMailing:
    """Tells those whom a schedule names when its report has ended."""

    def __init__(self, database: Database, notifier: Notifier | None, *, public_url: str) -> None:
        """notifier: None where no budget service is connected. public_url: of the REST API."""
        self._database = database
        self._notifier = notifier
        self._public_url = public_url.rstrip("/")

    async def queue(self, tx: Transaction, report: Report) -> None:
        """Queues the sending of a schedule's report, in the transaction that ends it."""
        if report.schedule_id:
            payload = json.dumps({"report_id": report.report_id}).encode()
            key = f"{JOB}/{report.tenant_id}/{report.report_id}"
            await enqueue(tx, JOB, payload, tenant_id=report.tenant_id, key=key)

    async def run(self, job: Job) -> None:
        """Sends one report; a repetition is known by its key and sends nothing."""
        tenant_id, report_id = str(job.tenant_id), json.loads(job.payload)["report_id"]
        async with self._database.read(tenant_id) as tx:
            report = await report_rows.find(tx, tenant_id, report_id)
            if report is None:
                return
            schedule = await rows.find(tx, tenant_id, report.schedule_id)
            sections = await report_rows.sections(tx, tenant_id, report_id)
            files = await report_rows.files(tx, tenant_id, report_id)
        if schedule is None or not schedule.is_sent:
            return
        if self._notifier is None:
            # It was connected when the schedule was made; the report itself is there.
            log.warning("report is not sent", report=report_id, reason="no budget service")
            return
        attached = await self._attached(tenant_id, files)
        notice = self._notice(report, schedule, list(sections.values()), attached)
        await self._notifier.publish(notice)

    async def _attached(
        self, tenant_id: str, files: Sequence[ReportFile]
    ) -> Sequence[AttachedFile]:
        if sum(each.byte_count for each in files) > ATTACHED_BYTES_MAX:
            return []
        found = []
        for each in files:
            async with self._database.read(tenant_id) as tx:
                stored = await file_rows.find(tx, tenant_id, each.file_id)
            if stored is None:
                continue
            content = file_rows.read(self._database, tenant_id, each.file_id)
            chunks = [chunk async for chunk in content]
            found.append(
                AttachedFile(
                    name=stored.file_name, media_type=stored.media_type, content=b"".join(chunks)
                )
            )
        return found

    def _notice(
        self,
        report: Report,
        schedule: ReportSchedule,
        sections: Sequence[Section],
        files: Sequence[AttachedFile],
    ) -> ReportNotice:
        words = Wording(str(locale_of(report.wish.locale).language))
        is_made = report.state is JobState.SUCCEEDED
        path = f"/api/v1/finops/reports/{report.report_id}"
        title = report.title if is_made else f"{words.word('Failed')}: {report.title}"
        return ReportNotice(
            tenant_id=report.tenant_id,
            key=f"report-{report.report_id}",
            event_type="report.ready" if is_made else "report.failed",
            title=title[:TITLE_LENGTH],
            body="\n".join(_lines(report, sections, words, has_files=bool(files))),
            payload=json.dumps(
                {
                    "report_id": report.report_id,
                    "schedule_id": schedule.schedule_id,
                    "kind": report.wish.kind.name,
                    "state": report.state.name,
                }
            ),
            link=f"{self._public_url}{path}" + ("/content" if is_made else ""),
            addresses=schedule.recipients,
            channel_ids=schedule.channel_ids,
            files=files,
        )


def _lines(
    report: Report, sections: Sequence[Section], words: Wording, *, has_files: bool
) -> list[str]:
    locale = locale_of(report.wish.locale)
    lines = [report.title, subtitle_of(report), ""]
    if report.state is not JobState.SUCCEEDED:
        return [*lines, words.word("The report could not be made: {why}", why=report.error)]
    writing = Writing(locale)
    lines += [
        f"{tile.label}: {writing.text(tile.number)}"
        for section in sections
        for tile in section.tiles
    ]
    if not has_files:
        lines.append(words.word("The files are too large for a mail; fetch them here."))
    return lines

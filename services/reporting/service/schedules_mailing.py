"""Sends what schedules made, through the budget service's durable deliveries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import structlog

from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.jobs import Job, enqueue
from services.reporting.domain.links import SENT_LINK_TIME, Links
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.report import JobState, Report
from services.reporting.domain.report.schedule import ReportSchedule
from services.reporting.domain.report.wording import Wording
from services.reporting.domain.stored_file import StoredFile
from services.reporting.service.reports_numbers import Writing, locale_of
from services.reporting.service.reports_writing import subtitle_of, written_instant
from services.reporting.store import files as file_rows
from services.reporting.store import reports as report_rows
from services.reporting.store import schedules as rows
from services.reporting.store.reports import ReportFile

JOB: Final = "report-mail"
# A mail's files together; of larger reports links are sent. The queue takes 10 MiB.
ATTACHED_BYTES_MAX: Final = 8 << 20
TITLE_LENGTH: Final = 200  # the queue's own bound
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    """A file of a mail."""

    name: str
    media_type: str
    content: bytes


class MadeFile(NamedTuple):
    """A file that a report has, and its bytes."""

    stored: StoredFile
    byte_count: int


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

    def __init__(
        self,
        database: Database,
        notifier: Notifier | None,
        *,
        links: Links,
        public_url: str,
        clock: Clock,
    ) -> None:
        """notifier: None where no budget service is connected. public_url: of the REST API."""
        self._database = database
        self._notifier = notifier
        self._links = links
        self._public_url = public_url.rstrip("/")
        self._clock = clock

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
        made = await self._made(tenant_id, files)
        attached = await self._attached(tenant_id, made)
        notice = self._notice(report, schedule, list(sections.values()), made, attached)
        await self._notifier.publish(notice)

    async def _made(self, tenant_id: str, files: Sequence[ReportFile]) -> Sequence[MadeFile]:
        found = []
        for each in files:
            async with self._database.read(tenant_id) as tx:
                stored = await file_rows.find(tx, tenant_id, each.file_id)
            if stored is not None:
                found.append(MadeFile(stored, each.byte_count))
        return found

    async def _attached(self, tenant_id: str, made: Sequence[MadeFile]) -> Sequence[AttachedFile]:
        if sum(each.byte_count for each in made) > ATTACHED_BYTES_MAX:
            return []
        found = []
        for each in made:
            stored = each.stored
            content = file_rows.read(self._database, tenant_id, stored.file_id)
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
        made: Sequence[MadeFile],
        attached: Sequence[AttachedFile],
    ) -> ReportNotice:
        words = Wording(str(locale_of(report.wish.locale).language))
        is_made = report.state is JobState.SUCCEEDED
        expires_at = min(self._clock.now() + SENT_LINK_TIME, report.expires_at)
        links = {each: self._link(report.tenant_id, each, expires_at) for each in made}
        lines = _lines(report, sections, words)
        if made and not attached:
            lines += ["", *_link_lines(report, links, expires_at, words)]
        page = f"{self._public_url}/api/v1/finops/reports/{report.report_id}"
        title = report.title if is_made else f"{words.word('Failed')}: {report.title}"
        return ReportNotice(
            tenant_id=report.tenant_id,
            key=f"report-{report.report_id}",
            event_type="report.ready" if is_made else "report.failed",
            title=title[:TITLE_LENGTH],
            body="\n".join(lines),
            payload=json.dumps(
                {
                    "report_id": report.report_id,
                    "schedule_id": schedule.schedule_id,
                    "kind": report.wish.kind.name,
                    "state": report.state.name,
                }
            ),
            link=next(iter(links.values()), page),
            addresses=schedule.recipients,
            channel_ids=schedule.channel_ids,
            files=attached,
        )

    def _link(self, tenant_id: str, made: MadeFile, expires_at: datetime) -> str:
        stored = made.stored
        path = self._links.path(tenant_id, stored.file_id, expires_at, file_name=stored.file_name)
        return f"{self._public_url}{path}"


def _lines(report: Report, sections: Sequence[Section], words: Wording) -> list[str]:
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
    return lines


def _link_lines(
    report: Report, links: Mapping[MadeFile, str], expires_at: datetime, words: Wording
) -> list[str]:
    until = written_instant(expires_at, report.time_zone, report.wish.locale)
    told = "The files are too large for a mail. These links open them until {until}:"
    return [words.word(told, until=until)] + [
        f"{each.stored.file_name}: {link}" for each, link in links.items()
    ]

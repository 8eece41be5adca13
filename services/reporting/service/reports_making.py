"""Makes reports: section by section, then format by format; a killed worker's goes on from there.

Each section and each file is kept in a transaction of its own, with the progress it makes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from services.kernel.clock import Clock
from services.kernel.database import Transaction
from services.kernel.errors import Aborted, DeadlineExceeded, Error, ResourceExhausted, Unavailable
from services.kernel.jobs import Job
from services.kernel.period import zone
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.frame import Frame
from services.reporting.domain.report.report import JobState, Report, ReportFormat
from services.reporting.domain.report.wording import Wording
from services.reporting.service.charts import Charts
from services.reporting.service.reports import drop_files, queue
from services.reporting.service.reports_charts import drawn_by
from services.reporting.service.reports_kinds import PARTS
from services.reporting.service.reports_numbers import currency_digits, locale_of
from services.reporting.service.reports_sources import ReportPeers, Sources
from services.reporting.service.reports_writing import EXTENSIONS, document_of, write
from services.reporting.store import files as file_rows
from services.reporting.store import reports as rows
from services.reporting.store.files import CHUNK_BYTES
from services.reporting.store.reports import ReportFile

ATTEMPTS: Final = 6  # with the waits between them, about two minutes
# Of a report that nothing was heard of for so long, the job is lost: it is queued again.
STALLED: Final = timedelta(minutes=3)
STALLED_AT_ONCE: Final = 100
# What may be otherwise at the next attempt.
PASSING: Final = (Unavailable, DeadlineExceeded, Aborted, ResourceExhausted)
BROKEN: Final = "An internal error occurred; report it with the id of this report."

Ended = Callable[[Transaction, Report], Awaitable[None]]
log = structlog.get_logger(__name__)


class ReportMaking:
    """Does the queued reports."""

    def __init__(
        self,
        peers: ReportPeers,
        charts: Charts,
        *,
        ended: Ended,
        public_url: str,
        clock: Clock,
    ) -> None:
        """ended: told in the transaction in which a report ends.

        public_url: where the REST API is for people, before the path of each link.
        """
        self._peers = peers
        self._database = peers.database
        self._charts = charts
        self._ended = ended
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    async def run(self, job: Job) -> None:
        """Makes what is not made yet of a report; what it fails with is kept with it."""
        tenant_id = str(job.tenant_id)
        async with self._database.transaction(tenant_id) as tx:
            report = await rows.find(tx, tenant_id, json.loads(job.payload)["report_id"])
            if report is None or report.has_ended:
                return
            await self._note(tx, report, state=JobState.RUNNING.value)
        try:
            await self._make(report)
        except Error as error:
            if isinstance(error, PASSING) and job.attempt < ATTEMPTS:
                async with self._database.transaction(tenant_id) as tx:
                    await self._note(tx, report, message=f"Waits: {error.message}")
                raise
            await self._fail(report, error.message)
        except Exception:
            if job.attempt >= ATTEMPTS:
                await self._fail(report, BROKEN)
            raise

    async def sweep(self, _: Job) -> None:
        """Queues reports again whose job is lost, as when all its workers died with it."""
        async with self._database.system_transaction() as tx:
            before = self._clock.now() - STALLED
            for report in await rows.stalled(tx, before, limit=STALLED_AT_ONCE):
                await queue(tx, report)

    async def _make(self, report: Report) -> None:
        frame = await self._frame(report)
        sections = await self._sections(report, frame)
        document = document_of(report, frame.currency_code, sections)
        draw = drawn_by(
            self._charts, theme=document.theme, currency_code=frame.currency_code, tz=frame.tz
        )
        async with self._database.read(report.tenant_id) as tx:
            made = {
                each.format for each in await rows.files(tx, report.tenant_id, report.report_id)
            }
        for place, format_ in enumerate(report.wish.formats, start=1):
            if format_ not in made:
                done = len(sections) + place
                written = partial(write, format_, document, report, draw=draw, url=self._public_url)
                await self._write(report, format_, written, done)
        async with self._database.transaction(report.tenant_id) as tx:
            await self._succeed(tx, report)

    async def _frame(self, report: Report) -> Frame:
        tenant = await self._peers.usage.tenant(report.tenant_id)
        code = report.wish.currency_code or tenant.currency_code
        return Frame(
            tenant_id=report.tenant_id,
            period=report.period,
            tz=zone(report.time_zone),
            currency_code=code,
            digits=currency_digits(code),
            filter=report.wish.filter,
            group_by=report.wish.group_by,
            words=Wording(str(locale_of(report.wish.locale).language)),
            now=report.created_at,
        )

    async def _sections(self, report: Report, frame: Frame) -> list[Section]:
        async with self._database.read(report.tenant_id) as tx:
            known = await rows.sections(tx, report.tenant_id, report.report_id)
        sources = Sources(self._peers, frame)
        found = []
        for place, part in enumerate(PARTS[report.wish.kind]):
            section = known.get(place)
            if section is None:
                section = await part(sources)
                async with self._database.transaction(report.tenant_id) as tx:
                    message = f"Section {section.title} is done"
                    if await self._note(tx, report, message=message, done_units=place + 1):
                        keep = partial(rows.add_section, tx, report.tenant_id, report.report_id)
                        await keep(place, section)
            found.append(section)
        return found

    async def _write(
        self,
        report: Report,
        format_: ReportFormat,
        written: Callable[[Path], tuple[str, str]],
        done: int,
    ) -> None:
        """Writes one format to the disk, then into the database, a chunk at a time."""
        extension = EXTENSIONS[format_]
        file_id = f"{report.report_id}-{extension}"
        with tempfile.TemporaryDirectory(prefix="finops-report-") as folder:
            target = Path(folder, f"report.{extension}")
            name, media_type = await asyncio.to_thread(written, target)
            async with self._database.transaction(report.tenant_id) as tx:
                if not await self._note(
                    tx, report, message=f"{extension.upper()} is written", done_units=done
                ):
                    return
                await file_rows.create(
                    tx, report.tenant_id, file_id, file_name=name, media_type=media_type
                )
                digest = hashlib.sha256()
                size = 0
                with await asyncio.to_thread(target.open, "rb") as content:
                    while chunk := await asyncio.to_thread(content.read, CHUNK_BYTES):
                        digest.update(chunk)
                        size += len(chunk)
                        await file_rows.append(tx, report.tenant_id, file_id, chunk)
                made = ReportFile(format_, file_id, digest.hexdigest(), size)
                await rows.add_file(tx, report.tenant_id, report.report_id, made)

    async def _succeed(self, tx: Transaction, report: Report) -> None:
        made = await rows.files(tx, report.tenant_id, report.report_id)
        first = report.wish.formats[0]
        hashes = {each.format: each.content_hash for each in made}
        if await self._note(
            tx,
            report,
            state=JobState.SUCCEEDED.value,
            content_hash=hashes.get(first, ""),
            done_units=report.total_units,
            message="",
            ended_at=self._clock.now(),
        ):
            await self._ended(tx, report)

    async def _fail(self, report: Report, reason: str) -> None:
        log.warning("report failed", report=report.report_id, error=reason)
        async with self._database.transaction(report.tenant_id) as tx:
            await drop_files(tx, report)
            if await self._note(
                tx,
                report,
                state=JobState.FAILED.value,
                error=reason,
                message="",
                ended_at=self._clock.now(),
            ):
                await self._ended(tx, report)

    async def _note(self, tx: Transaction, report: Report, **values: Any) -> bool:
        """Keeps how far a report is; False where it was deleted or has ended meanwhile."""
        current = await rows.find(tx, report.tenant_id, report.report_id, is_locked=True)
        if current is None or current.has_ended:
            return False
        values["updated_at"] = self._clock.now()
        await rows.change(tx, report.tenant_id, report.report_id, **values)
        return True

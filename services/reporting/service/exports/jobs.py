"""Exports as long-running work: asked for, made by a worker, forgotten.

A file is of one snapshot. So when a worker dies or is stopped, the next one begins the file anew
and replaces what was there; `attempt` fences off a worker that was only thought dead.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error, ResourceExhausted, Unavailable
from services.kernel.ids import new_id
from services.kernel.job_worker import ATTEMPTS
from services.kernel.jobs import Job, enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.costs import CostQuestion
from services.reporting.domain.exports import (
    MEDIA_TYPES,
    Dataset,
    Export,
    ExportFormat,
    ExportQuestion,
    ExportWish,
)
from services.reporting.domain.report.report import JobState
from services.reporting.errors import ExportNotFound
from services.reporting.service.exports.exporting import Exports, file_name, require_readable
from services.reporting.service.peers import UsageReader
from services.reporting.store import exports as store
from services.reporting.store import files

JOB: Final = "export"
EXPIRY_JOB: Final = "expire_exports"
# Bytes a transaction: few enough to hold, many enough that their commits cost nothing.
BATCH_BYTES: Final = 1 << 20
BATCH_SECONDS: Final = 2.0  # how old progress is at most while no bytes come
UNFINISHED_MAX: Final = 20  # of a tenant; each costs a worker minutes
UNHEARD: Final = timedelta(days=1)  # a worker says something every few seconds
FORGOTTEN_AFTER: Final = timedelta(days=90)  # what has no file any more
SWEEP_ROWS: Final = 100
AWAY: Final = "a service that is needed was away or busy for too long; try again"
BROKEN: Final = "the file could not be made; try again, and report it if that fails too"

log = structlog.get_logger(__name__)


class TooManyExports(ResourceExhausted):
    """So many exports of the tenant wait or run already; wait for one, or delete one."""

    reason = "TOO_MANY_EXPORTS"


class _Superseded(Exception):
    """The export was deleted, or another worker makes it."""


class ExportJobs:
    """The use cases of exports that take longer than a call."""

    def __init__(
        self,
        database: Database,
        exports: Exports,
        usage: UsageReader,
        *,
        tokens: PageTokens,
        clock: Clock,
        retention: timedelta,
    ) -> None:
        """usage: knows how many rows to expect. retention: how long a file is kept."""
        self._database = database
        self._exports = exports
        self._usage = usage
        self._tokens = tokens
        self._clock = clock
        self._retention = retention

    async def create_export(self, wish: ExportWish) -> Export:
        """Queues an export. Raises PermissionDenied, TooManyExports, InvalidForecastInstant."""
        require_readable(wish)
        question = await self._exports.fixed(wish)
        now = self._clock.now()
        made = Export(
            tenant_id=wish.tenant_id,
            export_id=new_id(),
            question=question,
            created_at=now,
            updated_at=now,
            expires_at=now + self._retention,
        )
        async with self._database.transaction(wish.tenant_id) as tx:
            waiting = await store.count_unfinished(tx, wish.tenant_id)
            if waiting >= UNFINISHED_MAX:
                raise TooManyExports(exports=waiting, exports_max=UNFINISHED_MAX)
            await store.add(tx, made)
            await enqueue(tx, JOB, made.export_id.encode(), key=f"export:{made.export_id}")
            await _audited(tx, "exports.create", made)
        return made

    async def get_export(self, tenant_id: str, export_id: str) -> Export:
        """Returns an export. Raises ExportNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await _required(tx, tenant_id, export_id)

    async def list_exports(self, request: PageRequest) -> Page[Export]:
        """Returns a page of exports, newest first unless ordered otherwise."""
        async with self._database.read(request.tenant_id) as tx:
            return await store.page(tx, request, self._tokens)

    async def delete_export(self, tenant_id: str, export_id: str) -> None:
        """Deletes an export and its file; one that runs stops soon. Raises ExportNotFound."""
        async with self._database.transaction(tenant_id) as tx:
            found = await _required(tx, tenant_id, export_id, is_locked=True)
            await store.remove(tx, tenant_id, export_id)
            await files.delete(tx, tenant_id, export_id)
            await _audited(tx, "exports.delete", found)

    async def run(self, job: Job) -> None:
        """Makes the file of a queued export."""
        tenant_id = job.tenant_id or ""
        export_id = job.payload.decode()
        is_last = job.attempt >= ATTEMPTS
        running: Export | None = None
        try:
            running = await self._begin(tenant_id, export_id)
            if running is not None:
                await self._write(running)
        except _Superseded:
            log.info("export was given up", export=export_id, attempt=job.attempt)
        except Unavailable:
            if not is_last:
                raise
            await self._fail(tenant_id, export_id, running, AWAY)
        except Error as error:
            if running is None and not is_last:
                raise
            await self._fail(tenant_id, export_id, running, error.message)
        except Exception:
            if not is_last:
                raise
            log.exception("export cannot be made", export=export_id, attempt=job.attempt)
            await self._fail(tenant_id, export_id, running, BROKEN)

    async def expire(self, _: Job) -> None:
        """Deletes files past their time, and ends exports that nobody makes any more."""
        now = self._clock.now()
        while True:
            async with self._database.system_transaction() as tx:
                found = await store.over(tx, now, unheard_since=now - UNHEARD, limit=SWEEP_ROWS)
                for each in found:
                    is_done = each.state is JobState.SUCCEEDED
                    state = JobState.EXPIRED if is_done else JobState.FAILED
                    error = "" if is_done else "no worker could make it; try again"
                    ended = replace(each, state=state, error=error, updated_at=now, ended_at=now)
                    await store.save(tx, ended)
                    await files.delete(tx, each.tenant_id, each.export_id)
                await store.forget(tx, now - FORGOTTEN_AFTER)
            if len(found) < SWEEP_ROWS:
                return

    async def _begin(self, tenant_id: str, export_id: str) -> Export | None:
        """Takes the export and begins its file; None where there is nothing to do."""
        async with self._database.read(tenant_id) as tx:
            waiting = await store.find(tx, tenant_id, export_id)
        if waiting is None or waiting.has_ended:
            return None
        expected = await self._expected_rows(waiting.question)
        async with self._database.transaction(tenant_id) as tx:
            found = await store.find(tx, tenant_id, export_id, is_locked=True)
            if found is None or found.has_ended:
                return None
            now = self._clock.now()
            running = replace(
                found,
                state=JobState.RUNNING,
                attempt=found.attempt + 1,
                done_rows=0,
                total_rows=expected,
                begun_at=now,
                updated_at=now,
            )
            await store.save(tx, running)
            wish = found.question.wish
            await files.create(
                tx,
                tenant_id,
                export_id,
                file_name=file_name(found.question),
                media_type=MEDIA_TYPES[wish.format],
            )
        return running

    async def _expected_rows(self, question: ExportQuestion) -> int:
        """Returns about how many rows there will be, 0 where that is not known."""
        wish = question.wish
        if wish.dataset is not Dataset.USAGE and wish.format is not ExportFormat.FOCUS:
            return 0
        asked = CostQuestion(
            tenant_id=wish.tenant_id, period=question.required_period, filter=wish.filter
        )
        try:
            answer = await self._usage.costs(asked)
        except Error as error:
            # It is for the progress alone: the export itself says what is wrong, or waits.
            log.info("rows are not expected", reason=error.reason)
            return 0
        return sum(total.events for total in answer.totals)

    async def _write(self, running: Export) -> None:
        digest = hashlib.sha256()
        held: list[bytes] = []
        size = rows = 0
        loop = asyncio.get_running_loop()
        said = loop.time()
        async for piece in self._exports.pieces(running.question):
            rows = piece.rows
            if piece.content:
                held.append(piece.content)
            is_full = sum(map(len, held)) >= BATCH_BYTES
            if is_full or loop.time() - said >= BATCH_SECONDS:
                size += await self._append(running, held, digest, rows)
                held, said = [], loop.time()
        size += await self._append(running, held, digest, rows)
        async with self._database.transaction(running.tenant_id) as tx:
            now = self._clock.now()
            current = await _current(tx, running)
            done = replace(
                current,
                state=JobState.SUCCEEDED,
                done_rows=rows,
                total_rows=rows,
                byte_count=size,
                content_hash=digest.hexdigest(),
                updated_at=now,
                ended_at=now,
                expires_at=now + self._retention,
            )
            await store.save(tx, done)

    async def _append(
        self, running: Export, held: list[bytes], digest: hashlib._Hash, rows: int
    ) -> int:
        """Stores content and progress in one transaction; returns the content's bytes."""
        content = b"".join(held)
        await asyncio.to_thread(digest.update, content)
        async with self._database.transaction(running.tenant_id) as tx:
            # The transaction that ends the export brings these to the disk as well; a server that
            # falls before then leaves an export that is begun anew.
            await tx.driver.execute("SET LOCAL synchronous_commit = off")
            current = await _current(tx, running)
            if content:
                await files.append(tx, running.tenant_id, running.export_id, content)
            progress = replace(current, done_rows=rows, updated_at=self._clock.now())
            await store.save(tx, progress)
        return len(content)

    async def _fail(
        self, tenant_id: str, export_id: str, running: Export | None, error: str
    ) -> None:
        """Ends an export. running: None where this attempt did not come to begin it."""
        async with self._database.transaction(tenant_id) as tx:
            current = await store.find(tx, tenant_id, export_id, is_locked=True)
            if current is None or current.has_ended:
                return
            if running is not None and current.attempt != running.attempt:
                return
            now = self._clock.now()
            failed = replace(
                current, state=JobState.FAILED, error=error, updated_at=now, ended_at=now
            )
            await store.save(tx, failed)
            await files.delete(tx, tenant_id, export_id)


async def _required(
    tx: Transaction, tenant_id: str, export_id: str, *, is_locked: bool = False
) -> Export:
    found = await store.find(tx, tenant_id, export_id, is_locked=is_locked)
    if found is None:
        raise ExportNotFound(export_id=export_id)
    return found


async def _current(tx: Transaction, running: Export) -> Export:
    """Returns the stored export, locked, while this attempt is the one that makes it."""
    found = await store.find(tx, running.tenant_id, running.export_id, is_locked=True)
    is_ours = found is not None and found.attempt == running.attempt
    if found is None or not is_ours or found.state is not JobState.RUNNING:
        raise _Superseded
    return found


async def _audited(tx: Transaction, action: str, one: Export) -> None:
    # Not the filter: it may name people, whom the audit log could not forget.
    wish, period = one.question.wish, one.question.period
    named = {"dataset": wish.dataset.value, "format": wish.format.value}
    if period is not None:
        named |= {"start": period.start.isoformat(), "end": period.end.isoformat()}
    is_made = action == "exports.create"
    await audit.append(
        tx,
        action=action,
        resource=f"exports/{one.export_id}",
        before=None if is_made else named,
        after=named if is_made else None,
    )

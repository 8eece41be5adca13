"""Imports files: takes them in parts, then stores their rows, resumable at any point."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error, Unavailable
from services.kernel.ids import new_id
from services.kernel.jobs import Job, enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.import_file import ImportFile, ImportSize, ImportState, RefusedRow
from services.usage.domain.recording import Receipt, Verdict
from services.usage.errors import ImportNotFound
from services.usage.service.importers import (
    ImportKind,
    ImportOptions,
    ImportRows,
    Parsed,
    Rejected,
    Row,
    detect,
    open_import,
)
from services.usage.service.recording import Recorder
from services.usage.store import import_lists, imports

JOB = "import"
CHUNK_ROWS = 5_000  # rows a transaction: its end is where a killed import resumes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPart:
    """One part of a file. import_id: "" starts an import. total_bytes: 0, it is the whole file."""

    tenant_id: str
    content: bytes
    import_id: str = ""
    offset: int = 0
    total_bytes: int = 0
    kind: str = ""
    file_name: str = ""
    model: str = ""
    trace_start_at: datetime | None = None
    source: str = ""


class ImportCancelled(Exception):
    """Ends the work on an import that was cancelled."""


class Imports:
    """The use cases of importing."""

    def __init__(
        self, database: Database, recorder: Recorder, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the recorder that stores the rows."""
        self._database = database
        self._recorder = recorder
        self._tokens = tokens
        self._clock = clock

    async def import_usage(self, part: ImportPart) -> ImportFile:
        """Takes one part; with the last one the import is queued.

        Raises ImportNotFound, ImportOffset, ImportSize, ImportEnded, InvalidImportOption.
        """
        async with self._database.transaction(part.tenant_id) as tx:
            item = await self._begin(tx, part)
            item.require_part(part.offset, len(part.content))
            await imports.add_part(tx, item, part.offset, part.content)
            item = replace(
                item,
                received_bytes=item.received_bytes + len(part.content),
                updated_at=self._clock.now(),
            )
            if item.received_bytes == item.total_bytes:
                item = replace(item, state=ImportState.QUEUED)
                await enqueue(tx, JOB, item.import_id.encode(), key=f"import:{item.import_id}")
                await _audited(tx, "imports.upload", item)
            await imports.save_import(tx, item)
        return item

    async def _begin(self, tx: Transaction, part: ImportPart) -> ImportFile:
        if part.import_id:
            return await self._required(tx, part.tenant_id, part.import_id, is_locked=True)
        ImportOptions(part.model, part.trace_start_at, part.source, part.tenant_id)
        if not part.content:
            raise ImportSize(size=0)
        now = self._clock.now()
        item = ImportFile(
            tenant_id=part.tenant_id,
            import_id=new_id(),
            kind=part.kind,
            file_name=part.file_name,
            model=part.model,
            trace_start_at=part.trace_start_at,
            source=part.source,
            state=ImportState.UPLOADING,
            total_bytes=part.total_bytes or len(part.content),
            created_at=now,
            updated_at=now,
        )
        await imports.add_import(tx, item)
        await _audited(tx, "imports.create", item)
        return item

    async def get_import(self, tenant_id: str, import_id: str) -> ImportFile:
        """Returns an import. Raises ImportNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await self._required(tx, tenant_id, import_id)

    async def list_imports(self, page: PageRequest) -> Page[ImportFile]:
        """Returns a page of imports, newest first unless ordered otherwise."""
        async with self._database.read(page.tenant_id) as tx:
            return await import_lists.list_imports(tx, page, self._tokens)

    async def list_import_rejects(self, page: PageRequest, import_id: str) -> Page[RefusedRow]:
        """Returns a page of refused rows, in file order. Raises ImportNotFound."""
        async with self._database.read(page.tenant_id) as tx:
            await self._required(tx, page.tenant_id, import_id)
            return await import_lists.list_refused(tx, page, import_id, self._tokens)

    async def cancel_import(self, tenant_id: str, import_id: str) -> ImportFile:
        """Stops an import; rows that are stored stay. An ended import is returned as it is."""
        async with self._database.transaction(tenant_id) as tx:
            item = await self._required(tx, tenant_id, import_id, is_locked=True)
            if item.state.has_ended:
                await _audited(tx, "imports.cancel", item)
                return item
            item = replace(item, state=ImportState.CANCELLED, updated_at=self._clock.now())
            await imports.save_import(tx, item)
            await imports.drop_parts(tx, item)
            await _audited(tx, "imports.cancel", item)
        return item

    async def run(self, job: Job) -> None:
        """Stores the rows of a queued file, from where an earlier attempt was stopped."""
        tenant_id = job.tenant_id or ""
        with tempfile.TemporaryDirectory(prefix="finops-import-") as folder:
            path = Path(folder) / "file"
            async with self._database.transaction(tenant_id) as tx:
                item = await self._required(tx, tenant_id, job.payload.decode(), is_locked=True)
                if item.state.has_ended:
                    return
                item = replace(item, state=ImportState.RUNNING, updated_at=self._clock.now())
                await imports.save_import(tx, item)
            async with self._database.read(tenant_id) as tx:
                with path.open("wb") as file:
                    async for content in imports.parts(tx, item):
                        await asyncio.to_thread(file.write, content)
            try:
                item = await self._store_rows(item, path)
                state, failure = ImportState.SUCCEEDED, ""
            except ImportCancelled:
                return
            except Unavailable:
                raise
            except Error as error:
                # A file that is no text may put bytes into the message that no text can hold.
                readable = error.message.encode("utf-8", "replace").decode().replace("\0", "?")
                state, failure = ImportState.FAILED, readable
        await self._end(item, state, failure)

    async def _end(self, item: ImportFile, state: ImportState, failure: str) -> None:
        async with self._database.transaction(item.tenant_id) as tx:
            stored = await self._required(tx, item.tenant_id, item.import_id, is_locked=True)
            ended = replace(stored, state=state, failure=failure, updated_at=self._clock.now())
            await imports.save_import(tx, ended)
            await imports.drop_parts(tx, ended)

    async def _store_rows(self, item: ImportFile, path: Path) -> ImportFile:
        options = ImportOptions(item.model, item.trace_start_at, item.source, item.tenant_id)

        def opened() -> ImportRows:
            kind = ImportKind(item.kind) if item.kind else detect(path)
            rows = open_import(kind, path, options)
            # Rows stored before are read again, because a row's id counts its likes before it.
            next(itertools.islice(rows, item.rows, item.rows), None)
            return rows

        rows = await asyncio.to_thread(opened)
        async with self._database.transaction(item.tenant_id) as tx:
            await imports.add_bill_columns(tx, item.tenant_id, rows.bill_columns)
        while chunk := await asyncio.to_thread(lambda: list(itertools.islice(rows, CHUNK_ROWS))):
            item = await self._store_chunk(item, chunk)
        return item

    async def _store_chunk(self, item: ImportFile, chunk: Sequence[Row]) -> ImportFile:
        """Stores rows, refused rows and progress in one transaction."""
        parsed = [row for row in chunk if isinstance(row, Parsed)]
        refused = [
            RefusedRow(row.row_number, row.field, row.reason, row.text_excerpt)
            for row in chunk
            if isinstance(row, Rejected)
        ]
        progress = item

        async def settle(tx: Transaction, receipt: Receipt) -> None:
            nonlocal progress
            stored = await self._required(tx, item.tenant_id, item.import_id, is_locked=True)
            if stored.state is not ImportState.RUNNING:
                raise ImportCancelled
            counts = {verdict: receipt.verdicts.count(verdict) for verdict in Verdict}
            progress = replace(
                stored,
                rows=stored.rows + len(chunk),
                accepted=stored.accepted + counts[Verdict.ACCEPTED],
                duplicate=stored.duplicate + counts[Verdict.DUPLICATE],
                conflict=stored.conflict + counts[Verdict.CONFLICT],
                invalid=stored.invalid + counts[Verdict.INVALID] + len(refused),
                updated_at=self._clock.now(),
            )
            problems = [
                RefusedRow(
                    parsed[problem.position].row_number,
                    problem.field,
                    problem.description,
                    f"event_id {parsed[problem.position].event.event_id}",
                )
                for problem in receipt.problems
            ]
            await imports.add_refused(tx, progress, [*refused, *problems])
            await imports.save_import(tx, progress)

        await self._recorder.record(item.tenant_id, [row.event for row in parsed], settle=settle)
        return progress

    async def _required(
        self, tx: Transaction, tenant_id: str, import_id: str, *, is_locked: bool = False
    ) -> ImportFile:
        item = await imports.find_import(tx, tenant_id, import_id, is_locked=is_locked)
        if item is None:
            raise ImportNotFound(import_id=import_id)
        return item


async def _audited(tx: Transaction, action: str, item: ImportFile) -> None:
    await audit.append(
        tx,
        action=action,
        resource=f"imports/{item.import_id}",
        after={"file_name": item.file_name, "kind": item.kind, "state": item.state.name},
    )

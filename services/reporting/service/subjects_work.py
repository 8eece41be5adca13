"""Does cases about persons: step by step, each kept, so that any worker goes on after any crash.

An erasure counts first, asks the legal holds, then erases service by service, upstream first, and
asks again until none of them knows the person: facts under way between services may arrive in
between, so one answer of zero right after the erasure is not believed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope
from services.kernel.errors import Aborted, DeadlineExceeded, Error, ResourceExhausted, Unavailable
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.reporting.domain.retention import LegalHold
from services.reporting.domain.subjects import (
    CaseKind,
    CaseState,
    RecordCount,
    Stage,
    SubjectCase,
    SubjectStep,
    total,
)
from services.reporting.errors import RecordsKeepComing, ServiceNotConnected
from services.reporting.service.compliance_peers import RecordsPeer, SubjectRecord
from services.reporting.service.subjects import PURPOSE, drop_file, known_case, queue
from services.reporting.service.subjects_zip import RecordsArchive
from services.reporting.store import files, retention
from services.reporting.store import subjects as rows
from services.reporting.store.files import CHUNK_BYTES

ATTEMPTS: Final = 8  # over a minute; then the sweep queues it again, for as long as it takes
PASSES_MAX: Final = 20
# Within it what is under way between services has arrived: usage tells its changes by attributes
# that each replica remembers for up to five seconds.
CALM_SECONDS: Final = 6.0
STALLED: Final = timedelta(minutes=1)
STALLED_AT_ONCE: Final = 100
ACTOR: Final = "service:reporting"
PASSING: Final = (Unavailable, DeadlineExceeded, Aborted, ResourceExhausted)
BROKEN: Final = "An internal error occurred; report it with the id of this case."
OVERTAKEN: Final = "The person was erased meanwhile."

log = structlog.get_logger(__name__)


class SubjectWork:
    """Does the queued cases."""

    def __init__(
        self,
        database: Database,
        envelope: Envelope,
        peers: Sequence[RecordsPeer],
        *,
        clock: Clock,
        calm_seconds: float = CALM_SECONDS,
    ) -> None:
        """peers: the records of each service, this one's among them."""
        self._database = database
        self._envelope = envelope
        self._peers = {peer.service: peer for peer in peers}
        self._clock = clock
        self._calm_seconds = calm_seconds

    async def run(self, job: Job) -> None:
        """Does what is not done of a case; what it fails with is kept with it."""
        tenant_id, case_id = str(job.tenant_id), job.payload.decode()
        async with self._database.transaction(tenant_id) as tx:
            case = await rows.find(tx, tenant_id, case_id, is_locked=True)
            sealed = await rows.sealed_subject(tx, case) if case is not None else None
            if case is None or sealed is None:
                return
            opened = await self._envelope.open(
                tx, tenant_id, sealed, PURPOSE, key_name=case.key_name
            )
            await self._note(tx, case, state=CaseState.RUNNING.value, error="", message="")
        names: list[str] = json.loads(opened)
        work = self._collect if case.kind is CaseKind.EXPORT else self._erase
        try:
            await work(case, names)
        except Error as error:
            if isinstance(error, PASSING):
                async with self._database.transaction(tenant_id) as tx:
                    await self._note(tx, case, message=f"Waits: {error.message}")
                raise
            # It goes on when the cause is mended: the sweep tries again.
            await self._fail(case, error.message)
        except Exception:
            if job.attempt >= ATTEMPTS:
                await self._fail(case, BROKEN)
            raise

    async def sweep(self, _: Job) -> None:
        """Queues cases again that have not ended and whose job is lost, dead or failed."""
        async with self._database.system_transaction() as tx:
            before = self._clock.now() - STALLED
            for case in await rows.stalled(tx, before, limit=STALLED_AT_ONCE):
                await queue(tx, case)

    async def _erase(self, case: SubjectCase, names: Sequence[str]) -> None:
        steps = await self._counted(case, names)
        if case.dry_run:
            await self._finish(case, names, steps)
            return
        if not await self._may_erase(case, names, steps):
            return
        for _ in range(PASSES_MAX):
            for place, step in enumerate(steps):
                if step.stage < Stage.ERASED:
                    steps[place] = await self._erased(case, names, step)
            await asyncio.sleep(self._calm_seconds)
            for place, step in enumerate(steps):
                steps[place] = await self._confirmed(case, names, step)
            if all(step.stage is Stage.CONFIRMED for step in steps):
                await self._finish(case, names, steps)
                return
        raise RecordsKeepComing(subject_case_id=case.subject_case_id)

    async def _counted(self, case: SubjectCase, names: Sequence[str]) -> list[SubjectStep]:
        async with self._database.read(case.tenant_id) as tx:
            steps = list((await known_case(tx, case.tenant_id, case.subject_case_id)).steps)
        for place, step in enumerate(steps):
            if step.stage is Stage.PENDING:
                found = await self._ask(case, names, step)
                steps[place] = replace(step, stage=Stage.COUNTED, found=total(found))
                await self._keep(case, steps[place], f"{step.service} has counted")
        return steps

    async def _may_erase(
        self, case: SubjectCase, names: Sequence[str], steps: Sequence[SubjectStep]
    ) -> bool:
        """Passes the point of no return, unless a legal hold forbids it; then the case ends."""
        found = [each.collection for step in steps for each in step.found if each.records]
        async with self._database.transaction(case.tenant_id) as tx:
            await rows.lock_holds(tx, case.tenant_id)
            current = await rows.find(tx, case.tenant_id, case.subject_case_id, is_locked=True)
            if current is None or current.is_erasing:
                return current is not None
            holds = await retention.holds(tx, case.tenant_id)
            keeping = [hold for hold in holds if any(hold.keeps(name, found) for name in names)]
            if not keeping:
                await self._note(tx, case, is_erasing=True, message="Erasing")
                return True
            for step in steps:
                await rows.save_step(tx, case, replace(step, found=_held(step.found, keeping)))
            names = ", ".join(hold.legal_hold_id for hold in keeping)
            await self._end(tx, case, CaseState.BLOCKED, error=f"Legal holds forbid it: {names}.")
            await audit.append(
                tx,
                action="subjects.block",
                resource=case.resource,
                after={"legal_holds": [hold.legal_hold_id for hold in keeping]},
                actor=ACTOR,
            )
        return False

    async def _erased(
        self, case: SubjectCase, names: Sequence[str], step: SubjectStep
    ) -> SubjectStep:
        counts: list[RecordCount] = []
        for place, name in enumerate(names):
            counts += await self._peer(step).erase(
                case.tenant_id,
                name,
                case.pseudonym,
                dry_run=False,
                request_id=f"{case.subject_case_id}.{step.passes}.{step.service}.{place}",
            )
        done = replace(
            step,
            stage=Stage.ERASED,
            passes=step.passes + 1,
            changed=total([*step.changed, *counts]),
        )
        await self._keep(case, done, f"{step.service} has erased")
        return done

    async def _confirmed(
        self, case: SubjectCase, names: Sequence[str], step: SubjectStep
    ) -> SubjectStep:
        """Asks what a service still knows; something, and it has to erase once more."""
        left = await self._ask(case, names, step)
        is_clean = not any(each.records for each in left)
        asked = replace(step, stage=Stage.CONFIRMED if is_clean else Stage.COUNTED)
        verb = "knows nothing any more" if is_clean else "got more records meanwhile"
        await self._keep(case, asked, f"{step.service} {verb}")
        return asked

    async def _ask(
        self, case: SubjectCase, names: Sequence[str], step: SubjectStep
    ) -> Sequence[RecordCount]:
        # Without a request_id of its own, so that no stored answer is given again.
        counts: list[RecordCount] = []
        for name in names:
            counts += await self._peer(step).erase(
                case.tenant_id, name, case.pseudonym, dry_run=True, request_id=""
            )
        return counts

    async def _collect(self, case: SubjectCase, names: Sequence[str]) -> None:
        """Writes everything anew: what a dead worker wrote of a ZIP cannot be gone on with."""
        file_id = f"subject-{new_id()}"
        async with self._database.transaction(case.tenant_id) as tx:
            if case.file_id:
                await files.delete(tx, case.tenant_id, case.file_id)
            await files.create(
                tx,
                case.tenant_id,
                file_id,
                file_name=case.file_name,
                media_type="application/zip",
            )
            await self._note(tx, case, file_id=file_id)
            steps = (await known_case(tx, case.tenant_id, case.subject_case_id)).steps
        archive = RecordsArchive(self._clock.now())
        content = bytearray()
        for step in steps:
            before = dict(archive.counts)
            async for record in self._records(case, step, names):
                archive.add(record.collection, record.content)
                content += archive.take()
                if len(content) >= CHUNK_BYTES:
                    await self._append(case, file_id, content)
            found = [
                RecordCount(name, count - before.get(name, 0))
                for name, count in archive.counts.items()
                if count > before.get(name, 0)
            ]
            done = replace(step, stage=Stage.CONFIRMED, found=total(found))
            await self._keep(case, done, f"{step.service} is collected")
        archive.close()
        content += archive.take()
        await self._append(case, file_id, content)
        await self._collected(case, file_id, archive.digest.hexdigest())

    async def _records(
        self, case: SubjectCase, step: SubjectStep, names: Sequence[str]
    ) -> AsyncIterator[SubjectRecord]:
        for name in names:
            async for record in self._peer(step).records(case.tenant_id, name):
                yield record

    async def _append(self, case: SubjectCase, file_id: str, content: bytearray) -> None:
        async with self._database.transaction(case.tenant_id) as tx:
            await files.append(tx, case.tenant_id, file_id, bytes(content))
        content.clear()

    async def _collected(self, case: SubjectCase, file_id: str, content_hash: str) -> None:
        async with self._database.transaction(case.tenant_id) as tx:
            current = await rows.find(tx, case.tenant_id, case.subject_case_id, is_locked=True)
            if current is None or current.file_id != file_id:
                return  # another worker makes it, or the person was erased
            await self._end(tx, case, CaseState.SUCCEEDED, content_hash=content_hash)
            await audit.append(
                tx,
                action="subjects.collect",
                resource=case.resource,
                after={"content_hash": content_hash},
                actor=ACTOR,
            )

    async def _finish(
        self, case: SubjectCase, names: Sequence[str], steps: Sequence[SubjectStep]
    ) -> None:
        counts = total(each for step in steps for each in step.changed)
        async with self._database.transaction(case.tenant_id) as tx:
            if not case.dry_run:
                await self._forget(tx, case, names)
            await self._end(tx, case, CaseState.SUCCEEDED)
            await audit.append(
                tx,
                action="subjects.count" if case.dry_run else "subjects.erased",
                resource=case.resource,
                after={
                    "pseudonym": case.pseudonym,
                    "records": {each.collection: each.records for each in counts},
                },
                actor=ACTOR,
            )

    async def _forget(self, tx: Transaction, case: SubjectCase, names: Sequence[str]) -> None:
        """Ends what compliance itself keeps of the person: files, other cases, ended holds."""
        for other in await rows.others_of(tx, case):
            if other.file_id:
                await drop_file(tx, other)
            if await rows.sealed_subject(tx, other) is not None:
                await self._end(tx, other, CaseState.FAILED, error=OVERTAKEN)
        for name in names:
            await retention.forget_in_holds(tx, case.tenant_id, name, case.pseudonym)

    async def _end(
        self, tx: Transaction, case: SubjectCase, state: CaseState, **values: str
    ) -> None:
        """Ends a case: with its key goes the person's id."""
        await self._envelope.destroy(tx, case.tenant_id, key_name=case.key_name)
        now = self._clock.now()
        ended = {"state": state.value, "sealed_subject": None, "ended_at": now, "updated_at": now}
        await rows.change(tx, case, **ended, **{"message": "", **values})

    async def _fail(self, case: SubjectCase, reason: str) -> None:
        log.warning("subject case failed", case=case.subject_case_id, error=reason)
        async with self._database.transaction(case.tenant_id) as tx:
            await self._note(tx, case, state=CaseState.FAILED.value, error=reason, message="")

    async def _keep(self, case: SubjectCase, step: SubjectStep, message: str) -> None:
        async with self._database.transaction(case.tenant_id) as tx:
            await rows.save_step(tx, case, step)
            await self._note(tx, case, message=message)

    async def _note(self, tx: Transaction, case: SubjectCase, **values: object) -> None:
        """Keeps how far a case is, unless it has ended meanwhile."""
        if await rows.sealed_subject(tx, case) is not None:
            await rows.change(tx, case, updated_at=self._clock.now(), **values)

    def _peer(self, step: SubjectStep) -> RecordsPeer:
        peer = self._peers.get(step.service)
        if peer is None:
            raise ServiceNotConnected(service=step.service)
        return peer


def _held(counts: Sequence[RecordCount], keeping: Sequence[LegalHold]) -> tuple[RecordCount, ...]:
    return tuple(
        replace(each, held=each.records)
        if any(hold.covers(each.collection) for hold in keeping)
        else each
        for each in counts
    )

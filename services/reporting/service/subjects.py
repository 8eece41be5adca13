"""ExportSubjectData, EraseSubject, GetSubjectData, GetSubjectCase, ListSubjectCases."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.envelope import KEY_BYTES, Envelope
from services.kernel.ids import new_id
from services.kernel.jobs import enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.stored_file import StoredFile
from services.reporting.domain.subjects import (
    CaseKind,
    CaseState,
    SubjectCase,
    SubjectStep,
    pseudonym_of,
)
from services.reporting.errors import (
    SubjectCaseNotFound,
    SubjectDataNotReady,
    SubjectNamedInReason,
    TooManySubjectCases,
)
from services.reporting.service.compliance_peers import PersonReader
from services.reporting.store import files
from services.reporting.store import subjects as rows

JOB: Final = "subject-case"
PURPOSE: Final = "subject"
KEY_NAME: Final = "subjects"
KEY_PURPOSE: Final = "subject.key"
UNFINISHED_MAX: Final = 50  # of a tenant; each asks every service several times
EXPIRED_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class KnownCase:
    """A case with its steps."""

    case: SubjectCase
    steps: Sequence[SubjectStep]


class Subjects:
    """Takes what persons ask about themselves, and shows what became of it."""

    def __init__(
        self,
        database: Database,
        envelope: Envelope,
        services: Sequence[str],
        persons: PersonReader,
        *,
        tokens: PageTokens,
        kept: timedelta,
        clock: Clock,
    ) -> None:
        """services: whose records are asked for, in the order in which they are erased.

        persons: knows mail addresses, which recipients and logs have. envelope: keeps a person's
        names while the case needs them. kept: how long collections stay.
        """
        self._database = database
        self._envelope = envelope
        self._services = tuple(services)
        self._persons = persons
        self._tokens = tokens
        self._kept = kept
        self._clock = clock

    async def export_subject_data(self, tenant_id: str, subject_id: str, reason: str) -> KnownCase:
        """Starts a collection.

        Raises SubjectNamedInReason, TooManySubjectCases, EncryptionNotConfigured.
        """
        return await self._create(tenant_id, subject_id, reason, CaseKind.EXPORT, dry_run=False)

    async def erase_subject(
        self, tenant_id: str, subject_id: str, reason: str, *, dry_run: bool
    ) -> KnownCase:
        """Starts an erasure, or its counting. Raises as export_subject_data."""
        return await self._create(tenant_id, subject_id, reason, CaseKind.ERASURE, dry_run=dry_run)

    async def get_subject_case(self, tenant_id: str, subject_case_id: str) -> KnownCase:
        """Returns a case with its progress. Raises SubjectCaseNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await known_case(tx, tenant_id, subject_case_id)

    async def list_subject_cases(self, page: PageRequest) -> Page[KnownCase]:
        """Returns a page of cases."""
        async with self._database.read(page.tenant_id) as tx:
            found = await rows.page(tx, page, self._tokens)
            steps = await rows.steps(
                tx, page.tenant_id, [case.subject_case_id for case in found.items]
            )
        known = [KnownCase(case, steps[case.subject_case_id]) for case in found.items]
        return Page(known, found.next_page_token)

    async def get_subject_data(
        self, tenant_id: str, subject_case_id: str
    ) -> tuple[StoredFile, AsyncIterator[bytes]]:
        """Returns the file of a finished collection and its bytes.

        Raises SubjectCaseNotFound, SubjectDataNotReady, FileGone.
        """
        async with self._database.read(tenant_id) as tx:
            case = (await known_case(tx, tenant_id, subject_case_id)).case
            is_ready = case.state is CaseState.SUCCEEDED and case.file_id
            stored = await files.find(tx, tenant_id, case.file_id) if is_ready else None
        if stored is None:
            raise SubjectDataNotReady(subject_case_id=subject_case_id, state=case.state.name)
        return stored, files.read(self._database, tenant_id, stored.file_id)

    async def expire(self) -> None:
        """Deletes what was collected and is past its time, of all tenants."""
        while True:
            async with self._database.system_transaction() as tx:
                past = await rows.expired(tx, self._clock.now(), limit=EXPIRED_AT_ONCE)
                for case in past:
                    await drop_file(tx, case)
            if len(past) < EXPIRED_AT_ONCE:
                return

    async def _create(
        self, tenant_id: str, subject_id: str, reason: str, kind: CaseKind, *, dry_run: bool
    ) -> KnownCase:
        if subject_id.casefold() in reason.casefold():
            raise SubjectNamedInReason
        now = self._clock.now()
        person = await self._persons.person(tenant_id, subject_id)
        if any(name.casefold() in reason.casefold() for name in person.names):
            raise SubjectNamedInReason
        names = list(dict.fromkeys(filter(None, (subject_id, person.mail))))
        async with self._database.transaction(tenant_id) as tx:
            waiting = await rows.count_unfinished(tx, tenant_id)
            if waiting >= UNFINISHED_MAX:
                raise TooManySubjectCases(cases=waiting, cases_max=UNFINISHED_MAX)
            case = SubjectCase(
                tenant_id=tenant_id,
                subject_case_id=new_id(),
                kind=kind,
                state=CaseState.PENDING,
                pseudonym=await self.pseudonym(tx, tenant_id, subject_id),
                dry_run=dry_run,
                reason=reason,
                author=current_caller().subject,
                created_at=now,
                updated_at=now,
                expires_at=now + self._kept if kind is CaseKind.EXPORT else None,
            )
            sealed = await self._envelope.seal(
                tx, tenant_id, json.dumps(names).encode(), PURPOSE, key_name=case.key_name
            )
            steps = [SubjectStep(name, place) for place, name in enumerate(self._services)]
            await rows.add(tx, case, sealed, steps)
            await queue(tx, case)
            await audit.append(
                tx,
                action="subjects.erase" if kind is CaseKind.ERASURE else "subjects.export",
                resource=case.resource,
                after={"pseudonym": case.pseudonym, "dry_run": dry_run, "reason": reason},
            )
        return KnownCase(case, steps)

    async def pseudonym(self, tx: Transaction, tenant_id: str, subject_id: str) -> str:
        """Returns the person's pseudonym by the tenant's key, which the first case makes."""
        sealed = await rows.find_key(tx, tenant_id)
        if sealed is None:
            made = await self._envelope.seal(
                tx, tenant_id, secrets.token_bytes(KEY_BYTES), KEY_PURPOSE, key_name=KEY_NAME
            )
            await rows.add_key(tx, tenant_id, made)
            # Another case may have been first; its key is everybody's.
            sealed = await rows.find_key(tx, tenant_id) or made
        key = await self._envelope.open(tx, tenant_id, sealed, KEY_PURPOSE, key_name=KEY_NAME)
        return pseudonym_of(key, tenant_id, subject_id)


async def known_case(tx: Transaction, tenant_id: str, subject_case_id: str) -> KnownCase:
    """Returns a case with its steps. Raises SubjectCaseNotFound."""
    case = await rows.find(tx, tenant_id, subject_case_id)
    if case is None:
        raise SubjectCaseNotFound(subject_case_id=subject_case_id)
    steps = await rows.steps(tx, tenant_id, [subject_case_id])
    return KnownCase(case, steps[subject_case_id])


async def queue(tx: Transaction, case: SubjectCase, *, delay: timedelta = timedelta(0)) -> None:
    """Queues a case's work, unless it waits or runs already."""
    key = f"{JOB}/{case.tenant_id}/{case.subject_case_id}"
    await enqueue(
        tx, JOB, case.subject_case_id.encode(), tenant_id=case.tenant_id, delay=delay, key=key
    )


async def drop_file(tx: Transaction, case: SubjectCase) -> None:
    """Deletes what a collection found, and says so in it."""
    await files.delete(tx, case.tenant_id, case.file_id)
    await rows.change(tx, case, file_id="")

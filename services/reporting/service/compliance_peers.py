"""What compliance asks of every service, this one among them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from services.kernel.audit import AuditEntry
from services.kernel.audit_log import AuditLog
from services.kernel.pagination import PageRequest
from services.reporting.domain.compliance import AccessSummary, AuditRecord, ChainResult
from services.reporting.domain.retention import RecordCollection
from services.reporting.domain.subjects import RecordCount

PAGE_MAX: Final = 1_000  # entries that one question gives at most


class AuditPeer(Protocol):
    """One service's audit log."""

    @property
    def service(self) -> str:
        """Its name."""
        ...

    async def entries(
        self, tenant_id: str, *, filter_: str, is_newest_first: bool, limit: int
    ) -> Sequence[AuditRecord]:
        """Returns entries by their sequence, at most PAGE_MAX. Raises AuditQuestionRefused."""
        ...

    async def verify(self, tenant_id: str) -> ChainResult:
        """Recomputes the tenant's chain. Raises PeerUnavailable, PeerTimeout."""
        ...


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """One record about a person. content: a JSON object."""

    collection: str
    content: str


@dataclass(frozen=True, slots=True)
class Removal:
    """What a retention step asks of a service.

    held_filters: of the legal holds; what matches any of them stays. filter: of the records that
    may go, empty for all.
    """

    tenant_id: str
    collection: str
    before_at: datetime
    held_filters: Sequence[str]
    dry_run: bool
    request_id: str
    filter: str = ""


class RecordsPeer(Protocol):
    """One service's records."""

    @property
    def service(self) -> str:
        """Its name."""
        ...

    async def collections(self, tenant_id: str) -> Sequence[RecordCollection]:
        """Returns the kinds of records it keeps."""
        ...

    def records(self, tenant_id: str, subject_id: str) -> AsyncIterator[SubjectRecord]:
        """Yields every record about a person, collection by collection."""
        ...

    async def erase(
        self, tenant_id: str, subject_id: str, pseudonym: str, *, dry_run: bool, request_id: str
    ) -> Sequence[RecordCount]:
        """Replaces the person in every record, or counts those that name them."""
        ...

    async def remove(self, removal: Removal) -> RecordCount:
        """Removes or counts what ended before an instant. Raises RecordsRefused."""
        ...


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """What the directory says of a person; empty texts where it knows nobody."""

    mail: str = ""
    display_name: str = ""

    @property
    def names(self) -> Sequence[str]:
        """What people may call them by, beside the id."""
        return [name for name in (self.mail, self.display_name) if name]


class PersonReader(Protocol):
    """What is known of a person elsewhere, by which records may name them."""

    async def person(self, tenant_id: str, subject_id: str) -> KnownPerson:
        """Returns the person's mail address and name."""
        ...


class KeyReader(Protocol):
    """Who holds which role, as far as the suite knows: the API keys."""

    async def keys(self, tenant_id: str) -> Sequence[AccessSummary]:
        """Returns the keys that are in force, with their roles."""
        ...


class OwnAudit:
    """This service's own log, without a call."""

    def __init__(self, service: str, log: AuditLog) -> None:
        """service: this one's name."""
        self.service = service
        self._log = log

    async def entries(
        self, tenant_id: str, *, filter_: str, is_newest_first: bool, limit: int
    ) -> Sequence[AuditRecord]:
        """Returns entries by their sequence. Raises InvalidFilter."""
        page = await self._log.list_audit_entries(
            PageRequest(
                tenant_id=tenant_id,
                method="own",
                page_size=limit,
                filter=filter_,
                order_by="sequence desc" if is_newest_first else "sequence",
            )
        )
        return [self._record(entry) for entry in page.items]

    async def verify(self, tenant_id: str) -> ChainResult:
        """Recomputes the tenant's chain."""
        found = await self._log.verify_audit_chain(tenant_id)
        newest = await self.entries(tenant_id, filter_="", is_newest_first=True, limit=1)
        return ChainResult(
            service=self.service,
            is_reachable=True,
            is_intact=found.first_broken_sequence is None,
            entries=found.entries,
            first_broken_sequence=found.first_broken_sequence or 0,
            finding=found.problem,
            head_hash=newest[0].entry_hash if newest else "",
        )

    def _record(self, entry: AuditEntry) -> AuditRecord:
        return AuditRecord(
            service=self.service,
            sequence=entry.sequence,
            recorded_at=entry.recorded_at,
            actor=entry.actor,
            action=entry.action,
            resource=entry.resource,
            before=_state(entry.before),
            after=_state(entry.after),
            trace_id=entry.trace_id,
            entry_hash=entry.hash.hex(),
        )


def _state(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    state = json.loads(text)
    return state if isinstance(state, dict) else {"value": state}

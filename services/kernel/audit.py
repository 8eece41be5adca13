"""Who changed what: entries that nobody can change unseen.

An entry is added in the transaction of its change. The database numbers the entries of a tenant
without gaps and links each to the one before by hash (schema.py); `verify` computes every hash
again and names the first entry that does not fit. Entries name persons by tokens, which stay when
the person is erased (audit_subjects.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, TypeAlias

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry import trace

from services.kernel.audit_subjects import names_in, readable, readable_state, resolve
from services.kernel.call import current_call
from services.kernel.caller import current_caller
from services.kernel.transaction import Transaction

GENESIS = bytes(32)  # the previous hash of a tenant's first entry
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READ_BATCH = 500  # entries fetched at once while verifying

State: TypeAlias = Mapping[str, Any] | Message | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry as it is stored; before and after are canonical JSON, or None."""

    tenant_id: str
    sequence: int
    recorded_at: datetime
    actor: str
    credential_id: str
    action: str
    resource: str
    request_id: str
    trace_id: str
    before: str | None
    after: str | None
    previous_hash: bytes
    hash: bytes

    @property
    def texts(self) -> tuple[str | None, ...]:
        """What may name persons."""
        return (self.actor, self.resource, self.before, self.after)

    def computed_hash(self) -> bytes:
        """Returns what `hash` must be: SHA-256 of the previous hash and each field with its length.

        A field is 8 bytes of length, big-endian, and its UTF-8; None is the length -1.
        """
        microseconds = (self.recorded_at - _EPOCH) // timedelta(microseconds=1)
        fields = (
            self.tenant_id,
            str(self.sequence),
            str(microseconds),
            self.actor,
            self.credential_id,
            self.action,
            self.resource,
            self.request_id,
            self.trace_id,
            self.before,
            self.after,
        )
        return hashlib.sha256(self.previous_hash + b"".join(map(_frame, fields))).digest()


Problem = Literal["", "missing", "unlinked", "changed", "truncated", "beyond_head"]


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What a tenant's chain looks like.

    entries: how many were read. first_broken_sequence: None when the chain is whole.
    problem: the entry is missing; its previous hash is not the one before's; a field of it was
    changed; the chain ends before its head; or goes on after it.
    """

    entries: int
    first_broken_sequence: int | None = None
    problem: Problem = ""


_recorded: ContextVar[list[str] | None] = ContextVar("recorded_audit_entries", default=None)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collects `action resource` of each entry that the block's calls add, for interceptors."""
    entries: list[str] = []
    token = _recorded.set(entries)
    try:
        yield entries
    finally:
        _recorded.reset(token)


async def append(
    tx: Transaction,
    *,
    action: str,
    resource: str,
    before: State = None,
    after: State = None,
    tenant_id: str | None = None,
    actor: str | None = None,
) -> int:
    """Adds an entry in the transaction of its change, and returns its sequence.

    action: `noun.verb`. resource: its name. before, after: its state, of JSON values, Decimals,
    instants or a message; None before a creation and after a deletion.
    tenant_id: default the transaction's. actor: default the caller; background work names itself.
    Audited changes of one tenant commit one after another, because they share the chain's head.
    """
    owner = tenant_id or tx.tenant_id
    if owner is None:
        raise ValueError("a system transaction names the tenant of its audit entry")
    caller = current_caller() if actor is None else None
    named = caller.subject if caller is not None else str(actor)
    states = (canonical_json(before), canonical_json(after))
    names = await names_in(tx, owner, actor=named, resource=resource, states=states)
    span = trace.get_current_span().get_span_context()
    call = current_call.get()
    sequence: int = await tx.driver.fetchval(
        """
        INSERT INTO audit_entry (tenant_id, actor, credential_id, action, resource, request_id,
            trace_id, before, after)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING sequence
        """,
        owner,
        names.of(named),
        caller.credential_id if caller is not None else "",
        action,
        names.in_resource(resource),
        call.request_id if call is not None else "",
        f"{span.trace_id:032x}" if span.is_valid else "",
        *map(names.in_state, states),
    )
    entries = _recorded.get()
    if entries is not None:
        entries.append(f"{action} {resource}")
    return sequence


def canonical_json(state: State) -> str | None:
    """Returns the one ASCII text of a state: sorted names, no spaces, decimals as strings."""
    if state is None:
        return None
    if isinstance(state, Message):
        state = MessageToDict(state, preserving_proto_field_name=True)
    return json.dumps(state, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


async def verify(tx: Transaction, tenant_id: str) -> AuditVerification:
    """Reads a tenant's whole chain and finds its first broken entry. O(entries), little memory."""
    head = await tx.driver.fetchrow(
        "SELECT sequence, hash FROM audit_head WHERE tenant_id = $1", tenant_id
    )
    last_sequence, last_hash = (head["sequence"], head["hash"]) if head else (0, GENESIS)
    count = 0
    previous = GENESIS
    async for entry in stored_entries(tx, tenant_id):
        expected = count + 1
        problem = _problem(entry, expected, previous)
        if not problem and entry.sequence > last_sequence:
            problem = "beyond_head"
        if problem:
            return AuditVerification(count, expected, problem)
        count, previous = expected, entry.hash
    if count < last_sequence:
        return AuditVerification(count, count + 1, "truncated")
    if previous != last_hash:
        return AuditVerification(count, count, "changed")
    return AuditVerification(count)


def _problem(entry: AuditEntry, expected: int, previous: bytes) -> Problem:
    if entry.sequence != expected:
        return "missing"
    if entry.previous_hash != previous:
        return "unlinked"
    return "" if entry.hash == entry.computed_hash() else "changed"


async def read_entries(
    tx: Transaction, tenant_id: str, *, after: int = 0
) -> AsyncIterator[AuditEntry]:
    """Yields a tenant's entries in order, persons named, with a higher sequence than `after`."""
    async for entry in stored_entries(tx, tenant_id, after=after):
        yield named(entry, await resolve(tx, tenant_id, entry.texts))


def named(entry: AuditEntry, persons: Mapping[str, str]) -> AuditEntry:
    """Returns the entry with persons in their tokens' places; its hash is the stored one's."""
    return replace(
        entry,
        actor=readable(entry.actor, persons),
        resource=readable(entry.resource, persons),
        before=readable_state(entry.before, persons),
        after=readable_state(entry.after, persons),
    )


async def stored_entries(
    tx: Transaction, tenant_id: str, *, after: int = 0
) -> AsyncIterator[AuditEntry]:
    """Yields entries as `read_entries` does, with the tokens that were hashed."""
    cursor = tx.driver.cursor(
        """
        SELECT tenant_id, sequence, recorded_at, actor, credential_id, action, resource, request_id,
            trace_id, before::text, after::text, previous_hash, hash
        FROM audit_entry WHERE tenant_id = $1 AND sequence > $2 ORDER BY sequence
        """,
        tenant_id,
        after,
        prefetch=_READ_BATCH,
    )
    async for row in cursor:
        yield AuditEntry(*row)


def _frame(field: str | None) -> bytes:
    if field is None:
        return (-1).to_bytes(8, signed=True)
    encoded = field.encode()
    return len(encoded).to_bytes(8) + encoded


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"an audit entry cannot hold a {type(value).__name__}")

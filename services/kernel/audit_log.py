"""The audit log as it is read: entry by entry, newest first, and verified as a whole.

Read entries name persons, where stored and hashed ones have tokens (audit_subjects.py).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    LargeBinary,
    Text,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    table,
)

from services.kernel.audit import AuditEntry, AuditVerification, named, verify
from services.kernel.audit_subjects import resolve
from services.kernel.database import Database
from services.kernel.filter import Comparator, FieldType, FilterField, FilterValue
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

# The schema is the connection's own, whichever service it is.
_entry = table(
    "audit_entry",
    column("tenant_id", Text),
    column("sequence", BigInteger),
    column("recorded_at", DateTime(timezone=True)),
    column("actor", Text),
    column("credential_id", Text),
    column("action", Text),
    column("resource", Text),
    column("request_id", Text),
    column("trace_id", Text),
    column("before"),
    column("after"),
    column("previous_hash", LargeBinary),
    column("hash", LargeBinary),
)
_subject = table(
    "audit_subject",
    column("tenant_id", Text),
    column("token", Text),
    column("subject_id", Text),
)
_STATES = ("before", "after")
_USERS = "users/"


def _named(stored: ColumnElement[Any], prefix: str) -> ColumnElement[Any]:
    """Returns the column with the person in the token's place; it has the prefix before both."""
    person = (
        select(literal(prefix, Text()).concat(_subject.c.subject_id))
        .where(
            _subject.c.tenant_id == _entry.c.tenant_id,
            stored == literal(prefix, Text()).concat(_subject.c.token),
        )
        .scalar_subquery()
    )
    return func.coalesce(person, stored)


def _is(stored: ColumnElement[Any], prefix: str) -> Any:
    """Returns what `=` means: the stored text, or that of the person's token; indexes serve it."""

    def meaning(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
        if comparator is not Comparator.EQUAL or not isinstance(value, str):
            return None
        token = (
            select(literal(prefix, Text()).concat(_subject.c.token))
            .where(
                _subject.c.tenant_id == _entry.c.tenant_id,
                _subject.c.subject_id == literal(value.removeprefix(prefix), Text()),
            )
            .scalar_subquery()
        )
        return or_(stored == literal(value, Text()), func.coalesce(stored == token, False))

    return meaning


_ENTRIES = Listing(
    filters={
        "actor": FilterField(
            FieldType.STRING, _named(_entry.c.actor, ""), meaning=_is(_entry.c.actor, "")
        ),
        "action": FilterField(FieldType.STRING, _entry.c.action),
        "resource": FilterField(
            FieldType.STRING,
            _named(_entry.c.resource, _USERS),
            meaning=_is(_entry.c.resource, _USERS),
        ),
        "create_time": FilterField(FieldType.TIMESTAMP, _entry.c.recorded_at),
        # The place in the chain, from which a reader of several logs goes on.
        "sequence": FilterField(FieldType.INTEGER, _entry.c.sequence),
    },
    orders={"sequence": _entry.c.sequence},
    default_order="sequence desc",
    tie_break="sequence",
)


class AuditLog:
    """One service's audit log."""

    def __init__(self, database: Database, *, tokens: PageTokens) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens

    async def list_audit_entries(self, page: PageRequest) -> Page[AuditEntry]:
        """Returns entries of the page's tenant.

        Raises InvalidFilter, InvalidOrder, InvalidPageToken.
        """
        # As the text that was hashed, which a round trip through JSON could change.
        columns = [
            cast(each, Text).label(each.name) if each.name in _STATES else each for each in _entry.c
        ]
        entries = select(*columns).where(_entry.c.tenant_id == page.tenant_id)
        async with self._database.read(page.tenant_id) as tx:
            found = await _ENTRIES.page(tx, entries, page, self._tokens)
            items = [AuditEntry(**row) for row in found.items]
            texts = [text for item in items for text in item.texts]
            persons = await resolve(tx, page.tenant_id, texts)
        return Page([named(item, persons) for item in items], found.next_page_token)

    async def verify_audit_chain(self, tenant_id: str) -> AuditVerification:
        """Computes every hash of a tenant's chain again. O(entries)."""
        async with self._database.read(tenant_id) as tx:
            return await verify(tx, tenant_id)

"""The audit log as it is read: entry by entry, newest first, and verified as a whole."""

from __future__ import annotations

from sqlalchemy import BigInteger, DateTime, LargeBinary, Text, cast, column, select, table

from services.kernel.audit import AuditEntry, AuditVerification, verify
from services.kernel.database import Database
from services.kernel.filter import FieldType, FilterField
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
_STATES = ("before", "after")
_ENTRIES = Listing(
    filters={
        "actor": FilterField(FieldType.STRING, _entry.c.actor),
        "action": FilterField(FieldType.STRING, _entry.c.action),
        "resource": FilterField(FieldType.STRING, _entry.c.resource),
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
        return Page([AuditEntry(**row) for row in found.items], found.next_page_token)

    async def verify_audit_chain(self, tenant_id: str) -> AuditVerification:
        """Computes every hash of a tenant's chain again. O(entries)."""
        async with self._database.read(tenant_id) as tx:
            return await verify(tx, tenant_id)

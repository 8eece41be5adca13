"""Pages of imports and of their refused rows."""

from __future__ import annotations

from sqlalchemy import select

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField, compile_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens, after
from services.usage.domain.import_file import ImportFile, RefusedRow
from services.usage.store.imports import import_of
from services.usage.tables import import_file, import_reject

_IMPORT_FIELDS = {
    "kind": FilterField(FieldType.STRING, import_file.c.kind),
    "state": FilterField(FieldType.STRING, import_file.c.state),
    "file_name": FilterField(FieldType.STRING, import_file.c.file_name),
}
_REJECT_FIELDS = {
    "field": FilterField(FieldType.STRING, import_reject.c.field),
    "row_number": FilterField(FieldType.INTEGER, import_reject.c.row_number),
}


async def list_imports(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[ImportFile]:
    """Returns a page of a tenant's imports."""
    terms = parse_order(
        page.order_by, {"create_time"}, default="create_time desc", tie_break="create_time"
    )
    is_descending = terms[0].is_descending
    order = [
        (import_file.c.created_at, is_descending),
        (import_file.c.import_id, is_descending),
    ]
    statement = (
        select(import_file)
        .where(
            import_file.c.tenant_id == page.tenant_id, compile_filter(page.filter, _IMPORT_FIELDS)
        )
        .order_by(*(column.desc() if is_descending else column.asc() for column, _ in order))
        .limit(page.limit + 1)
    )
    key = tokens.decode(page)
    if key is not None:
        statement = statement.where(after(order, key))
    rows = [import_of(row) for row in (await tx.execute(statement)).mappings()]
    return tokens.page(page, rows, lambda item: (item.created_at, item.import_id))


async def list_refused(
    tx: Transaction, page: PageRequest, import_id: str, tokens: PageTokens
) -> Page[RefusedRow]:
    """Returns a page of an import's refused rows."""
    terms = parse_order(page.order_by, {"row_number"}, default="row_number", tie_break="row_number")
    column = import_reject.c.row_number
    is_descending = terms[0].is_descending
    statement = (
        select(import_reject)
        .where(
            import_reject.c.tenant_id == page.tenant_id,
            import_reject.c.import_id == import_id,
            compile_filter(page.filter, _REJECT_FIELDS),
        )
        .order_by(column.desc() if is_descending else column.asc())
        .limit(page.limit + 1)
    )
    key = tokens.decode(page)
    if key is not None:
        statement = statement.where(after([(column, is_descending)], key))
    rows = [
        RefusedRow(row["row_number"], row["field"], row["reject_reason"], row["excerpt"])
        for row in (await tx.execute(statement)).mappings()
    ]
    return tokens.page(page, rows, lambda row: (row.row_number,))

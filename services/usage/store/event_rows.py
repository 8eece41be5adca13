"""Events as rows: pages of them, one with all its revisions, and what prices were applied."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import FromClause, RowMapping, Select, select

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField, compile_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens, after
from services.kernel.period import Period
from services.usage.domain.event import Attributes, Costs, Outcome, UsageEvent
from services.usage.domain.stored_event import AppliedLine, StoredEvent
from services.usage.store.attribution import attributed_dimensions, dimension_fields
from services.usage.tables import dimension, event, event_identity, rate_plan

_ATTRIBUTE_COLUMNS = Attributes._fields[:-1]
_OUTCOMES = {each.name: each.value for each in Outcome}


def _statement(tenant_id: str) -> tuple[Select[*tuple[Any, ...]], Any]:
    dims = attributed_dimensions(tenant_id)
    columns = (event.c, event_identity.c, dimension.c, rate_plan.c)
    e, i, d, p = columns
    source = (
        event.join(
            event_identity,
            (i.tenant_id == e.tenant_id) & (i.source == e.source) & (i.event_id == e.event_id),
        )
        .join(dimension, (d.tenant_id == e.tenant_id) & (d.dimension_id == e.dimension_id))
        .join(dims, dims.c.dimension_id == e.dimension_id)
        .outerjoin(rate_plan, (p.tenant_id == e.tenant_id) & (p.rate_plan_id == e.rate_plan_id))
    )
    statement = (
        select(
            event,
            i.is_voided,
            p.lines,
            dims.c.department.label("resolved_department"),
            *(d[name] for name in _ATTRIBUTE_COLUMNS),
            d.tags,
        )
        .select_from(source)
        .where(e.tenant_id == tenant_id)
    )
    return statement, dims


def event_fields(dims: FromClause, tenant_id: str) -> dict[str, FilterField]:
    """Returns what a filter of events may name."""
    return dimension_fields(dims, tenant_id) | {
        "source": FilterField(FieldType.STRING, event.c.source),
        "event_id": FilterField(FieldType.STRING, event.c.event_id),
        "error_code": FilterField(FieldType.STRING, event.c.error_code),
        "outcome": FilterField(FieldType.CHOICE, event.c.outcome, choices=_OUTCOMES),
        "retries": FilterField(FieldType.INTEGER, event.c.retries),
        "utilization": FilterField(FieldType.NUMBER, event.c.utilization),
    }


async def list_events(
    tx: Transaction, page: PageRequest, period: Period, tokens: PageTokens
) -> Page[StoredEvent]:
    """Returns a page of events of a period, each as it stands now."""
    terms = parse_order(
        page.order_by, {"start_time"}, default="start_time desc", tie_break="start_time"
    )
    is_descending = terms[0].is_descending
    order = [(event.c.start_at, is_descending), (event.c.sequence, is_descending)]
    statement, dims = _statement(page.tenant_id)
    fields = event_fields(dims, page.tenant_id)
    statement = (
        statement.where(
            event.c.start_at >= period.start,
            event.c.start_at < period.end,
            event.c.weight == 1,
            event.c.revision == event_identity.c.revision,
            compile_filter(page.filter, fields),
        )
        .order_by(*(column.desc() if is_descending else column.asc() for column, _ in order))
        .limit(page.limit + 1)
    )
    key = tokens.decode(page)
    if key is not None:
        statement = statement.where(after(order, key))
    rows = [stored_of(row) for row in (await tx.execute(statement)).mappings()]
    return tokens.page(page, rows, lambda row: (row.event.start_at, row.sequence))


async def revisions(
    tx: Transaction, tenant_id: str, source: str, event_id: str
) -> list[StoredEvent]:
    """Returns every row of one event in the order of recording; none where it is unknown."""
    statement, _ = _statement(tenant_id)
    statement = statement.where(event.c.source == source, event.c.event_id == event_id).order_by(
        event.c.revision, event.c.weight.desc(), event.c.sequence
    )
    starts = await tx.driver.fetch(
        "SELECT start_at FROM usage.event_identity"
        " WHERE tenant_id = $1 AND source = $2 AND event_id = $3",
        tenant_id,
        source,
        event_id,
    )
    if not starts:
        return []
    return [stored_of(row) for row in (await tx.execute(statement)).mappings()]


def stored_of(row: RowMapping) -> StoredEvent:
    """Builds a stored event from a row with its dimension and rate plan."""
    billed = row["billed_cost"]
    costs = Costs(
        billed,
        *(
            billed if row[name] is None else row[name]
            for name in ("effective_cost", "list_cost", "contracted_cost")
        ),
    )
    attributes = Attributes._make(
        [*(row[name] for name in _ATTRIBUTE_COLUMNS), tuple(sorted(row["tags"].items()))]
    )
    lines = row["lines"]
    return StoredEvent(
        tenant_id=row["tenant_id"],
        event=UsageEvent(
            row["source"],
            row["event_id"],
            row["start_at"],
            row["end_at"],
            attributes,
            row["quantity"],
            tuple((meter, Decimal(quantity)) for meter, quantity in row["components"] or ()),
            costs if lines is None else None,
            Outcome(row["outcome"]),
            row["error_code"] or "",
            row["retries"],
            row["latency_ms"],
            row["capacity"],
            row["utilization"],
        ),
        costs=costs,
        sequence=row["sequence"],
        recorded_at=row["recorded_at"],
        revision=row["revision"],
        dimension_id=row["dimension_id"],
        weight=row["weight"],
        is_voided=row["is_voided"],
        is_unpriced=row["is_unpriced"],
        resolved_department=row["resolved_department"],
        amend_reason=row["amend_reason"] or "",
        applied=None if lines is None else tuple(_line_of(line) for line in lines),
    )


def _line_of(line: Mapping[str, str]) -> AppliedLine:
    return AppliedLine(
        meter=line["meter"],
        price_id=line["price_id"],
        multiplier=Decimal(line["multiplier"]),
        quantity=Decimal(line["quantity"]) if "quantity" in line else None,
        amount=Decimal(line["amount"]) if "amount" in line else None,
    )

"""Stores events: identity, event and cost delta in one statement.

One statement, because an event must be counted in all three or in none, and because a batch then
costs one round trip. Arrays, because a statement with 2,000 rows of parameters costs more to parse
than to run. Texts travel joined into one a column, which costs both sides a fifth of an array.
Columns that no event of a batch fills are sent empty, which `unnest` pads with NULL: they cost
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from services.kernel.database import Transaction

BATCH_EVENTS_MAX = 10_000  # below the step of usage.event_sequence
_SEPARATOR = "\x1f"  # no control character is valid in a stored text, or is left bare in JSON


class EventRow(NamedTuple):
    """One event as it is stored. The order is that of the statement's arrays.

    source, event_id and position come first: sorted rows then take identity locks in one order,
    so that two batches with the same events cannot deadlock. hour: seconds since 1970. Costs and
    quantities: decimal text; None where equal to the billed cost. outcome, retries, is_unpriced:
    None where they are what most events have.
    """

    source: str
    event_id: str
    position: int
    digest: bytes
    start_at: datetime
    end_at: datetime | None
    hour: int
    dimension_id: int
    quantity: str
    billed: str
    effective: str | None
    list: str | None
    contracted: str | None
    rate_plan_id: int | None
    outcome: int | None
    retries: int | None
    latency_ms: int | None
    error_code: str | None
    utilization: float | None
    capacity: str | None
    components: str | None
    is_unpriced: bool | None
    bill_columns: str | None


_INSERT = """
WITH number AS MATERIALIZED (SELECT nextval('usage.event_sequence') AS first),
input AS MATERIALIZED (
    SELECT i.*, number.first + i.row AS sequence
    FROM number, unnest(
        string_to_array($2, E'\\x1f'), string_to_array($3, E'\\x1f'), $4::bytea[],
        $5::timestamptz[], $6::timestamptz[], $7::bigint[], $8::bigint[],
        string_to_array($9, E'\\x1f'), string_to_array($10, E'\\x1f'),
        string_to_array($11, E'\\x1f', ''), string_to_array($12, E'\\x1f', ''),
        string_to_array($13, E'\\x1f', ''), $14::bigint[], $15::smallint[], $16::integer[],
        $17::bigint[], $18::text[], $19::float8[], string_to_array($20, E'\\x1f', ''),
        string_to_array($21, E'\\x1f', ''), $22::boolean[], string_to_array($25, E'\\x1f', '')
    ) WITH ORDINALITY AS i(
        source, event_id, digest, start_at, end_at, hour, dimension_id, quantity, billed,
        effective, list, contracted, rate_plan_id, outcome, retries, latency_ms, error_code,
        utilization, capacity, components, is_unpriced, bill_columns, row)
), fresh AS (
    INSERT INTO usage.event_identity (tenant_id, source, event_id, digest, start_at, sequence)
    SELECT $1, source, event_id, digest, start_at, sequence FROM input
    ON CONFLICT DO NOTHING
    RETURNING sequence
), stored AS (
    INSERT INTO usage.event (
        tenant_id, start_at, sequence, end_at, dimension_id, source, event_id, quantity,
        billed_cost, effective_cost, list_cost, contracted_cost, rate_plan_id, outcome, retries,
        latency_ms, error_code, utilization, capacity, components, is_unpriced, bill_columns)
    SELECT $1, start_at, sequence, COALESCE(end_at, start_at), dimension_id, source, event_id,
        quantity::numeric, billed::numeric, effective::numeric, list::numeric,
        contracted::numeric, rate_plan_id, COALESCE(outcome, 1), COALESCE(retries, 0), latency_ms,
        error_code, utilization, capacity::numeric, components::jsonb,
        COALESCE(is_unpriced, false), bill_columns
    FROM input JOIN fresh USING (sequence)
), changed AS (
    INSERT INTO usage.cost_change (
        tenant_id, hour_at, dimension_id, events, failed_events, unpriced_events, retries,
        quantity, billed_cost, effective_cost, list_cost, contracted_cost, latency_ms_sum,
        latency_samples, utilization_sum, utilization_samples, capacity_sum, capacity_samples,
        traceparent)
    SELECT $1, to_timestamp(hour), dimension_id, count(*), count(*) FILTER (WHERE outcome = 2),
        count(*) FILTER (WHERE is_unpriced), COALESCE(sum(retries), 0), sum(quantity::numeric),
        sum(billed::numeric), sum(COALESCE(effective, billed)::numeric),
        sum(COALESCE(list, billed)::numeric), sum(COALESCE(contracted, billed)::numeric),
        COALESCE(sum(latency_ms), 0), count(latency_ms), COALESCE(sum(utilization), 0),
        count(utilization), COALESCE(sum(capacity::numeric), 0), count(capacity), $23
    FROM input JOIN fresh USING (sequence)
    GROUP BY hour, dimension_id
)
SELECT count(*) AS stored,
    CASE WHEN count(*) < $24 THEN array_agg(sequence - number.first - 1) END AS rows
FROM fresh, number
GROUP BY number.first
"""

_IDENTITIES = """
SELECT i.row - 1 AS row, e.digest
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS i(source, event_id, row)
JOIN usage.event_identity e
  ON e.tenant_id = $1 AND e.source = i.source AND e.event_id = i.event_id
"""


async def insert_events(
    tx: Transaction, tenant_id: str, rows: Sequence[EventRow], *, traceparent: str | None
) -> set[int] | None:
    """Stores the events whose identity is new, with their cost deltas.

    rows: 1 to BATCH_EVENTS_MAX, sorted. Returns the indexes into `rows` that were stored; None
    where all were.
    """
    count = len(rows)
    columns = EventRow._make(zip(*rows, strict=True))  # each field a column
    record = await tx.driver.fetchrow(
        _INSERT,
        tenant_id,
        *(_joined(columns.source), _joined(columns.event_id), columns.digest, columns.start_at),
        *(_sparse(columns.end_at), columns.hour, columns.dimension_id),
        *(_joined(columns.quantity), _joined(columns.billed)),
        *(_joined(columns.effective), _joined(columns.list), _joined(columns.contracted)),
        *(_sparse(columns.rate_plan_id), _sparse(columns.outcome), _sparse(columns.retries)),
        *(_sparse(columns.latency_ms), _sparse(columns.error_code), _sparse(columns.utilization)),
        *(_joined(columns.capacity), _joined(columns.components), _sparse(columns.is_unpriced)),
        traceparent,
        count,
        _joined(columns.bill_columns),
    )
    if record is None:
        return set()
    return None if record["stored"] == count else set(record["rows"])


def _sparse(column: Any) -> tuple[Any, ...] | None:
    """Returns nothing for a column that no event fills."""
    return None if column.count(None) == len(column) else column


def _joined(column: Any) -> str | None:
    """Returns the texts of a column as one, absent ones empty; None where all are absent."""
    absent = column.count(None)
    if absent == len(column):
        return None
    text = _SEPARATOR.join([item or "" for item in column] if absent else column)
    if text.count(_SEPARATOR) != len(column) - 1:
        raise ValueError("a text of an event holds the control character U+001F")
    return text


async def stored_digests(
    tx: Transaction, tenant_id: str, keys: Sequence[tuple[str, str]]
) -> dict[int, bytes]:
    """Returns the digest stored under each (source, event_id), by index into `keys`."""
    records = await tx.driver.fetch(
        _IDENTITIES, tenant_id, [key[0] for key in keys], [key[1] for key in keys]
    )
    return {record["row"]: record["digest"] for record in records}


async def partition_months(tx: Transaction) -> set[date]:
    """Returns the first days of the months that have a partition."""
    records = await tx.driver.fetch("SELECT usage.event_partition_months() AS month")
    return {record["month"] for record in records}


async def make_partition(tx: Transaction, month: date) -> bool:
    """Makes the partition of a month; False where it is there already."""
    made: bool = await tx.driver.fetchval("SELECT usage.make_event_partition($1)", month)
    return made

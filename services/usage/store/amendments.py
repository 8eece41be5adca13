"""Adds revisions and reversals of events, with their cost deltas."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from services.kernel.database import Transaction
from services.usage.store.events import EventRow

_SUCCEEDED = 1
_LOCK = """
SELECT revision, is_voided FROM usage.event_identity
WHERE tenant_id = $1 AND source = $2 AND event_id = $3 FOR UPDATE
"""

# The statement of recording, for one row and without the identity, which is there and locked.
_ADD = """
WITH number AS MATERIALIZED (SELECT nextval('usage.event_sequence') AS sequence), stored AS (
    INSERT INTO usage.event (
        tenant_id, start_at, sequence, end_at, dimension_id, source, event_id, quantity,
        billed_cost, effective_cost, list_cost, contracted_cost, rate_plan_id, outcome, retries,
        latency_ms, error_code, utilization, capacity, components, is_unpriced, revision, weight,
        amend_reason)
    SELECT $1, $2, number.sequence, $3, $5::bigint, $6, $7, $8::text::numeric,
        $9::text::numeric, $10::text::numeric, $11::text::numeric, $12::text::numeric,
        $13::bigint, $14::smallint, $15::integer, $16::bigint, $17, $18::float8,
        $19::text::numeric, $20::text::jsonb, $21::boolean, $22::smallint, $23::smallint, $24
    FROM number
), changed AS (
    INSERT INTO usage.cost_change (
        tenant_id, hour_at, dimension_id, events, failed_events, unpriced_events, retries,
        quantity, billed_cost, effective_cost, list_cost, contracted_cost, latency_ms_sum,
        latency_samples, utilization_sum, utilization_samples, capacity_sum, capacity_samples,
        is_correction, traceparent)
    VALUES ($1, to_timestamp($4::bigint), $5::bigint, $23::smallint,
        CASE WHEN $14::smallint = 2 THEN $23::smallint ELSE 0 END,
        CASE WHEN $21::boolean THEN $23::smallint ELSE 0 END, $23::smallint * $15::integer,
        $8::text::numeric, $9::text::numeric, COALESCE($10::text, $9)::numeric,
        COALESCE($11::text, $9)::numeric, COALESCE($12::text, $9)::numeric,
        COALESCE($23::smallint * $16::bigint, 0),
        CASE WHEN $16::bigint IS NULL THEN 0 ELSE $23::smallint END,
        COALESCE($23::smallint * $18::float8, 0),
        CASE WHEN $18::float8 IS NULL THEN 0 ELSE $23::smallint END,
        COALESCE($23::smallint * $19::text::numeric, 0),
        CASE WHEN $19::text IS NULL THEN 0 ELSE $23::smallint END, true, $25)
)
SELECT sequence FROM number
"""

_MOVE_IDENTITY = """
UPDATE usage.event_identity SET revision = $4, is_voided = $5, start_at = $6
WHERE tenant_id = $1 AND source = $2 AND event_id = $3
"""


class Identity(NamedTuple):
    """Where an event's history stands."""

    revision: int
    is_voided: bool


async def lock_identity(
    tx: Transaction, tenant_id: str, source: str, event_id: str
) -> Identity | None:
    """Locks an event's identity until the transaction ends; None where it is unknown."""
    record = await tx.driver.fetchrow(_LOCK, tenant_id, source, event_id)
    return None if record is None else Identity(*record)


async def add_row(
    tx: Transaction,
    tenant_id: str,
    row: EventRow,
    *,
    revision: int,
    weight: int,
    amend_reason: str,
    traceparent: str | None,
) -> None:
    """Adds one row of an event. weight: -1 takes the revision back; its amounts are negative."""
    await tx.driver.fetchval(
        _ADD,
        tenant_id,
        row.start_at,
        row.end_at or row.start_at,
        row.hour,
        row.dimension_id,
        row.source,
        row.event_id,
        row.quantity,
        row.billed,
        row.effective,
        row.list,
        row.contracted,
        row.rate_plan_id,
        row.outcome or _SUCCEEDED,
        row.retries or 0,
        row.latency_ms,
        row.error_code,
        row.utilization,
        row.capacity,
        row.components,
        bool(row.is_unpriced),
        revision,
        weight,
        amend_reason,
        traceparent,
    )


async def move_identity(
    tx: Transaction,
    tenant_id: str,
    row: EventRow,
    *,
    revision: int,
    is_voided: bool,
    start_at: datetime,
) -> None:
    """Points a locked identity to the revision that stands now."""
    await tx.driver.execute(
        _MOVE_IDENTITY, tenant_id, row.source, row.event_id, revision, is_voided, start_at
    )

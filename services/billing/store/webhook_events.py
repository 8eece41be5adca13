"""The inbox of webhooks, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import select

from services.billing.domain.webhook import EventState, WebhookEvent
from services.billing.tables.provider import webhook_event as table
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

_FIELDS = tuple(each.name for each in fields(WebhookEvent) if each.name != "state")
BATCH = 50  # events claimed at once: what a few lanes handle within the claim, however slow

_EVENTS = Listing(
    filters={
        "provider": FilterField(FieldType.STRING, table.c.provider),
        "event_type": FilterField(FieldType.STRING, table.c.event_type),
        "state": FilterField(
            FieldType.CHOICE, table.c.state, choices={each.name: each.value for each in EventState}
        ),
        "object_id": FilterField(FieldType.STRING, table.c.object_id),
        "receive_time": FilterField(FieldType.TIMESTAMP, table.c.received_at),
    },
    orders={
        "receive_time": table.c.received_at,
        "webhook_event_id": table.c.webhook_event_id,
    },
    default_order="receive_time desc",
    tie_break="webhook_event_id",
)

_COLUMNS = (
    *("tenant_id", "webhook_event_id", "provider", "provider_event_id", "event_type", "object_id"),
    *("api_version", "live_mode", "state", "body", "provider_created_at", "received_at"),
)
# In one order, so that two who add the same events at once wait for each other in turn.
_ADD = f"""
INSERT INTO billing.webhook_event ({", ".join(_COLUMNS)}, next_attempt_at)
SELECT {", ".join(_COLUMNS)}, received_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::boolean[], $9::text[], $10::bytea[], $11::timestamptz[], $12::timestamptz[])
    AS event({", ".join(_COLUMNS)})
ORDER BY tenant_id, provider, provider_event_id
ON CONFLICT (tenant_id, provider, provider_event_id) DO NOTHING
RETURNING webhook_event_id, EXISTS (
    SELECT FROM pgqueuer
    WHERE dedupe_key = ANY ($13::text[]) AND status = 'queued' AND execute_after <= now()
) AS waits
"""

# An object whose events somebody else handles right now waits with all of them.
_CLAIM = """
WITH due AS (
    SELECT tenant_id, webhook_event_id FROM billing.webhook_event AS event
    WHERE state IN ('received', 'retrying') AND next_attempt_at <= $1
    AND NOT EXISTS (
        SELECT FROM billing.webhook_event AS other
        WHERE other.tenant_id = event.tenant_id AND other.object_id = event.object_id
        AND other.claimed_until > $1
    )
    ORDER BY next_attempt_at LIMIT $3
)
UPDATE billing.webhook_event AS event SET claimed_until = $2 FROM due
WHERE event.tenant_id = due.tenant_id AND event.webhook_event_id = due.webhook_event_id
RETURNING event.*
"""


def _of(row: Mapping[str, Any]) -> WebhookEvent:
    return WebhookEvent(**{name: row[name] for name in _FIELDS}, state=EventState(row["state"]))


async def add_events(
    tx: Transaction,
    events: Sequence[WebhookEvent],
    bodies: Sequence[bytes | None],
    *,
    job_keys: Sequence[str],
) -> tuple[set[str], bool]:
    """Adds events; returns the ids of the new ones, and whether a job of these keys waits already.

    bodies: of each, sealed. One statement, because a provider waits for the answer.
    """
    if not events:
        return set(), False
    values = [
        (
            *(event.tenant_id, event.webhook_event_id, event.provider, event.provider_event_id),
            *(event.event_type, event.object_id, event.api_version, event.live_mode),
            *(event.state.value, body, event.provider_created_at, event.received_at),
        )
        for event, body in zip(events, bodies, strict=True)
    ]
    rows = await tx.driver.fetch(_ADD, *zip(*values, strict=True), list(job_keys))
    return {row["webhook_event_id"] for row in rows}, any(row["waits"] for row in rows)


async def known_event(tx: Transaction, tenant_id: str, provider_event_id: str) -> bool:
    """Tells whether an event is in the inbox."""
    return bool(
        await tx.driver.fetchval(
            "SELECT true FROM billing.webhook_event WHERE tenant_id = $1"
            " AND provider = 'stripe' AND provider_event_id = $2",
            *(tenant_id, provider_event_id),
        )
    )


async def find_event(tx: Transaction, tenant_id: str, webhook_event_id: str) -> WebhookEvent | None:
    """Returns an event without its body."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.webhook_event WHERE tenant_id = $1 AND webhook_event_id = $2",
        *(tenant_id, webhook_event_id),
    )
    return None if row is None else _of(dict(row))


async def claim_events(tx: Transaction, now: datetime, until: datetime) -> list[WebhookEvent]:
    """Claims what is due to be handled at every endpoint, oldest first; see `_CLAIM`.

    until: from when on others may claim them, should they not be saved by then.
    """
    # One claim at a time, or two would each take an event of the same object.
    await tx.driver.execute("SELECT pg_advisory_xact_lock(hashtext('billing.webhook_event'))")
    rows = await tx.driver.fetch(_CLAIM, now, until, BATCH)
    claimed = [_of(dict(row)) for row in rows]
    return sorted(claimed, key=lambda event: (event.received_at, event.webhook_event_id))


async def save_event(tx: Transaction, event: WebhookEvent) -> None:
    """Stores what became of an event."""
    await tx.driver.execute(
        "UPDATE billing.webhook_event SET state = $3, attempt_count = $4, error = $5,"
        " handled_at = $6, next_attempt_at = $7, claimed_until = NULL"
        " WHERE tenant_id = $1 AND webhook_event_id = $2",
        *(event.tenant_id, event.webhook_event_id, event.state.value, event.attempt_count),
        *(event.error, event.handled_at, event.next_attempt_at),
    )


async def forget_bodies(tx: Transaction, before: datetime) -> None:
    """Deletes the bodies of old events."""
    await tx.driver.execute(
        "UPDATE billing.webhook_event SET body = NULL WHERE received_at < $1 AND body IS NOT NULL",
        before,
    )


async def list_events(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[WebhookEvent]:
    """Returns a page of the inbox."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _EVENTS.page(tx, statement, page, tokens)
    return Page([_of(dict(row)) for row in found.items], found.next_page_token)

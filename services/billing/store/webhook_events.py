"""The inbox of webhooks, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select

from services.billing.domain.webhook import EventState, WebhookEvent
from services.billing.store import outages
from services.billing.tables.provider import webhook_event as table
from services.kernel.database import Database
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
{{condition}}
ORDER BY tenant_id, provider, provider_event_id
ON CONFLICT (tenant_id, provider, provider_event_id) DO NOTHING
RETURNING webhook_event_id
"""
_ADD_ONE = _ADD.format(condition="")
# A door that was looked at a moment ago is still the same, and its key is kept until the commit.
_ADD_AT_DOORS = f"""
WITH door AS (
    SELECT tenant_id
    FROM unnest($13::text[], $14::integer[], $15::bytea[])
        AS mine (tenant_id, revision, data_key_id)
    JOIN billing.provider_settings USING (tenant_id, revision)
    JOIN billing.data_key AS key USING (tenant_id, data_key_id)
    WHERE key.key_name = '' AND key.is_current FOR KEY SHARE OF key
), added AS ({_ADD.format(condition="WHERE tenant_id IN (SELECT tenant_id FROM door)")})
SELECT ARRAY (SELECT tenant_id FROM door) AS tenants,
    ARRAY (SELECT webhook_event_id FROM added) AS new,
    EXISTS (
        SELECT FROM billing.pgqueuer
        WHERE dedupe_key = ANY ($16::text[]) AND status = 'queued' AND execute_after <= now()
    ) AS has_job
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


@dataclass(frozen=True, slots=True)
class Added:
    """What became of events at their doors.

    tenants: whose doors were still as they had been looked at; what came to others is not stored.
    new: ids of the events that were not known. has_job: whether one of the jobs waited just before,
    which may have begun by now: a worker that finds nothing looks once more a moment later.
    """

    tenants: frozenset[str]
    new: frozenset[str]
    has_job: bool


async def add_at_doors(
    database: Database,
    events: Sequence[WebhookEvent],
    bodies: Sequence[bytes],
    *,
    doors: Sequence[tuple[str, int, bytes]],
    job_keys: Sequence[str],
) -> Added:
    """Adds events that came to doors, and commits them.

    bodies: of each, sealed. doors: each one's tenant, revision of settings, and key that seals. One
    statement, because a provider waits for the answer.
    """
    [row] = await database.system_fetch(
        _ADD_AT_DOORS, *_columns(events, bodies), *_transposed(doors), list(job_keys)
    )
    return Added(frozenset(row["tenants"]), frozenset(row["new"]), row["has_job"])


async def add_event(tx: Transaction, event: WebhookEvent) -> bool:
    """Adds an event without a body; returns whether it was not known."""
    return bool(await tx.driver.fetchval(_ADD_ONE, *_columns([event], [None])))


def _columns(events: Sequence[WebhookEvent], bodies: Sequence[bytes | None]) -> list[list[object]]:
    """Returns the values of `_COLUMNS`."""
    return _transposed(
        [
            (
                *(event.tenant_id, event.webhook_event_id, event.provider),
                *(event.provider_event_id, event.event_type, event.object_id),
                *(event.api_version, event.live_mode, event.state.value, body),
                *(event.provider_created_at, event.received_at),
            )
            for event, body in zip(events, bodies, strict=True)
        ]
    )


def _transposed(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


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

    Events of an account that does not answer are parked instead.

    until: from when on others may claim them, should they not be saved by then.
    """
    # One claim at a time, or two would each take an event of the same object.
    await tx.driver.execute("SELECT pg_advisory_xact_lock(hashtext('billing.webhook_event'))")
    await park(tx, await outages.hold_all(tx), now)
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


async def park(tx: Transaction, tenant_ids: Sequence[str], now: datetime) -> None:
    """Lets what is due at these endpoints wait for the provider, whose outages are locked."""
    if tenant_ids:
        await tx.driver.execute(
            "UPDATE billing.webhook_event SET state = 'waiting' WHERE tenant_id = ANY ($1::text[])"
            " AND state IN ('received', 'retrying') AND next_attempt_at <= $2",
            *(list(tenant_ids), now),
        )


async def release(tx: Transaction, tenant_id: str) -> int:
    """Makes what waited for the provider due again, and returns how many events did."""
    status = await tx.driver.execute(
        "UPDATE billing.webhook_event SET error = '', state ="
        " CASE attempt_count WHEN 0 THEN 'received' ELSE 'retrying' END"
        " WHERE tenant_id = $1 AND state = 'waiting'",
        tenant_id,
    )
    return int(status.removeprefix("UPDATE "))


async def unclaim(tx: Transaction, events: Sequence[WebhookEvent]) -> None:
    """Gives back claimed events that were not handled."""
    await tx.driver.execute(
        "UPDATE billing.webhook_event AS event SET claimed_until = NULL"
        " FROM unnest($1::text[], $2::text[]) AS mine (tenant_id, webhook_event_id)"
        " WHERE event.tenant_id = mine.tenant_id"
        " AND event.webhook_event_id = mine.webhook_event_id",
        [event.tenant_id for event in events],
        [event.webhook_event_id for event in events],
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

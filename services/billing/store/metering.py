"""Metered usage as rows: what is not billed yet, what came late, and up to when is billed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg

from services.billing.domain.metering import Dimension, Metered, UsageGroup
from services.kernel.database import Transaction
from services.kernel.period import Period

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_DIMENSION_FIELDS = tuple(each.name for each in fields(Dimension))
_FIELD_LIST = ", ".join(_DIMENSION_FIELDS)
_CHANGING = [name for name in _DIMENSION_FIELDS if name != "dimension_id"]

# A person who moves takes what is not billed along: a dimension is what usage says it is now.
_SET_DIMENSIONS = f"""
INSERT INTO billing.metered_dimension AS known (tenant_id, {_FIELD_LIST})
SELECT * FROM unnest({", ".join(f"${n}::text[]" for n in range(1, len(_DIMENSION_FIELDS) + 1))},
    ${len(_DIMENSION_FIELDS) + 1}::jsonb[])
ON CONFLICT (tenant_id, dimension_id) DO UPDATE SET
    {", ".join(f"{name} = EXCLUDED.{name}" for name in _CHANGING)}
WHERE ({", ".join(f"known.{name}" for name in _CHANGING)})
    IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in _CHANGING)})
"""

_BEGIN = """
INSERT INTO billing.metering (tenant_id, billed_until)
SELECT tenant_id, $2 FROM unnest($1::text[]) AS wanted(tenant_id) ON CONFLICT DO NOTHING
"""

_LOCK = """
SELECT tenant_id, billed_until, as_of_at FROM billing.metering
WHERE tenant_id = ANY($1::text[]) ORDER BY tenant_id FOR UPDATE
"""

_AS_OF = """
UPDATE billing.metering AS known
SET as_of_sequence = part.position, as_of_at = GREATEST(as_of_at, $3)
FROM unnest($1::text[], $2::text[]) AS part(tenant_id, position)
WHERE known.tenant_id = part.tenant_id
"""

_VALUES = """
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::numeric[], $5::numeric[],
    $6::bigint[], $7::bigint[])
"""

_ADDED = """
DO UPDATE SET quantity = known.quantity + EXCLUDED.quantity, cost = known.cost + EXCLUDED.cost,
    events = known.events + EXCLUDED.events,
    unpriced_events = known.unpriced_events + EXCLUDED.unpriced_events
"""

_ADD = f"""
INSERT INTO billing.metered_usage AS known
    (tenant_id, hour_at, dimension_id, quantity, cost, events, unpriced_events)
{_VALUES} ON CONFLICT (tenant_id, hour_at, dimension_id) {_ADDED}
"""

_ADD_LATE = f"""
INSERT INTO billing.late_usage AS known
    (tenant_id, hour_at, dimension_id, quantity, cost, events, unpriced_events)
{_VALUES} ON CONFLICT (tenant_id, invoice_id, hour_at, dimension_id) {_ADDED}
"""

# One index range a part, many parts in one statement.
_SUMS = """
SELECT part.number, usage.dimension_id, sum(usage.quantity) AS quantity, sum(usage.cost) AS cost,
    sum(usage.events)::bigint AS events, sum(usage.unpriced_events)::bigint AS unpriced_events
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY
    AS part(tenant_id, start_at, end_at, number)
JOIN billing.metered_usage AS usage ON usage.tenant_id = part.tenant_id
    AND usage.hour_at >= part.start_at AND usage.hour_at < part.end_at
GROUP BY part.number, usage.dimension_id
"""

_LATE = """
SELECT tenant_id, hour_at, dimension_id, quantity, cost, events, unpriced_events
FROM billing.late_usage AS usage
JOIN unnest($1::text[], $2::timestamptz[]) AS part(owner_id, end_at)
    ON usage.tenant_id = part.owner_id AND usage.hour_at < part.end_at
WHERE invoice_id = '' ORDER BY tenant_id, hour_at, dimension_id
"""

_BILLED_LATE = """
SELECT dimension_id, sum(quantity) AS quantity, sum(cost) AS cost, sum(events)::bigint AS events,
    sum(unpriced_events)::bigint AS unpriced_events
FROM billing.late_usage
WHERE tenant_id = $1 AND invoice_id <> '' AND hour_at >= $2 AND hour_at < $3
GROUP BY dimension_id
"""

_GROUPS = """
SELECT resource_type, unit, service, provider, currency_code, sum(quantity) AS quantity,
    sum(cost) AS cost, sum(events)::bigint AS events,
    sum(unpriced_events)::bigint AS unpriced_events
FROM (
    SELECT tenant_id, dimension_id, quantity, cost, events, unpriced_events
    FROM billing.metered_usage WHERE tenant_id = $1 AND hour_at >= $2 AND hour_at < $3
    UNION ALL
    SELECT tenant_id, dimension_id, quantity, cost, events, unpriced_events
    FROM billing.late_usage WHERE tenant_id = $1 AND hour_at >= $2 AND hour_at < $3
) AS usage JOIN billing.metered_dimension USING (tenant_id, dimension_id)
GROUP BY resource_type, unit, service, provider, currency_code
"""

_CLAIM = """
UPDATE billing.late_usage AS usage SET invoice_id = claim.invoice_id
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
    AS claim(tenant_id, invoice_id, hour_at, dimension_id)
WHERE usage.tenant_id = claim.tenant_id AND usage.invoice_id = ''
    AND usage.hour_at = claim.hour_at AND usage.dimension_id = claim.dimension_id
"""

# What a voided invoice had claimed waits again, beside what may have come meanwhile.
_RELEASE = f"""
WITH released AS (
    DELETE FROM billing.late_usage WHERE tenant_id = $1 AND invoice_id = $2
    RETURNING tenant_id, hour_at, dimension_id, quantity, cost, events, unpriced_events
)
INSERT INTO billing.late_usage AS known
    (tenant_id, hour_at, dimension_id, quantity, cost, events, unpriced_events)
SELECT * FROM released ON CONFLICT (tenant_id, invoice_id, hour_at, dimension_id) {_ADDED}
"""

_BILLED_UNTIL = """
UPDATE billing.metering AS known SET billed_until = GREATEST(known.billed_until, part.end_at)
FROM unnest($1::text[], $2::timestamptz[]) AS part(tenant_id, end_at)
WHERE known.tenant_id = part.tenant_id
"""

HourKey: TypeAlias = tuple[str, datetime, str]  # tenant, hour, dimension


async def lock_metering(
    tx: Transaction, tenant_ids: Iterable[str]
) -> dict[str, tuple[datetime, datetime | None]]:
    """Locks the tenants' meters, in one order; returns up to when each is billed, and its age.

    Until the transaction ends nobody else adds usage of these tenants or locks their invoices.
    """
    wanted = sorted(set(tenant_ids))
    await tx.driver.execute(_BEGIN, wanted, BEGINNING)
    rows = await tx.driver.fetch(_LOCK, wanted)
    return {row["tenant_id"]: (row["billed_until"], row["as_of_at"]) for row in rows}


async def metered_tenants(tx: Transaction) -> dict[str, datetime | None]:
    """Returns the tenants that have a meter and how new it is, for the worker's role."""
    rows = await tx.driver.fetch(
        "SELECT tenant_id, as_of_at FROM billing.metering ORDER BY tenant_id"
    )
    return {row["tenant_id"]: row["as_of_at"] for row in rows}


async def set_dimensions(tx: Transaction, known: Mapping[tuple[str, str], Dimension]) -> None:
    """Stores what dimensions stand for, by tenant and id."""
    if not known:
        return
    rows = [
        (
            tenant_id,
            *(getattr(dimension, name) for name in _DIMENSION_FIELDS if name != "tags"),
            json.dumps(dict(dimension.tags), sort_keys=True),
        )
        for (tenant_id, _), dimension in sorted(known.items(), key=lambda item: item[0])
    ]
    await tx.driver.execute(_SET_DIMENSIONS, *zip(*rows, strict=True))


async def add_usage(tx: Transaction, changes: Mapping[HourKey, Metered], *, is_late: bool) -> None:
    """Adds to the hours' usage. is_late: their period is billed, so they wait for an invoice."""
    if changes:
        rows = [
            (*key, each.quantity, each.cost, each.events, each.unpriced_events)
            for key, each in sorted(changes.items(), key=lambda item: item[0])
        ]
        await tx.driver.execute(_ADD_LATE if is_late else _ADD, *zip(*rows, strict=True))


async def set_as_of(tx: Transaction, positions: Mapping[str, str], at: datetime | None) -> None:
    """Remembers the last change of each tenant that is metered, by its place in the feed."""
    await tx.driver.execute(_AS_OF, list(positions), list(positions.values()), at)


async def as_of(tx: Transaction, tenant_id: str) -> str:
    """Returns the place of the tenant's last change that is metered, "" before the first."""
    found = await tx.driver.fetchval(
        "SELECT as_of_sequence FROM billing.metering WHERE tenant_id = $1", tenant_id
    )
    return str(found or "")


async def counted_until(tx: Transaction, consumer: str) -> str:
    """Returns the place in the feed up to which all is metered, "" at first; for the worker."""
    found = await tx.driver.fetchval("SELECT position FROM feed_cursor WHERE name = $1", consumer)
    return str(found or "")


async def metered_groups(
    tx: Transaction, tenant_id: str, hours: Period
) -> dict[UsageGroup, Metered]:
    """Returns all that was metered of the hours, in time or late, by what it was."""
    rows = await tx.driver.fetch(_GROUPS, tenant_id, hours.start, hours.end)
    return {
        UsageGroup(
            resource_type=row["resource_type"],
            unit=row["unit"],
            service=row["service"],
            provider=row["provider"],
            currency_code=row["currency_code"],
        ): _metered(row)
        for row in rows
    }


async def usage_of(
    tx: Transaction, parts: Sequence[tuple[str, Period]]
) -> list[dict[str, Metered]]:
    """Returns the usage of each (tenant, hours), by dimension, in one statement."""
    found: list[dict[str, Metered]] = [{} for _ in parts]
    if parts:
        tenants = [tenant_id for tenant_id, _ in parts]
        starts = [period.start for _, period in parts]
        ends = [period.end for _, period in parts]
        for row in await tx.driver.fetch(_SUMS, tenants, starts, ends):
            found[row["number"] - 1][row["dimension_id"]] = _metered(row)
    return found


async def waiting_late_usage(
    tx: Transaction, ends: Mapping[str, datetime]
) -> dict[str, list[tuple[datetime, str, Metered]]]:
    """Returns what no invoice has billed of hours before each tenant's end."""
    found: dict[str, list[tuple[datetime, str, Metered]]] = {}
    for row in await tx.driver.fetch(_LATE, list(ends), list(ends.values())):
        one = (row["hour_at"], row["dimension_id"], _metered(row))
        found.setdefault(row["tenant_id"], []).append(one)
    return found


async def billed_late_usage(tx: Transaction, tenant_id: str, hours: Period) -> dict[str, Metered]:
    """Returns what came late to the hours and is billed already, by dimension."""
    rows = await tx.driver.fetch(_BILLED_LATE, tenant_id, hours.start, hours.end)
    return {row["dimension_id"]: _metered(row) for row in rows}


async def dimensions_of(
    tx: Transaction, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Dimension]:
    """Returns what dimensions stand for, by tenant and id."""
    wanted: dict[str, list[str]] = {}
    for tenant_id, dimension_id in sorted(set(keys)):
        wanted.setdefault(tenant_id, []).append(dimension_id)
    found: dict[tuple[str, str], Dimension] = {}
    for tenant_id, ids in wanted.items():
        # By array, not by join: ten thousand ids then take one pass whatever the planner believes.
        rows = await tx.driver.fetch(
            f"SELECT {_FIELD_LIST} FROM billing.metered_dimension"
            " WHERE tenant_id = $1 AND dimension_id = ANY($2::text[])",
            tenant_id,
            ids,
        )
        found |= {(tenant_id, row["dimension_id"]): dimension_of(row) for row in rows}
    return found


async def claim_late_usage(tx: Transaction, claims: Mapping[HourKey, str]) -> None:
    """Gives late hours to the invoices that bill them. claims: the invoice of each."""
    if claims:
        rows = [(tenant, invoice, hour, dim) for (tenant, hour, dim), invoice in claims.items()]
        await tx.driver.execute(_CLAIM, *zip(*rows, strict=True))


async def release_late_usage(tx: Transaction, tenant_id: str, invoice_id: str) -> None:
    """Takes late hours back from an invoice that is void."""
    await tx.driver.execute(_RELEASE, tenant_id, invoice_id)


async def set_billed_until(tx: Transaction, ends: Mapping[str, datetime]) -> None:
    """Makes usage before each tenant's end late from now on."""
    if ends:
        await tx.driver.execute(_BILLED_UNTIL, list(ends), list(ends.values()))


def dimension_of(row: asyncpg.Record) -> Dimension:
    """Builds the dimension of a row."""
    return Dimension(**{name: row[name] for name in _DIMENSION_FIELDS})


def _metered(row: asyncpg.Record) -> Metered:
    return Metered(
        quantity=row["quantity"],
        cost=row["cost"],
        events=row["events"],
        unpriced_events=row["unpriced_events"],
    )


async def dimension_ids(tx: Transaction, tenant_id: str, dimension: Dimension) -> list[str]:
    """Returns the ids of dimensions with these attributes, whatever their currency."""
    names = [name for name in _CHANGING if name not in ("tags", "currency_code")]
    conditions = " AND ".join(f"{name} = ${place}" for place, name in enumerate(names, start=3))
    found = await tx.driver.fetch(
        f"""
        SELECT dimension_id FROM billing.metered_dimension
        WHERE tenant_id = $1 AND tags = $2::jsonb AND {conditions} ORDER BY dimension_id
        """,
        tenant_id,
        json.dumps(dict(dimension.tags)),
        *(getattr(dimension, name) for name in names),
    )
    return [row["dimension_id"] for row in found]


async def is_metered(
    tx: Transaction, tenant_id: str, dimension_ids: Sequence[str], hour_at: datetime
) -> bool:
    """Tells whether an hour of one of the dimensions has usage."""
    found: bool = await tx.driver.fetchval(
        """
        SELECT EXISTS (SELECT FROM billing.metered_usage
            WHERE tenant_id = $1 AND hour_at = $2 AND dimension_id = ANY($3::text[]))
        OR EXISTS (SELECT FROM billing.late_usage
            WHERE tenant_id = $1 AND hour_at = $2 AND dimension_id = ANY($3::text[]))
        """,
        tenant_id,
        hour_at,
        list(dimension_ids),
    )
    return found

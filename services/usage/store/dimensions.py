"""Interned combinations: attributes of usage, and the prices that were applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from services.kernel.database import Transaction
from services.usage.domain.event import Attributes
from services.usage.domain.recording import attributes_digest

# Rows are inserted in the order of their digests, so that two calls cannot deadlock.
_INTERN_DIMENSIONS = """
WITH input AS (
    SELECT * FROM unnest(
        $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
        $16::jsonb[]
    ) AS i(digest, resource_type, unit, currency_code, user_id, department, project, resource_id,
        service, service_category, provider, region, sub_account_id, charge_category, tags)
), fresh AS (
    INSERT INTO usage.dimension (
        tenant_id, digest, resource_type, unit, currency_code, user_id, department, project,
        resource_id, service, service_category, provider, region, sub_account_id, charge_category,
        tags)
    SELECT $1, input.* FROM input
    ON CONFLICT (tenant_id, digest) DO NOTHING
    RETURNING digest, dimension_id
)
SELECT digest, dimension_id FROM fresh
UNION ALL
SELECT d.digest, d.dimension_id
FROM usage.dimension d JOIN input USING (digest) WHERE d.tenant_id = $1
"""

_FIND_DIMENSIONS = """
SELECT digest, dimension_id FROM usage.dimension WHERE tenant_id = $1 AND digest = ANY($2)
"""

_INTERN_RATE_PLANS = """
WITH fresh AS (
    INSERT INTO usage.rate_plan (tenant_id, digest, lines)
    SELECT $1, * FROM unnest($2::bytea[], $3::jsonb[]) AS i(digest, lines)
    ON CONFLICT (tenant_id, digest) DO NOTHING RETURNING digest, rate_plan_id
)
SELECT digest, rate_plan_id FROM fresh
UNION ALL
SELECT digest, rate_plan_id FROM usage.rate_plan WHERE tenant_id = $1 AND digest = ANY($2)
"""

_FIND_RATE_PLANS = """
SELECT digest, rate_plan_id FROM usage.rate_plan WHERE tenant_id = $1 AND digest = ANY($2)
"""


async def intern_dimensions(
    tx: Transaction, tenant_id: str, attributes: Sequence[Attributes]
) -> list[int]:
    """Returns the id of each combination, storing those that are new.

    attributes: no two equal.
    """
    digests = [attributes_digest(item) for item in attributes]
    order = sorted(range(len(attributes)), key=digests.__getitem__)
    rows = [(digests[i], *attributes[i][:-1], json.dumps(dict(attributes[i].tags))) for i in order]
    records = await tx.driver.fetch(_INTERN_DIMENSIONS, tenant_id, *zip(*rows, strict=True))
    ids = {record["digest"]: record["dimension_id"] for record in records}
    missing = [digest for digest in digests if digest not in ids]
    if missing:
        # Another transaction stored them after this statement's snapshot; it has committed by now.
        records = await tx.driver.fetch(_FIND_DIMENSIONS, tenant_id, missing)
        ids.update((record["digest"], record["dimension_id"]) for record in records)
    return [ids[digest] for digest in digests]


async def intern_rate_plans(tx: Transaction, tenant_id: str, lines: Sequence[str]) -> list[int]:
    """Returns the id of each list of applied prices, storing those that are new.

    lines: canonical JSON, no two equal.
    """
    if not lines:
        return []
    digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in lines]
    rows = sorted(zip(digests, lines, strict=True))
    found = await tx.driver.fetch(_INTERN_RATE_PLANS, tenant_id, *zip(*rows, strict=True))
    ids = {record["digest"]: record["rate_plan_id"] for record in found}
    missing = [digest for digest in digests if digest not in ids]
    if missing:
        found = await tx.driver.fetch(_FIND_RATE_PLANS, tenant_id, missing)
        ids.update((record["digest"], record["rate_plan_id"]) for record in found)
    return [ids[digest] for digest in digests]

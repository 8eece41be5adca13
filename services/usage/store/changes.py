"""Cost changes as the feed hands them out, and the dimensions they name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import asyncpg

from services.kernel.database import Transaction
from services.usage.domain.cost_block import CostBlock
from services.usage.domain.cost_change import CostChange
from services.usage.domain.event import Attributes

COLUMNS = (
    "hour_at",
    "dimension_id",
    "events",
    "failed_events",
    "unpriced_events",
    "quantity",
    "billed_cost",
    "effective_cost",
    "list_cost",
    "contracted_cost",
    "retries",
    "utilization_samples",
    "is_correction",
)

_DIMENSIONS = """
SELECT d.tenant_id, d.dimension_id, d.resource_type, d.unit, d.currency_code, d.user_id,
    COALESCE(NULLIF(d.department, ''), u.department_id, '') AS department, d.project,
    d.resource_id, d.service, d.service_category, d.provider, d.region, d.sub_account_id,
    d.charge_category, d.tags, d.department <> '' OR d.user_id = '' AS is_lasting
FROM usage.dimension d
JOIN unnest($1::text[], $2::bigint[]) AS w(tenant_id, dimension_id)
    ON w.tenant_id = d.tenant_id AND w.dimension_id = d.dimension_id
LEFT JOIN usage.directory_user u ON u.tenant_id = d.tenant_id AND u.user_id = d.user_id
"""

# The changes of a transaction of a tenant as one row. A column of one text is made and read at a
# fraction of what an array of texts costs. {certain}: the condition on changes; $3: after so many,
# the query ends with the transaction at hand.
BLOCKS = """
SELECT transaction_id, tenant_id, max(sequence) AS sequence, min(sequence) AS first_sequence,
    max(recorded_at) AS recorded_at, min(traceparent) AS traceparent,
    array_agg(sequence) AS numbers, array_agg(dimension_id) AS dimension_ids,
    array_agg(date_part('epoch', hour_at)::bigint) AS hours,
    string_agg(trim_scale(billed_cost)::text, ' ') AS billed,
    array_agg(trim_scale(NULLIF(effective_cost, billed_cost))::text) AS effective,
    array_agg(trim_scale(NULLIF(list_cost, billed_cost))::text) AS listed,
    array_agg(trim_scale(NULLIF(contracted_cost, billed_cost))::text) AS contracted,
    string_agg(trim_scale(quantity)::text, ' ') AS quantities, array_agg(events) AS events,
    CASE WHEN bool_or(failed_events <> 0) THEN array_agg(failed_events) END AS failed_events,
    CASE WHEN bool_or(unpriced_events <> 0) THEN array_agg(unpriced_events) END AS unpriced_events,
    CASE WHEN bool_or(retries <> 0) THEN array_agg(retries) END AS retries,
    CASE WHEN bool_or(utilization_samples <> 0) THEN array_agg(utilization_samples) END
        AS utilization_samples,
    CASE WHEN bool_or(is_correction) THEN array_agg(is_correction) END AS corrections
FROM (
    SELECT * FROM (
        SELECT * FROM usage.cost_change
        WHERE {certain} ORDER BY transaction_id FETCH FIRST $3 ROWS WITH TIES
    ) AS whole ORDER BY transaction_id, tenant_id, sequence
) AS change
GROUP BY transaction_id, tenant_id
ORDER BY transaction_id, sequence
"""

# Changes with every erasure: a second one of the same person writes the row anew.
_ERASURES = """
SELECT count(*) AS rows, sum(xmin::text::bigint)::bigint AS writers
FROM usage.erased_user
"""


class Dimension(NamedTuple):
    """A combination of attributes. is_lasting: only an erasure changes it, not the directory."""

    attributes: Attributes
    is_lasting: bool


def block_of(row: asyncpg.Record) -> CostBlock:
    """Builds the changes of a transaction from a row of BLOCKS."""
    return CostBlock(
        numbers=row["numbers"],
        dimension_ids=row["dimension_ids"],
        hours=row["hours"],
        billed=row["billed"].split(" "),
        effective=_others(row["effective"]),
        listed=_others(row["listed"]),
        contracted=_others(row["contracted"]),
        quantities=row["quantities"].split(" "),
        events=row["events"],
        failed_events=row["failed_events"] or (),
        unpriced_events=row["unpriced_events"] or (),
        retries=row["retries"] or (),
        utilization_samples=row["utilization_samples"] or (),
        corrections=row["corrections"] or (),
    )


def _others(column: list[str | None]) -> Sequence[str]:
    """Returns a column of costs, empty where all are the billed ones."""
    if column.count(None) == len(column):
        return ()
    return [text or "" for text in column]


def change_of(row: asyncpg.Record) -> CostChange:
    """Builds a change from a row of the feed."""
    return CostChange(*(row[name] for name in COLUMNS))


async def dimensions(
    tx: Transaction, keys: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Dimension]:
    """Returns the attributes of dimensions, with the department that bears the cost."""
    wanted = list(keys)
    records = await tx.driver.fetch(
        _DIMENSIONS, [tenant for tenant, _ in wanted], [number for _, number in wanted]
    )
    return {
        (record["tenant_id"], record["dimension_id"]): Dimension(
            Attributes._make(
                [
                    *(record[name] for name in Attributes._fields[:-1]),
                    tuple(sorted(record["tags"].items())),
                ]
            ),
            record["is_lasting"],
        )
        for record in records
    }


async def erasures(tx: Transaction) -> tuple[int, int]:
    """Returns what is another pair after every erasure of persons."""
    record: Any = await tx.driver.fetchrow(_ERASURES)
    return record["rows"], record["writers"] or 0


async def horizon(tx: Transaction) -> int:
    """Returns the transaction below which everything has ended."""
    text: str = await tx.driver.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
    return int(text)

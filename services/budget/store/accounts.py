"""The totals of periods, locked and moved by whole batches, and the entries that say why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.budget.domain.budget import BudgetPeriod
from services.budget.domain.decision import Account, CoveringBudget
from services.budget.domain.ledger_entry import Movement
from services.budget.store.periods import COLUMNS, period_of
from services.kernel.database import Transaction
from services.kernel.money import EXACT

_ZERO = Decimal(0)


class AccountKey(NamedTuple):
    """Which period of which budget; the order in which rows are locked."""

    tenant_id: str
    budget_id: str
    period_start: datetime


@dataclass(slots=True)
class LockedAccount:
    """A locked row. row: as it was read; account: as the batch moves it.

    budget: what decisions know of the budget, where one has asked for it.
    """

    row: BudgetPeriod
    account: Account
    budget: CoveringBudget | None = None


_LOCK = f"""
SELECT stored.tenant_id, stored.settled, stored.throttled_until, {
    ", ".join(f"stored.{name.strip()}" for name in COLUMNS.split(","))
}
FROM budget.budget_period AS stored
JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS wanted(tenant_id, budget_id, period_start)
USING (tenant_id, budget_id, period_start)
ORDER BY stored.tenant_id, stored.budget_id, stored.period_start FOR UPDATE OF stored
"""

# What is stored of a movement, in the order of `entries_of`; when it was made is one instant.
_ENTERED = (
    "tenant_id text", "budget_id text", "period_start timestamptz", "kind smallint",
    "currency_code text", "spent_change numeric", "held_change numeric", "source_currency text",
    "source_amount numeric", "rate numeric", "rate_date text", "authorization_id text",
    "usage_event_id text", "feed_sequence text",
)  # fmt: skip


def entering(first: int, at: int, condition: str = "true") -> str:
    """Returns the statement that enters movements. first: parameter of the first of `entries_of`.

    at: parameter of the instant of the movements. condition: on which it enters any.
    """
    names = ", ".join(column.partition(" ")[0] for column in _ENTERED)
    arrays = ", ".join(
        f"${first + place}::{column.partition(' ')[2]}[]" for place, column in enumerate(_ENTERED)
    )
    return f"""
        INSERT INTO budget.ledger_entry ({names}, created_at)
        SELECT {names}, ${at}::timestamptz FROM unnest({arrays}) AS input({names}) WHERE {condition}
    """


# One statement moves the totals and enters why.
_MOVE = f"""
WITH moved AS (
    UPDATE budget.budget_period AS stored
    SET spent = stored.spent + input.spent, held = stored.held + input.held,
        settled = stored.settled + input.settled, excess = stored.excess + input.excess,
        unpriced_events = stored.unpriced_events + input.unpriced,
        denied_count = stored.denied_count + input.denied,
        throttled_until = COALESCE(input.throttled_until, stored.throttled_until),
        revision = stored.revision + 1
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::numeric[], $5::numeric[],
        $6::numeric[], $7::numeric[], $8::bigint[], $9::bigint[], $10::timestamptz[])
    AS input(tenant_id, budget_id, period_start, spent, held, settled, excess, unpriced, denied,
        throttled_until)
    WHERE stored.tenant_id = input.tenant_id AND stored.budget_id = input.budget_id
    AND stored.period_start = input.period_start
    RETURNING stored.tenant_id, {", ".join(f"stored.{name.strip()}" for name in COLUMNS.split(","))}
), entered AS ({entering(11, 25)})
SELECT * FROM moved
"""


async def lock(tx: Transaction, keys: Collection[AccountKey]) -> dict[AccountKey, LockedAccount]:
    """Returns and locks the rows that exist, in the order that every transaction keeps."""
    if not keys:
        return {}
    columns = zip(*sorted(keys), strict=True)
    found: dict[AccountKey, LockedAccount] = {}
    for row in await tx.driver.fetch(_LOCK, *map(list, columns)):
        period = period_of(row)
        key = AccountKey(row["tenant_id"], period.budget_id, period.period.start)
        totals = period.totals
        account = Account(totals.limit, totals.spent, totals.held, row["throttled_until"])
        found[key] = LockedAccount(period, account)
    return found


async def move(
    tx: Transaction,
    movements: Sequence[Movement],
    at: datetime,
    *,
    denied: Mapping[AccountKey, int] | None = None,
    throttled: Mapping[AccountKey, datetime] | None = None,
) -> dict[AccountKey, BudgetPeriod]:
    """Adds movements to locked rows and enters them; returns the rows as they are then.

    denied: refusals to count. throttled: until when a throttled budget admits nothing more.
    """
    sums: dict[AccountKey, list[Decimal]] = defaultdict(lambda: [_ZERO] * 4)
    unpriced: dict[AccountKey, int] = defaultdict(int)
    for one in movements:
        key = AccountKey(*one[:3])
        total = sums[key]
        total[0] = EXACT.add(total[0], one.spent_change)
        total[1] = EXACT.add(total[1], one.held_change)
        total[2] = EXACT.add(total[2], one.settled_change)
        total[3] = EXACT.add(total[3], one.excess_change)
        unpriced[key] += one.unpriced_change
    denied = denied or {}
    throttled = throttled or {}
    keys = sorted({*sums, *denied, *throttled})
    if not keys:
        return {}
    rows = await tx.driver.fetch(
        _MOVE,
        [key.tenant_id for key in keys],
        [key.budget_id for key in keys],
        [key.period_start for key in keys],
        *([sums[key][place] for key in keys] for place in range(4)),
        [unpriced[key] for key in keys],
        [denied.get(key, 0) for key in keys],
        [throttled.get(key) for key in keys],
        *entries_of(movements),
        at,
    )
    moved = ((row["tenant_id"], period_of(row)) for row in rows)
    return {AccountKey(tenant_id, row.budget_id, row.period.start): row for tenant_id, row in moved}


def entries_of(movements: Sequence[Movement]) -> tuple[list[object], ...]:
    """Returns what is stored of movements, each column of all of them."""
    entered = [one for one in movements if one.spent_change or one.held_change]
    return (
        [one.tenant_id for one in entered],
        [one.budget_id for one in entered],
        [one.period_start for one in entered],
        [int(one.kind) for one in entered],
        [one.currency_code for one in entered],
        [one.spent_change for one in entered],
        [one.held_change for one in entered],
        [one.source_currency for one in entered],
        [one.source_amount for one in entered],
        [one.rate for one in entered],
        [one.rate_date for one in entered],
        [one.authorization_id for one in entered],
        [one.usage_event_id for one in entered],
        [one.feed_sequence for one in entered],
    )

"""Stores what a batch of calls decided on remembered figures, provided that nothing moved them.

One statement compares, locks, writes and commits: with BEGIN, look-ups, locks and COMMIT of their
own a batch took eight round trips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from services.budget.domain.change import BudgetChange
from services.budget.domain.ledger_entry import Movement
from services.budget.store.accounts import AccountKey, entering, entries_of
from services.budget.store.authorizations import NewAuthorization, columns_of, insertion
from services.budget.store.changes import TABLE, payload_of
from services.kernel.database import Database

EXPIRED_SEEN: Final = 200  # expired holds looked through for those of the batch's tenants

# Periods are locked in the order that every transaction keeps. A lock that was waited for shows the
# row as it is then, and the update goes by the same row.
_STORE = f"""
WITH locked AS MATERIALIZED (
    SELECT stored.revision = wanted.revision AS is_known
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[])
    AS wanted(tenant_id, budget_id, period_start, revision)
    JOIN budget.budget_period AS stored USING (tenant_id, budget_id, period_start)
    ORDER BY stored.tenant_id, stored.budget_id, stored.period_start FOR UPDATE OF stored
), expired AS MATERIALIZED (
    SELECT tenant_id FROM budget.spend_authorization
    WHERE state = 1 AND expires_at <= $8::timestamptz ORDER BY expires_at LIMIT {EXPIRED_SEEN}
), good AS MATERIALIZED (
    SELECT (SELECT count(*) FILTER (WHERE is_known) FROM locked) = cardinality($1::text[])
    AND NOT EXISTS (SELECT FROM unnest($9::text[], $10::bigint[]) AS known(tenant_id, revision)
        LEFT JOIN budget.tenant_revision AS stored USING (tenant_id)
        WHERE COALESCE(stored.revision, 0) <> known.revision)
    AND NOT EXISTS (SELECT FROM expired WHERE tenant_id = ANY($9))
    AND (NOT $11::boolean OR (SELECT count(*) FROM expired) < {EXPIRED_SEEN})
    AND NOT EXISTS (SELECT FROM unnest($12::text[], $17::text[]) AS input(tenant_id, request_id)
        JOIN budget.spend_authorization AS stored USING (tenant_id, request_id)
        WHERE stored.request_id <> '' AND stored.state <> 5)
    AS is_good
), moved AS (
    UPDATE budget.budget_period AS stored
    SET held = stored.held + input.held, denied_count = stored.denied_count + input.denied,
        throttled_until = COALESCE(input.throttled_until, stored.throttled_until),
        revision = stored.revision + 1
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $5::numeric[], $6::bigint[],
        $7::timestamptz[])
    AS input(tenant_id, budget_id, period_start, held, denied, throttled_until)
    WHERE stored.tenant_id = input.tenant_id AND stored.budget_id = input.budget_id
    AND stored.period_start = input.period_start AND (SELECT is_good FROM good)
    AND (input.held <> 0 OR input.denied <> 0 OR input.throttled_until IS NOT NULL)
), decided AS ({insertion(12, 8, "(SELECT is_good FROM good)")}
), entered AS ({entering(36, 8, "(SELECT is_good FROM good)")}
), told AS (
    INSERT INTO {TABLE} (tenant_id, kind, payload)
    SELECT * FROM unnest($50::text[], $51::text[], $52::bytea[]) WHERE (SELECT is_good FROM good)
)
SELECT is_good FROM good
"""


class AccountMove(NamedTuple):
    """What a batch does to a period that it decided on. revision: of the figures it decided on.

    denied: refusals to count. throttled_until: until when it admits nothing more, None as before.
    """

    key: AccountKey
    revision: int
    held: Decimal
    denied: int
    throttled_until: datetime | None

    @property
    def is_change(self) -> bool:
        """Whether the row changes at all; its revision rises then."""
        return bool(self.held or self.denied or self.throttled_until)


async def store(
    database: Database,
    moves: Sequence[AccountMove],
    *,
    revisions: Mapping[str, int],
    news: Sequence[NewAuthorization],
    movements: Sequence[Movement],
    changes: Sequence[tuple[str, BudgetChange]],
    at: datetime,
    is_denying: bool,
) -> bool:
    """Stores it all and returns True, or nothing and False.

    False means that a period or the budgets of a tenant are not those decided on, that a hold of
    the tenants ran out, or that a request_id was answered before.
    revisions: of each tenant's budgets. changes: facts, each with its tenant. is_denying: whether a
    call is refused, for which no expired hold may have gone unseen.
    Raises UniqueViolationError when a request_id was used meanwhile, CommitUnknown.
    """
    moves = sorted(moves)
    rows = await database.system_fetch(
        _STORE,
        [move.key.tenant_id for move in moves],
        [move.key.budget_id for move in moves],
        [move.key.period_start for move in moves],
        [move.revision for move in moves],
        [move.held for move in moves],
        [move.denied for move in moves],
        [move.throttled_until for move in moves],
        at,
        list(revisions),
        list(revisions.values()),
        is_denying,
        *columns_of(news),
        *entries_of(movements),
        [tenant_id for tenant_id, _ in changes],
        [change.kind.value for _, change in changes],
        [payload_of(change) for _, change in changes],
    )
    return bool(rows[0]["is_good"])

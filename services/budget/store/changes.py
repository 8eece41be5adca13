"""Changes of budgets as facts of a feed: bytes of JSON, because they come by the thousand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.budget.domain.budget import PeriodTotals
from services.budget.domain.change import BudgetChange, ChangeKind
from services.kernel.database import Database, Transaction
from services.kernel.feed import Feed
from services.kernel.feed_page import FeedPosition
from services.kernel.money import format_decimal
from services.kernel.period import Period
from services.kernel.telemetry import current_traceparent

TABLE = "budget.budget_change"
_AMOUNTS = ("amount", "rolled_over", "increased", "spent", "held", "excess")


class BudgetFeed(Feed[BudgetChange]):
    """The feed over budget.budget_change."""

    def __init__(self, database: Database) -> None:
        """Takes the budget service's database."""
        super().__init__(
            database,
            table=TABLE,
            columns=("kind", "payload"),
            decode=change_of,
            time_column="appended_at",
            trace_column="traceparent",
        )

    async def append(
        self, tx: Transaction, changes: Sequence[BudgetChange], *, tenant_id: str
    ) -> None:
        """Adds changes of one tenant in the transaction that makes them, in one statement."""
        if not changes:
            return
        await tx.driver.execute(
            f"""
            INSERT INTO {TABLE} (tenant_id, traceparent, kind, payload)
            SELECT $1, $2, change.kind, change.payload
            FROM unnest($3::text[], $4::bytea[]) WITH ORDINALITY AS change(kind, payload, place)
            ORDER BY change.place
            """,
            tenant_id,
            current_traceparent(),
            [change.kind.value for change in changes],
            [payload_of(change) for change in changes],
        )
        self.announce(tx, tenants=[tenant_id])

    async def horizon(self, tenant_id: str | None) -> FeedPosition:
        """Returns the position before all that is not certain yet. tenant_id: None is all."""
        async with (
            self._database.system_transaction()
            if tenant_id is None
            else self._database.read(tenant_id)
        ) as tx:
            query = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
            xid: str = await tx.driver.fetchval(query)
        return FeedPosition(int(xid), 0)


def payload_of(change: BudgetChange) -> bytes:
    """Returns what a row of the feed holds of a change."""
    body: dict[str, Any] = {
        "budget_id": change.budget_id,
        "version": change.version,
        "changed_at": change.changed_at.isoformat(),
        "currency_code": change.currency_code,
    }
    if change.period is not None:
        body["period"] = [change.period.start.isoformat(), change.period.end.isoformat()]
    if change.totals is not None:
        body["totals"] = [format_decimal(getattr(change.totals, name)) for name in _AMOUNTS]
        body["unpriced_events"] = change.totals.unpriced_events
    return json.dumps(body, separators=(",", ":")).encode()


def change_of(row: Any) -> BudgetChange:
    """Returns the change of a row."""
    body = json.loads(row["payload"])
    period, totals = body.get("period"), body.get("totals")
    return BudgetChange(
        kind=ChangeKind(row["kind"]),
        budget_id=body["budget_id"],
        version=body["version"],
        changed_at=datetime.fromisoformat(body["changed_at"]),
        currency_code=body["currency_code"],
        period=None if period is None else Period(*map(datetime.fromisoformat, period)),
        totals=None
        if totals is None
        else PeriodTotals(
            **dict(zip(_AMOUNTS, map(Decimal, totals), strict=True)),
            unpriced_events=body["unpriced_events"],
        ),
    )

"""Records usage: rates it, stores it, counts it exactly once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from opentelemetry import metrics

from services.kernel.database import Database, Transaction
from services.kernel.telemetry import current_traceparent
from services.usage.domain.event import UsageEvent
from services.usage.domain.recording import CONFLICT_TEXT, Problem, Receipt, Verdict
from services.usage.errors import BatchRaced
from services.usage.service.batch import Batch, rate_metered
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed
from services.usage.store import prices
from services.usage.store.events import (
    BATCH_EVENTS_MAX,
    EventRow,
    insert_events,
    stored_digests,
)

Settle = Callable[[Transaction, Receipt], Awaitable[None]]
_events = metrics.get_meter("finops.usage").create_counter(
    "finops_usage_events_total", description="Events received, by verdict."
)


class Recorder:
    """Takes batches of events of one tenant and answers what became of each."""

    def __init__(self, database: Database, contexts: TenantContexts, feed: CostFeed) -> None:
        """Takes the tenants' contexts, and the feed whose readers are woken."""
        self._database = database
        self._feed = feed
        self._contexts = contexts

    async def record_usage(
        self,
        by_tenant: Mapping[str, tuple[Sequence[int], Sequence[UsageEvent]]],
        as_tenant: Callable[[str], str],
    ) -> list[Receipt]:
        """Records the events of each tenant named, and answers in the same order.

        as_tenant: says which tenant a name acts on, or refuses; nothing is stored before all are
        allowed.
        """
        allowed = [(as_tenant(named), events) for named, (_, events) in by_tenant.items()]
        traceparent = current_traceparent()
        return [
            await self.record(tenant_id, events, traceparent=traceparent)
            for tenant_id, events in allowed
        ]

    async def record(
        self,
        tenant_id: str,
        events: Sequence[UsageEvent],
        *,
        traceparent: str | None = None,
        settle: Settle | None = None,
    ) -> Receipt:
        """Stores the events that are new, in one transaction a BATCH_EVENTS_MAX.

        Problems are indexed by position in `events`. settle: runs in the same transaction; then
        there are at most BATCH_EVENTS_MAX events, and it runs even for none.
        Raises Unavailable where the database is away; then nothing of the last transaction is
        stored, and sending the batch again is safe.
        """
        receipt = Receipt([], [])
        for start in range(0, max(len(events), 1), BATCH_EVENTS_MAX):
            part = events[start : start + BATCH_EVENTS_MAX]
            verdicts, problems = await self._record_batch(tenant_id, part, traceparent, settle)
            receipt.verdicts.extend(verdicts)
            receipt.problems.extend(
                problem._replace(position=problem.position + start) for problem in problems
            )
        for verdict in Verdict:
            count = receipt.verdicts.count(verdict)
            if count:
                _events.add(count, {"verdict": verdict.name.lower()})
        return receipt

    async def _record_batch(
        self,
        tenant_id: str,
        events: Sequence[UsageEvent],
        traceparent: str | None,
        settle: Settle | None,
    ) -> Receipt:
        context = await self._contexts.get(tenant_id)
        resolutions = await self._contexts.resolve(context, events)
        await self._contexts.require_partitions(events)
        batch = Batch(context, events, resolutions)
        has_rows = bool(batch.rows or batch.metered)
        if not has_rows and settle is None:
            return batch.receipt()

        async def work(tx: Transaction) -> Receipt:
            receipt = batch.receipt()
            if has_rows:
                receipt = await self._store(tx, batch, traceparent)
            if settle is not None:
                await settle(tx, receipt)
            return receipt

        return await self._database.run(tenant_id, work)

    async def _store(self, tx: Transaction, batch: Batch, traceparent: str | None) -> Receipt:
        rows = batch.rows
        metered = await rate_metered(tx, batch)
        if metered.rows:
            rows = sorted([*rows, *metered.rows])
        else:
            rows.sort()
        self._feed.announce(tx)
        stored = await insert_events(tx, batch.tenant_id, rows, traceparent=traceparent)
        await prices.add_month_totals(tx, batch.tenant_id, metered.added)
        if stored is None:
            return batch.receipt()
        missed = [row for index, row in enumerate(rows) if index not in stored]
        if any(row.position in metered.counted for row in missed):
            # Its quantity was counted for a price, but another batch stored it first: start again.
            raise BatchRaced
        return await self._judge(tx, batch, missed)

    async def _judge(self, tx: Transaction, batch: Batch, missed: Sequence[EventRow]) -> Receipt:
        digests = await stored_digests(
            tx, batch.tenant_id, [(row.source, row.event_id) for row in missed]
        )
        verdicts, problems = batch.receipt()
        for index, row in enumerate(missed):
            if digests.get(index) == row.digest:
                verdicts[row.position] = Verdict.DUPLICATE
            else:
                verdicts[row.position] = Verdict.CONFLICT
                problems.append(Problem(row.position, "", CONFLICT_TEXT))
        return Receipt(verdicts, sorted(problems))

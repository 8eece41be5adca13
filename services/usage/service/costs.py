"""Answers cost questions: cached while nothing changed, converted and compared where asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from services.kernel.cache import Cache, CacheKey
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.exchange import ExchangeRates
from services.kernel.filter import parse_order
from services.kernel.pagination import PageRequest, PageTokens
from services.kernel.period import day_start
from services.usage.domain.answer import (
    AppliedRate,
    CostAnswer,
    CostGroup,
    GroupOrder,
    sum_groups,
    with_previous,
)
from services.usage.domain.question import (
    CostQuestion,
    bucket_starts,
    previous_period,
)
from services.usage.errors import TooManyGroups
from services.usage.service.allocating import CELLS_MAX, allocated_cells
from services.usage.service.converting import convert_cells
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import answers
from services.usage.store.costs import CostCell, cost_cells

CACHE_TIME = timedelta(minutes=15)
_answers = TypeAdapter(CostAnswer)


@dataclass(frozen=True, slots=True)
class CostPage:
    """One page of an answer: its groups, and the token of the next page, empty on the last."""

    answer: CostAnswer
    groups: Sequence[CostGroup]
    next_page_token: str


class CostQueries:
    """Answers questions about cost, from one snapshot each."""

    def __init__(
        self,
        database: Database,
        cache: Cache,
        *,
        tokens: PageTokens,
        clock: Clock,
        rates: ExchangeRates,
        contexts: TenantContexts,
    ) -> None:
        """Takes the database, and a cache that may be absent or dead at any time."""
        self._database = database
        self._cache = cache
        self._tokens = tokens
        self._clock = clock
        self._rates = rates
        self._contexts = contexts

    async def frame(self, tenant_id: str) -> tuple[ZoneInfo, datetime]:
        """Returns the tenant's zone and the present instant, which defaults are filled in from."""
        return (await self._contexts.get(tenant_id)).tz, self._clock.now()

    async def query_costs(self, question: CostQuestion, page: PageRequest) -> CostPage:
        """Returns one page of the answer.

        Raises TooManyGroups, MissingRate, InvalidFilter, InvalidOrder, InvalidPageToken.
        """
        allowed = {"amount", "start_time", *question.group_by}
        terms = parse_order(page.order_by, allowed, default="amount desc", tie_break="amount")
        order = GroupOrder([(term.field, term.is_descending) for term in terms], question.group_by)
        after = self._tokens.decode(page)
        answer = await self.answer(question)
        groups = order.sort(answer.groups)
        rest = groups if after is None else order.after(groups, after)  # type: ignore[arg-type]
        cut = self._tokens.page(page, rest[: page.limit + 1], order.key)
        return CostPage(answer, cut.items, cut.next_page_token)

    async def answer(self, question: CostQuestion) -> CostAnswer:
        """Returns the whole answer, from the cache where nothing has changed since.

        The key holds the state of the tenant's cost, so a cached answer is never stale; one that
        was computed a moment after its key was read is newer than asked, never older.
        """
        async with self._database.read(question.tenant_id) as tx:
            version = await answers.version(tx, question.tenant_id)

        async def compute() -> bytes:
            async with self._database.read(question.tenant_id) as tx:
                answer = await self._compute(tx, question)
            return _answers.dump_json(answer)

        key = CacheKey("costs", question.tenant_id, _question_digest(question, version.text))
        return _answers.validate_json(await self._cache.get_or_compute(key, CACHE_TIME, compute))

    async def _compute(self, tx: Transaction, question: CostQuestion) -> CostAnswer:
        version = await answers.version(tx, question.tenant_id)
        groups, rates = await self._groups(tx, question, question.group_by)
        overlaps = "manager" in question.group_by
        once = [name for name in question.group_by if name != "manager"]
        totalled = (await self._groups(tx, question, once))[0] if overlaps else groups
        if question.has_previous:
            groups, totalled = (
                await self._compared(tx, question, question.group_by, groups),
                await self._compared(tx, question, once, totalled),
            )
        totals = sum_groups(totalled)
        if overlaps:
            counts = {total.currency_code: total.groups for total in sum_groups(groups)}
            totals = [total._replace(groups=counts[total.currency_code]) for total in totals]
        return CostAnswer(
            groups,
            totals,
            question.period,
            question.tz.key,
            version.position,
            tuple(rates),
            version.newest,
        )

    async def _compared(
        self,
        tx: Transaction,
        question: CostQuestion,
        group_by: Sequence[str],
        groups: Sequence[CostGroup],
    ) -> list[CostGroup]:
        before = replace(question, period=previous_period(question.period, question.tz))
        previous, _ = await self._groups(tx, before, group_by)
        return with_previous(
            groups,
            previous,
            starts=bucket_starts(question.period, question.granularity, question.tz),
            previous_starts=bucket_starts(before.period, before.granularity, before.tz),
        )

    async def _groups(
        self, tx: Transaction, question: CostQuestion, group_by: Sequence[str]
    ) -> tuple[list[CostGroup], list[AppliedRate]]:
        by_date = bool(question.currency_code)
        rules: Mapping[tuple[str, ...], tuple[str, ...]] = {}
        if question.is_allocated:
            cells, rules = await allocated_cells(tx, question, group_by, by_date=by_date)
        else:
            cells = await cost_cells(tx, question, group_by, limit=CELLS_MAX + 1, by_date=by_date)
        if len(cells) > CELLS_MAX:
            raise TooManyGroups(groups_max=CELLS_MAX)
        rates: list[AppliedRate] = []
        if question.currency_code:
            cells, rates = convert_cells(cells, question.currency_code, self._rates)
        return [
            CostGroup(
                cell.keys,
                _bucket_start(cell, question),
                cell.currency_code,
                cell.cost,
                cell.quantity,
                cell.unit,
                cell.events,
                cell.failed_events,
                cell.unpriced_events,
                rule_ids=rules.get(cell.keys, ()),
            )
            for cell in cells
        ], rates


def _bucket_start(cell: CostCell, question: CostQuestion) -> datetime | None:
    bucket = cell.bucket
    if bucket is None or isinstance(bucket, datetime):
        return bucket
    return day_start(bucket, question.tz)


def _question_digest(question: CostQuestion, version: str) -> str:
    parts = [
        version,
        question.period.start.isoformat(),
        question.period.end.isoformat(),
        question.tz.key,
        *question.group_by,
        question.granularity.value,
        question.filter,
        question.cost_type.value,
        question.currency_code,
        str(question.has_previous),
        str(question.is_allocated),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

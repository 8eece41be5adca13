"""Answers cost questions: cached while nothing changed, converted and compared where asked."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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
    CostSum,
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
from services.usage.store.answers import AnswerVersion
from services.usage.store.cost_readings import grouped_cells
from services.usage.store.costs import CostCell, cost_cells

CACHE_TIME = timedelta(minutes=15)
_answers = TypeAdapter(list[CostAnswer])


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
        return (await self._contexts.frame(tenant_id)).tz, self._clock.now()

    async def query_costs(self, question: CostQuestion, page: PageRequest) -> CostPage:
        """Returns one page of the answer.

        Raises TooManyGroups, MissingRate, InvalidFilter, InvalidOrder, InvalidPageToken.
        """
        cut = self._cutting(question, page)
        return cut(await self.answer(question))

    async def batch_query_costs(
        self, asked: Sequence[tuple[CostQuestion, PageRequest]]
    ) -> list[CostPage]:
        """Returns one page of each answer, all from one snapshot.

        asked: questions of one tenant. Raises as `query_costs`.
        """
        cuts = [self._cutting(question, page) for question, page in asked]
        found = await self.answers([question for question, _ in asked])
        return [cut(answer) for cut, answer in zip(cuts, found, strict=True)]

    def _cutting(
        self, question: CostQuestion, page: PageRequest
    ) -> Callable[[CostAnswer], CostPage]:
        """Returns what cuts a page from an answer. Raises InvalidOrder, InvalidPageToken."""
        allowed = {"amount", "start_time", *question.group_by}
        terms = parse_order(page.order_by, allowed, default="amount desc", tie_break="amount")
        order = GroupOrder([(term.field, term.is_descending) for term in terms], question.group_by)
        after = self._tokens.decode(page)

        def cut(answer: CostAnswer) -> CostPage:
            groups = order.sort(answer.groups)
            rest = groups if after is None else order.after(groups, after)  # type: ignore[arg-type]
            found = self._tokens.page(page, rest[: page.limit + 1], order.key)
            return CostPage(answer, found.items, found.next_page_token)

        return cut

    async def answer(self, question: CostQuestion) -> CostAnswer:
        """Returns the whole answer, from the cache where nothing has changed since.

        The key holds the state of the tenant's cost, so a cached answer is never stale; one that
        was computed a moment after its key was read is newer than asked, never older.
        """
        return (await self.answers([question]))[0]

    async def answers(self, questions: Sequence[CostQuestion]) -> list[CostAnswer]:
        """Returns the whole answers to questions of one tenant, as `answer`."""
        tenant_id = questions[0].tenant_id
        async with self._database.read(tenant_id) as tx:
            version = await answers.version(tx, tenant_id)

        async def compute() -> bytes:
            async with self._database.read(tenant_id) as tx:
                found = await self._compute(tx, questions)
            return _answers.dump_json(found)

        key = CacheKey("costs", tenant_id, _digest(questions, version.text))
        return _answers.validate_json(await self._cache.get_or_compute(key, CACHE_TIME, compute))

    async def _compute(
        self, tx: Transaction, questions: Sequence[CostQuestion]
    ) -> list[CostAnswer]:
        version = await answers.version(tx, questions[0].tenant_id)
        alike: dict[CostQuestion, list[CostQuestion]] = defaultdict(list)
        for question in questions:
            if question.reading is not None:
                alike[question.reading].append(question)
        found: dict[CostQuestion, CostAnswer] = {}
        for reading, several in alike.items():
            if len(several) > 1:
                found |= await self._read_once(tx, reading, several, version)
        return [
            found.get(question) or await self._compute_one(tx, question, version)
            for question in questions
        ]

    async def _read_once(
        self,
        tx: Transaction,
        reading: CostQuestion,
        questions: Sequence[CostQuestion],
        version: AnswerVersion,
    ) -> dict[CostQuestion, CostAnswer]:
        """Returns the answers to questions that differ only in their groups.

        None at all where all of them together are too many groups, which each may not be.
        """
        periods = [reading.period]
        if any(question.has_previous for question in questions):
            periods.append(previous_period(reading.period, reading.tz))
        cells = await grouped_cells(
            tx, reading, periods, [question.group_by for question in questions], limit=CELLS_MAX
        )
        if cells is None:
            return {}
        found = {}
        for question, by_period in zip(questions, cells, strict=True):
            groups = [_group(cell, question) for cell in by_period[0]]
            if question.has_previous:
                before = [_group(cell, question) for cell in by_period[1]]
                groups = with_previous(groups, before, starts=(), previous_starts=())
            found[question] = _answer(question, groups, sum_groups(groups), version)
        return found

    async def _compute_one(
        self, tx: Transaction, question: CostQuestion, version: AnswerVersion
    ) -> CostAnswer:
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
        return _answer(question, groups, totals, version, rates)

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
        return [_group(cell, question, rules.get(cell.keys, ())) for cell in cells], rates


def _group(cell: CostCell, question: CostQuestion, rule_ids: tuple[str, ...] = ()) -> CostGroup:
    return CostGroup(
        cell.keys,
        _bucket_start(cell, question),
        cell.currency_code,
        cell.cost,
        cell.quantity,
        cell.unit,
        cell.events,
        cell.failed_events,
        cell.unpriced_events,
        rule_ids=rule_ids,
    )


def _answer(
    question: CostQuestion,
    groups: Sequence[CostGroup],
    totals: Sequence[CostSum],
    version: AnswerVersion,
    rates: Sequence[AppliedRate] = (),
) -> CostAnswer:
    return CostAnswer(
        groups,
        totals,
        question.period,
        question.tz.key,
        version.position,
        tuple(rates),
        version.newest,
    )


def _bucket_start(cell: CostCell, question: CostQuestion) -> datetime | None:
    bucket = cell.bucket
    if bucket is None or isinstance(bucket, datetime):
        return bucket
    return day_start(bucket, question.tz)


def _digest(questions: Sequence[CostQuestion], version: str) -> str:
    parts = [
        [
            question.period.start.isoformat(),
            question.period.end.isoformat(),
            question.tz.key,
            question.group_by,
            question.granularity.value,
            question.filter,
            question.cost_type.value,
            question.currency_code,
            question.has_previous,
            question.is_allocated,
        ]
        for question in questions
    ]
    return hashlib.sha256(json.dumps([version, parts]).encode()).hexdigest()

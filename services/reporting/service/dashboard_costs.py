"""The questions about cost behind a dashboard, as few as give the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, TypeVar

from services.kernel.expiring import ExpiringMap
from services.kernel.period import Granularity, Period
from services.reporting.domain.costs import CostAnswer, CostQuestion
from services.reporting.domain.dashboard.figures import DayCosts, Ranking
from services.reporting.domain.dashboard.question import (
    DashboardQuestion,
    Frame,
    is_told_by,
    widest,
)
from services.reporting.errors import UsageQuestionRefused
from services.reporting.service.dashboard_days import KnownDays
from services.reporting.service.dashboard_peers import CostGlance, CostPage
from services.reporting.service.peers import SeriesReader, UsageReader

_T = TypeVar("_T")

# Of what drivers, movers and the geography are told, all asked at once.
DIMENSIONS: Final = ("department", "project", "service", "resource_type", "provider")
REGION: Final = "region"
USER: Final = "user"
RANKED: Final = (*DIMENSIONS, REGION, USER)

TENANTS_MAX: Final = 10_000
# How long it is remembered that a tenant needs conversion: a wrong guess costs a question in vain.
REMEMBERED_SECONDS: Final = 3_600.0


class DashboardCosts:
    """Asks for cost in one currency.

    Most tenants have one currency, their own. Their questions are asked without conversion, which
    takes several times as long and gives them the same amounts; an answer in another currency is
    asked for again.
    """

    def __init__(self, usage: UsageReader, glance: CostGlance) -> None:
        """Takes the two views of the usage service."""
        self._usage = usage
        self._glance = glance
        self._mixed: ExpiringMap[tuple[str, str], bool] = ExpiringMap(TENANTS_MAX)

    async def days(
        self, question: DashboardQuestion, frame: Frame, *, history: Period | None = None
    ) -> DayCosts:
        """Returns the cost by day. Raises UsageQuestionRefused.

        history: what a forecast will be made from, read with the days where it touches them, so
        that no day is read twice.
        """
        whole = widest(frame, history)
        try:
            return await self._days(question, frame, whole)
        except UsageQuestionRefused:
            # An old day may have what the period has not, such as a currency without a rate.
            if whole == frame.period:
                raise
            return await self._days(question, frame, frame.period)

    def known(self, question: DashboardQuestion, frame: Frame, days: DayCosts) -> SeriesReader:
        """Returns who tells a forecast the days that were read, and asks for others."""
        return KnownDays(self._usage, question, frame, days)

    async def total(self, question: DashboardQuestion, frame: Frame, period: Period) -> Decimal:
        """Returns the cost of another period."""
        plain = replace(_question(question, frame), period=period)
        return (await self._answer(plain, frame)).total(frame.currency_code).cost

    async def rankings(self, question: DashboardQuestion, frame: Frame) -> dict[str, Ranking]:
        """Returns the groups of each dimension, the costliest page of them."""
        asked = [_question(question, frame, group_by=(name,), has_previous=True) for name in RANKED]
        pages = await self._pages(asked, frame)
        return {
            name: Ranking(page.answer.rows, page.groups, page.is_whole, page.answer.sequence)
            for name, page in zip(RANKED, pages, strict=True)
        }

    async def active_users(self, question: DashboardQuestion, frame: Frame, users: Ranking) -> int:
        """Returns how many people caused cost. users: the ranking of them."""
        if users.is_whole:
            return sum(1 for row in users.rows if row.group[0] and row.events)
        plain = _question(question, frame, group_by=(USER,))
        is_ungrouped = await self._glance.is_ungrouped(plain)
        (page,) = await self._glance.costliest([plain])
        return page.groups - is_ungrouped

    async def failed_cost(self, question: DashboardQuestion, frame: Frame) -> Decimal:
        """Returns what failed work was billed."""
        found = await self._usage.analysis(
            question.tenant_id,
            frame.period,
            filter_=question.filter,
            currency_code=frame.currency_code,
        )
        return found.failed_cost

    async def _days(self, question: DashboardQuestion, frame: Frame, whole: Period) -> DayCosts:
        plain = _question(question, frame, granularity=Granularity.DAY)
        asked = [whole]
        if not is_told_by(whole, frame.previous, frame.tz):
            asked.append(frame.previous)
        known, *apart = await together(
            *(self._answer(replace(plain, period=period), frame) for period in asked)
        )
        previous = apart[0] if apart else known.within(frame.previous, whole)
        return DayCosts(known.within(frame.period, whole), previous, known, whole)

    async def _answer(self, question: CostQuestion, frame: Frame) -> CostAnswer:
        key = (question.tenant_id, frame.currency_code)
        if not self._mixed.get(key):
            answer = await self._usage.costs(question)
            if not _has_others(answer, frame):
                return answer
            self._mixed.put(key, True, REMEMBERED_SECONDS)  # noqa: FBT003 - a set
        return await self._usage.costs(replace(question, currency_code=frame.currency_code))

    async def _pages(self, questions: Sequence[CostQuestion], frame: Frame) -> list[CostPage]:
        key = (questions[0].tenant_id, frame.currency_code)
        if not self._mixed.get(key):
            pages = await self._glance.costliest(questions)
            if not any(_has_others(page.answer, frame) for page in pages):
                return pages
            self._mixed.put(key, True, REMEMBERED_SECONDS)  # noqa: FBT003 - a set
        converted = [replace(each, currency_code=frame.currency_code) for each in questions]
        return await self._glance.costliest(converted)


async def together(*questions: Coroutine[Any, Any, _T]) -> list[_T]:
    """Awaits all at once; the first that fails ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(question) for question in questions]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _question(
    question: DashboardQuestion,
    frame: Frame,
    *,
    group_by: tuple[str, ...] = (),
    granularity: Granularity = Granularity.TOTAL,
    has_previous: bool = False,
) -> CostQuestion:
    return CostQuestion(
        tenant_id=question.tenant_id,
        period=frame.period,
        group_by=group_by,
        granularity=granularity,
        filter=question.filter,
        cost_type=question.cost_type,
        has_previous=has_previous,
    )


def _has_others(answer: CostAnswer, frame: Frame) -> bool:
    """Tells whether an answer has cost in another currency than the dashboard's."""
    return any(total.currency_code != frame.currency_code for total in answer.totals)

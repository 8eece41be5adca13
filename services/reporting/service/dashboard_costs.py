"""The questions about cost behind a dashboard, as few as give the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, TypeVar

from services.kernel.expiring import ExpiringMap
from services.kernel.period import Granularity, Period
from services.reporting.domain.costs import CostAnswer, CostQuestion
from services.reporting.domain.dashboard.composing import regrouped
from services.reporting.domain.dashboard.figures import DayCosts, Ranking
from services.reporting.domain.dashboard.question import DashboardQuestion, Frame
from services.reporting.service.dashboard_peers import CostGlance, CostPage
from services.reporting.service.peers import UsageReader

_T = TypeVar("_T")

# Of what drivers and movers are told.
DIMENSIONS: Final = ("department", "project", "service", "resource_type", "provider")
# Of these there may be more than a page holds.
WIDE_DIMENSIONS: Final = ("user",)
REGION: Final = "region"
# Groups are read together for these dimensions, and apart for a tenant that has too many.
TOGETHER: Final = (*DIMENSIONS, REGION)

TENANTS_MAX: Final = 10_000
# How long it is remembered that a tenant needs conversion or has many groups: a wrong guess costs
# one question in vain.
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
        self._many: ExpiringMap[str, bool] = ExpiringMap(TENANTS_MAX)

    async def days(self, question: DashboardQuestion, frame: Frame) -> DayCosts:
        """Returns the cost by day. Raises UsageQuestionRefused."""
        plain = _question(question, frame, granularity=Granularity.DAY)
        current, previous = await together(
            self._answer(plain, frame), self._answer(replace(plain, period=frame.previous), frame)
        )
        return DayCosts(current, previous)

    async def total(self, question: DashboardQuestion, frame: Frame, period: Period) -> Decimal:
        """Returns the cost of another period."""
        plain = replace(_question(question, frame), period=period)
        return (await self._answer(plain, frame)).total(frame.currency_code).cost

    async def rankings(self, question: DashboardQuestion, frame: Frame) -> dict[str, Ranking]:
        """Returns the groups of each dimension but the wide ones.

        One answer gives them all, where sums over it are exact and it fits a page.
        """
        tenant_id = question.tenant_id
        if not (self._is_mixed(question, frame) or self._many.get(tenant_id)):
            page = await self._page(
                _question(question, frame, group_by=TOGETHER, has_previous=True), frame
            )
            if page.is_whole and not self._is_mixed(question, frame):
                groups = regrouped(page.answer.rows, TOGETHER)
                return {
                    name: Ranking(rows, len(rows), is_whole=True, sequence=page.answer.sequence)
                    for name, rows in groups.items()
                }
            if not page.is_whole:
                self._many.put(tenant_id, True, REMEMBERED_SECONDS)  # noqa: FBT003 - a set
        found = await together(*(self.ranking(question, frame, name) for name in TOGETHER))
        return dict(zip(TOGETHER, found, strict=True))

    async def ranking(self, question: DashboardQuestion, frame: Frame, name: str) -> Ranking:
        """Returns the groups of one dimension, the costliest page of them."""
        page = await self._page(
            _question(question, frame, group_by=(name,), has_previous=True), frame
        )
        return Ranking(page.answer.rows, page.groups, page.is_whole, page.answer.sequence)

    async def active_users(self, question: DashboardQuestion, frame: Frame, users: Ranking) -> int:
        """Returns how many people caused cost. users: the ranking of them."""
        if users.is_whole:
            return sum(1 for row in users.rows if row.group[0] and row.events)
        plain = _question(question, frame, group_by=WIDE_DIMENSIONS)
        is_ungrouped = await self._glance.is_ungrouped(plain)
        return (await self._glance.costliest(plain)).groups - is_ungrouped

    async def failed_cost(self, question: DashboardQuestion, frame: Frame) -> Decimal:
        """Returns what failed work was billed."""
        found = await self._usage.analysis(
            question.tenant_id,
            frame.period,
            filter_=question.filter,
            currency_code=frame.currency_code,
        )
        return found.failed_cost

    async def _answer(self, question: CostQuestion, frame: Frame) -> CostAnswer:
        key = (question.tenant_id, frame.currency_code)
        if not self._mixed.get(key):
            answer = await self._usage.costs(question)
            if not _has_others(answer, frame):
                return answer
            self._mixed.put(key, True, REMEMBERED_SECONDS)  # noqa: FBT003 - a set
        return await self._usage.costs(replace(question, currency_code=frame.currency_code))

    async def _page(self, question: CostQuestion, frame: Frame) -> CostPage:
        key = (question.tenant_id, frame.currency_code)
        if not self._mixed.get(key):
            page = await self._glance.costliest(question)
            if not _has_others(page.answer, frame):
                return page
            self._mixed.put(key, True, REMEMBERED_SECONDS)  # noqa: FBT003 - a set
        return await self._glance.costliest(replace(question, currency_code=frame.currency_code))

    def _is_mixed(self, question: DashboardQuestion, frame: Frame) -> bool:
        return bool(self._mixed.get((question.tenant_id, frame.currency_code)))


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

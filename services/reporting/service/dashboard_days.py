"""Tells forecasts what a dashboard has already asked: cost by day."""

from __future__ import annotations

from services.kernel.period import Granularity
from services.reporting.domain.dashboard.figures import DayCosts
from services.reporting.domain.dashboard.question import DashboardQuestion, Frame, is_told_by
from services.reporting.service.peers import (
    SeriesAnswer,
    SeriesPoint,
    SeriesQuestion,
    TenantSettings,
    UsageReader,
)


class KnownDays:
    """Answers from the days of a dashboard, and asks for what they do not hold."""

    def __init__(
        self, usage: UsageReader, question: DashboardQuestion, frame: Frame, days: DayCosts
    ) -> None:
        """days: the answers for this dashboard, in its currency."""
        self._usage = usage
        self._question = question
        self._frame = frame
        self._days = days

    async def tenant(self, tenant_id: str) -> TenantSettings:
        """Returns the settings that the dashboard is told by; its currency may be another one."""
        if tenant_id != self._question.tenant_id:
            return await self._usage.tenant(tenant_id)
        return TenantSettings(self._frame.tz, self._frame.currency_code)

    async def series(self, question: SeriesQuestion) -> SeriesAnswer:
        """Returns cost and quantity over time. Raises UsageQuestionRefused."""
        period, frame = question.period, self._frame
        if self._asked_as(question) != question or not is_told_by(
            self._days.whole_of, period, frame.tz
        ):
            return await self._usage.series(question)
        answer = self._days.whole.within(period, self._days.whole_of)
        points = tuple(
            SeriesPoint((), row.start_at, row.cost, row.quantity, row.unit)
            for row in answer.rows
            if row.start_at is not None
        )
        return SeriesAnswer(points, answer.sequence)

    def _asked_as(self, question: SeriesQuestion) -> SeriesQuestion:
        """Returns what the dashboard asked, in another period."""
        mine = self._question
        return SeriesQuestion(
            tenant_id=mine.tenant_id,
            period=question.period,
            granularity=Granularity.DAY,
            filter=mine.filter,
            cost_type=mine.cost_type,
            currency_code=self._frame.currency_code,
        )

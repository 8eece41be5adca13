"""What the sections of one report ask, each question once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.kernel.database import Database
from services.kernel.period import Period
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.costs import CostAnswer, CostQuestion
from services.reporting.domain.forecast.answer import ForecastAnswer
from services.reporting.domain.forecast.wish import ForecastWish
from services.reporting.domain.recommendations import OpenSavings
from services.reporting.domain.report.frame import Frame
from services.reporting.domain.report.outlook import forecast_link
from services.reporting.domain.usage_analysis import UsageAnalysis
from services.reporting.errors import NoHistory
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.judging import Judgements
from services.reporting.service.peers import BudgetReader, OptimizerReader, UsageReader
from services.reporting.store import anomalies as anomaly_rows

# What texts and tables tell, and what charts show besides.
LEVELS: Final = (Decimal("0.8"), Decimal("0.95"))
ANOMALY_DAYS: Final = 180
ANOMALIES_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class ReportPeers:
    """Where reports read. budgets, optimizer: None where that service is not connected."""

    database: Database
    usage: UsageReader
    budgets: BudgetReader | None
    optimizer: OptimizerReader | None
    forecasts: Forecasts
    judgements: Judgements


@dataclass(slots=True)
class Sources:
    """Answers within one report's frame; what was asked once is not asked again."""

    peers: ReportPeers
    frame: Frame
    _costs: dict[CostQuestion, CostAnswer] = field(default_factory=dict)
    _forecasts: dict[tuple[int, str], ForecastAnswer | None] = field(default_factory=dict)
    _budgets: tuple[BudgetState, ...] | None = None
    _savings: OpenSavings | None = None
    _anomalies: list[Anomaly] | None = None
    _analysis: UsageAnalysis | None = None

    async def costs(self, question: CostQuestion) -> CostAnswer:
        """Returns the answer to a cost question."""
        known = self._costs.get(question)
        if known is None:
            known = self._costs[question] = await self.peers.usage.costs(question)
        return known

    async def budgets(self) -> tuple[BudgetState, ...] | None:
        """Returns how budgets stand; None where no budget service is connected."""
        if self.peers.budgets is not None and self._budgets is None:
            self._budgets = await self.peers.budgets.states(self.frame.tenant_id)
        return self._budgets

    async def savings(self) -> OpenSavings | None:
        """Returns open recommendations; None where no optimizer is connected."""
        if self.peers.optimizer is not None and self._savings is None:
            frame = self.frame
            self._savings = await self.peers.optimizer.open_savings(
                frame.tenant_id, frame.currency_code, ""
            )
        return self._savings

    @property
    def history_end(self) -> str:
        """The local day before which a forecast may look, so that its link gives it again."""
        return f"{self.frame.now.astimezone(self.frame.tz):%Y-%m-%d}"

    def forecast_query(self, days: int, group_by: str = "") -> str:
        """Returns where a forecast is from."""
        return forecast_link(self.frame, days, self.history_end, group_by)

    async def forecast(self, days: int, group_by: str = "") -> ForecastAnswer | None:
        """Returns the forecast of the days to come; None where there is no history."""
        key = (days, group_by)
        if key not in self._forecasts:
            frame = self.frame
            wish = ForecastWish(
                tenant_id=frame.tenant_id,
                horizon_days=days,
                filter=frame.filter,
                group_by=(group_by,) if group_by else (),
                currency_code=frame.currency_code,
                levels=LEVELS,
                history_end=self.history_end,
            )
            try:
                self._forecasts[key] = await self.peers.forecasts.forecast(wish)
            except NoHistory:
                self._forecasts[key] = None
        return self._forecasts[key]

    async def analysis(self) -> UsageAnalysis:
        """Returns pattern, efficiency and cost of errors of the report's period."""
        if self._analysis is None:
            frame = self.frame
            self._analysis = await self.peers.usage.analysis(
                frame.tenant_id,
                frame.period,
                filter_=frame.filter,
                currency_code=frame.currency_code,
            )
        return self._analysis

    async def trailing(self, days: int) -> Decimal:
        """Returns the cost of so many days up to today."""
        frame = self.frame
        end = frame.now.astimezone(frame.tz).replace(hour=0, minute=0, second=0, microsecond=0)
        question = CostQuestion(
            tenant_id=frame.tenant_id,
            period=Period(_earlier(end, days), end),
            filter=frame.filter,
            currency_code=frame.currency_code,
        )
        return (await self.costs(question)).total(frame.currency_code).cost

    async def anomalies(self) -> list[Anomaly]:
        """Returns the anomalies of the last half year, newest first."""
        if self._anomalies is None:
            frame = self.frame
            async with self.peers.database.read(frame.tenant_id) as tx:
                self._anomalies = await anomaly_rows.since(
                    tx, frame.now - timedelta(days=ANOMALY_DAYS), limit=ANOMALIES_MAX
                )
        return self._anomalies


def _earlier(local: datetime, days: int) -> datetime:
    """Returns the same time on the clock, days before: Python's arithmetic of local times."""
    return local - timedelta(days=days)

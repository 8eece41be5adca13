"""Analyzes how usage behaves: pattern, peaks, efficiency, errors, growth, capacity."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.exchange import ExchangeRates
from services.kernel.money import EXACT
from services.kernel.period import Granularity, Period, day_start, floor
from services.usage.domain.analytics import (
    ErrorClass,
    ErrorCost,
    HourlyUsage,
    PatternCell,
    UsagePeak,
    UsageTotals,
    error_cost,
    unit_cost_per_success,
    usage_peaks,
    usage_totals,
    weekly_pattern,
)
from services.usage.domain.efficiency import Efficiency, efficiency
from services.usage.domain.question import previous_period, read_period
from services.usage.domain.trend import CapacityOutlook, Growth, capacity_outlook, growth
from services.usage.errors import TooManyGroups
from services.usage.service.tenant_context import TenantContexts
from services.usage.store.hourly import FailedCell, HourCell, failed_cells, hour_cells

CELLS_MAX = 200_000  # twenty years of hours, or twenty units over one; about 100 MB
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisQuestion:
    """What to analyze. start, end: as QueryCosts takes them.

    currency_code: "" takes the currency with the most cost and leaves the others' cost out.
    unit: of the quantities; "" takes the unit with the most events. Everything else is over all.
    """

    tenant_id: str
    start: str = ""
    end: str = ""
    filter: str = ""
    currency_code: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What usage looks like in a period of whole hours; costs in the one currency."""

    period: Period
    tz: ZoneInfo
    currency_code: str
    unit: str
    totals: UsageTotals
    pattern: Sequence[PatternCell]
    peaks: Sequence[UsagePeak]
    efficiency: Efficiency | None
    errors: ErrorCost
    unit_cost_per_success: Decimal | None
    growth: Growth
    capacity_outlook: CapacityOutlook | None
    currencies_left_out: Sequence[str]


class Analyses:
    """The use case of analyzing usage."""

    def __init__(
        self, database: Database, contexts: TenantContexts, *, clock: Clock, rates: ExchangeRates
    ) -> None:
        """Takes the contexts, which know each tenant's zone."""
        self._database = database
        self._contexts = contexts
        self._clock = clock
        self._rates = rates

    async def analyze_usage(self, question: AnalysisQuestion) -> Analysis:
        """Returns the analysis of a period, which is widened to whole local hours.

        Raises InvalidInstant, InvalidPeriod, InvalidFilter, TooManyGroups, MissingRate.
        """
        tenant_id = question.tenant_id
        frame = await self._contexts.frame(tenant_id)
        tz = frame.tz
        asked = read_period(question.start, question.end, tz, now=self._clock.now())
        period = _whole_hours(asked, tz)
        before = previous_period(period, tz)
        text = question.filter
        async with self._database.read(tenant_id) as tx:
            cells = await _cells(tx, tenant_id, period, text)
            earlier = await _cells(tx, tenant_id, before, text)
            failed = await failed_cells(tx, tenant_id, period, tz, text=text, limit=CELLS_MAX)
        unit = question.unit or _most(cells, lambda cell: cell.unit, lambda cell: cell.events)
        main = _most(cells, lambda cell: cell.currency_code, lambda cell: cell.billed_cost)
        code = question.currency_code or main or frame.settings.currency_code
        reading = _Reading(tz, unit, code, self._rates if question.currency_code else None)
        rows = [reading.row(cell) for cell in cells]
        rows += [reading.failed_row(cell, period) for cell in failed]
        totals = usage_totals(rows)
        previous = usage_totals(reading.row(cell) for cell in earlier)
        left_out = {cell.currency_code for cell in cells if cell.billed_cost} - {code}
        return Analysis(
            period=period,
            tz=tz,
            currency_code=code,
            unit=unit,
            totals=totals,
            pattern=weekly_pattern(rows, period, tz),
            peaks=usage_peaks(rows, period, tz),
            efficiency=efficiency(rows, period, tz),
            errors=error_cost(totals, reading.classes(failed)),
            unit_cost_per_success=unit_cost_per_success(totals),
            growth=growth(rows, totals, previous, period=period, tz=tz),
            capacity_outlook=capacity_outlook(rows, period, tz),
            currencies_left_out=[] if question.currency_code else sorted(left_out),
        )


def _whole_hours(period: Period, tz: ZoneInfo) -> Period:
    start = floor(period.start, Granularity.HOUR, tz)
    last = floor(period.end - timedelta(microseconds=1), Granularity.HOUR, tz)
    return Period(start, max(period.end, floor(last + timedelta(hours=1), Granularity.HOUR, tz)))


async def _cells(tx: Transaction, tenant_id: str, period: Period, text: str) -> list[HourCell]:
    cells = await hour_cells(tx, tenant_id, period, text=text, limit=CELLS_MAX + 1)
    if len(cells) > CELLS_MAX:
        raise TooManyGroups(groups_max=CELLS_MAX)
    return cells


def _most(
    cells: Sequence[HourCell],
    name: Callable[[HourCell], str],
    amount: Callable[[HourCell], Decimal | int],
) -> str:
    """Returns the name with the largest sum, of equal ones the first; "" without cells."""
    sums: Counter[str] = Counter()
    for cell in cells:
        sums[name(cell)] += amount(cell)  # type: ignore[assignment] # a Decimal counts as well
    return min(sums, key=lambda each: (-sums[each], each), default="")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads cells in one unit and one currency. rates: None leaves other currencies' cost out."""

    tz: ZoneInfo
    unit: str
    currency_code: str
    rates: ExchangeRates | None

    def row(self, cell: HourCell) -> HourlyUsage:
        day = cell.hour_at.astimezone(self.tz).date()
        is_unit = cell.unit == self.unit
        return HourlyUsage(
            hour_at=cell.hour_at,
            events=cell.events,
            failed_events=cell.failed_events,
            retries=cell.retries,
            latency_ms_sum=cell.latency_ms_sum,
            quantity=cell.quantity if is_unit else _ZERO,
            billed_cost=self._cost(cell.billed_cost, cell.currency_code, day),
            list_cost=self._cost(cell.list_cost, cell.currency_code, day),
            utilization_sum=cell.utilization_sum,
            utilization_samples=cell.utilization_samples,
            capacity_sum=cell.capacity_sum if is_unit else _ZERO,
            capacity_samples=cell.capacity_samples if is_unit else 0,
        )

    def failed_row(self, cell: FailedCell, period: Period) -> HourlyUsage:
        """Returns what failed work of a day was worth; everything else about it is in `row`."""
        cost = self._cost(cell.list_cost, cell.currency_code, cell.day)
        return HourlyUsage(max(day_start(cell.day, self.tz), period.start), failed_cost=cost)

    def classes(self, cells: Sequence[FailedCell]) -> list[ErrorClass]:
        """Returns the classes of errors, each once."""
        found: dict[str, ErrorClass] = defaultdict(lambda: ErrorClass("", 0, _ZERO, _ZERO))
        for cell in cells:
            known = found[cell.error_code]
            billed = self._cost(cell.billed_cost, cell.currency_code, cell.day)
            listed = self._cost(cell.list_cost, cell.currency_code, cell.day)
            found[cell.error_code] = ErrorClass(
                cell.error_code,
                known.failed_events + cell.events,
                EXACT.add(known.billed_cost, billed),
                EXACT.add(known.list_cost, listed),
            )
        return list(found.values())

    def _cost(self, amount: Decimal, currency_code: str, day: date) -> Decimal:
        if currency_code == self.currency_code:
            return amount
        if self.rates is None or not amount:
            return _ZERO
        return self.rates.rate(currency_code, self.currency_code, day).convert(amount)

"""Makes a dashboard of its parts, those that are missing left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.dashboard.composing import (
    costs_by_day,
    daily_average,
    drivers_of,
    expected_of_month,
    geography_of,
    movers_of,
    trend_of,
)
from services.reporting.domain.dashboard.dashboard import (
    AlertGlance,
    CostDriver,
    Dashboard,
    Outlook,
    RegionCost,
    Summary,
    TrendDay,
)
from services.reporting.domain.dashboard.figures import CostFigures, People, Ranking
from services.reporting.domain.dashboard.highlights import highlights
from services.reporting.domain.dashboard.question import DashboardQuestion, Frame
from services.reporting.domain.forecast.comparison import Comparison
from services.reporting.domain.recommendations import OpenSavings

USER = "user"
REGION = "region"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that was told; None where a part is missing, or where there is none."""

    costs: CostFigures | None = None
    rankings: Mapping[str, Ranking] | None = None
    people: People | None = None
    outlook: Outlook | None = None
    accuracy: Comparison | None = None
    budgets: tuple[BudgetState, ...] | None = None
    alerts: tuple[AlertGlance, ...] | None = None
    anomalies: tuple[Anomaly, ...] | None = None
    savings: OpenSavings | None = None
    saved: Decimal | None = None


def assembled(
    question: DashboardQuestion,
    frame: Frame,
    parts: Parts,
    *,
    missing: frozenset[str],
    is_passing: bool,
    computed_at: datetime,
) -> Dashboard:
    """Returns the dashboard. missing, is_passing: as `Dashboard` has them."""
    summary = _summary(frame, parts)
    drivers, movers = _rankings(question, frame, parts)
    budgets, alerts, anomalies = parts.budgets or (), parts.alerts or (), parts.anomalies or ()
    potential = None if parts.savings is None else parts.savings.joint
    said: tuple[str, ...] = ()
    if summary is not None:
        said = highlights(
            summary,
            currency_code=frame.currency_code,
            movers=movers,
            budgets=budgets,
            alerts=alerts,
            anomalies=anomalies,
            potential_saving=potential,
        )
    return Dashboard(
        period=frame.period,
        previous=frame.previous,
        currency_code=frame.currency_code,
        summary=summary,
        highlights=said,
        budgets=budgets,
        alerts=alerts,
        anomalies=anomalies,
        drivers=drivers,
        movers=movers,
        trend=_trend(frame, parts),
        geography=_geography(frame, parts),
        recommendations=() if parts.savings is None else parts.savings.items,
        potential_saving=potential,
        accuracy=parts.accuracy,
        forecast=parts.outlook,
        missing=tuple(sorted(missing)),
        is_passing=is_passing,
        sequence=_sequence(parts),
        computed_at=computed_at,
    )


def _summary(frame: Frame, parts: Parts) -> Summary | None:
    if parts.costs is None:
        return None
    days, so_far = parts.costs.days, parts.costs.month_to_date
    cost = days.current.total(frame.currency_code).cost
    expected = None
    if so_far is not None and parts.outlook is not None:
        expected = expected_of_month(so_far, parts.outlook, frame)
    successes, previous_successes = days.successes
    return Summary(
        cost=cost,
        previous_cost=days.previous.total(frame.currency_code).cost,
        daily_average=daily_average(cost, frame),
        expected=expected,
        wasted=parts.costs.wasted,
        saved=parts.saved,
        operation_count=successes,
        previous_operation_count=previous_successes,
        active_user_count=(parts.people.active or 0) if parts.people else 0,
        unpriced_event_count=sum(total.unpriced_events for total in days.current.totals),
    )


def _whole(frame: Frame, parts: Parts) -> Decimal:
    if parts.costs is None:
        return Decimal(0)
    return parts.costs.days.current.total(frame.currency_code).cost


def _rankings(
    question: DashboardQuestion, frame: Frame, parts: Parts
) -> tuple[tuple[CostDriver, ...], tuple[CostDriver, ...]]:
    known = dict(parts.rankings or {})
    known.pop(REGION, None)
    if parts.people is not None:
        known[USER] = parts.people.ranking
    drivers: list[CostDriver] = []
    movers: list[CostDriver] = []
    for dimension, ranking in known.items():
        found = drivers_of(dimension, ranking.rows, whole=_whole(frame, parts))
        drivers += [driver for driver in found if driver.cost][: question.top_count]
        movers += movers_of(found)[: question.top_count]
    return tuple(drivers), tuple(movers)


def _trend(frame: Frame, parts: Parts) -> tuple[TrendDay, ...]:
    if parts.costs is None:
        return ()
    days = parts.costs.days
    return trend_of(
        frame, costs_by_day(days.current.rows), costs_by_day(days.previous.rows), parts.outlook
    )


def _geography(frame: Frame, parts: Parts) -> tuple[RegionCost, ...]:
    regions = (parts.rankings or {}).get(REGION)
    return () if regions is None else geography_of(regions.rows, whole=_whole(frame, parts))


def _sequence(parts: Parts) -> str:
    """Returns the oldest position that an answer about cost stands on; "" where none is known."""
    known = [ranking.sequence for ranking in (parts.rankings or {}).values()]
    if parts.people is not None:
        known.append(parts.people.ranking.sequence)
    if parts.costs is not None:
        days = parts.costs.days
        known += [days.current.sequence, days.previous.sequence]
    return min(filter(None, known), default="")

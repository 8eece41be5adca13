"""What was claimed and what came of it: savings, calibration, and what-if."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates
from services.kernel.period import Granularity, Period, floor, zone
from services.optimizer.domain.detectors import PROFILES
from services.optimizer.domain.finding import rounded
from services.optimizer.domain.lifecycle import OPEN, Recommendation, Verdict
from services.optimizer.domain.portfolio import JointSaving, joint_saving
from services.optimizer.domain.savings import (
    Calibration,
    Measurement,
    SavingsRow,
    advice_of,
    calibration,
    savings_row,
)
from services.optimizer.domain.statistics import MONTH_DAYS, whole_days
from services.optimizer.domain.what_if import WhatIf, assumed
from services.optimizer.errors import RecommendationNotFound
from services.optimizer.service.recommending import Recommendations
from services.optimizer.service.statistics import StatisticsLoader
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.store import measurements
from services.optimizer.store import recommendations as rows

MEASUREMENTS_MAX = 1000
SIMULATED_MAX = 1000
BASELINE_DAYS = 30
HORIZON_DAYS = 90
YEAR_DAYS = 365


class Savings(NamedTuple):
    """The answer of GetSavings."""

    total: SavingsRow
    rows: Sequence[SavingsRow]
    measurements: Sequence[Measurement]
    currency_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a set saves over a horizon. amounts: of the horizon. kg: None when unknown."""

    joint: JointSaving
    currency_code: str
    kg_co2e: Decimal | None


class SavingQueries:
    """The use cases of savings."""

    def __init__(
        self,
        database: Database,
        profiles: TenantProfiles,
        recommendations: Recommendations,
        loader: StatisticsLoader,
        *,
        rates: ExchangeRates,
        clock: Clock,
    ) -> None:
        """loader: of the spend that simulations start from."""
        self._database = database
        self._profiles = profiles
        self._recommendations = recommendations
        self._loader = loader
        self._rates = rates
        self._clock = clock

    async def get_savings(
        self, tenant_id: str, *, start: str, end: str, text: str, group_by: str, currency: str
    ) -> Savings:
        """Returns savings, of those completed in the period. Raises InvalidFilter, MissingRate."""
        tz = (await self._profiles.get(tenant_id)).tz
        code = await self._recommendations.currency(tenant_id, currency)
        first = f"{self._clock.now().astimezone(tz).year}-01-01"
        period = await self._profiles.period(tenant_id, start or first, end, days=YEAR_DAYS)
        known, newest = await self._load(tenant_id, text, period)
        convert = self._recommendations.converter(code)
        shown = [convert(one) for one in known]
        newest = {name: self._converted(one, code) for name, one in newest.items()}
        groups: dict[str, list[Recommendation]] = defaultdict(list)
        for one in shown:
            groups[self._group(one, group_by, tenant_tz=tz.key)].append(one)
        measured = sorted(newest.values(), key=lambda one: -one.saving.realized.expected)
        return Savings(
            savings_row("", shown, newest),
            [savings_row(name, groups[name], newest) for name in sorted(groups)]
            if group_by
            else [],
            measured[:MEASUREMENTS_MAX],
            code,
        )

    async def get_claim_calibration(
        self, tenant_id: str, *, start: str, end: str
    ) -> tuple[list[Calibration], Calibration]:
        """Returns how claims came true, by detector and all together."""
        period = await self._profiles.period(tenant_id, start, end, days=YEAR_DAYS)
        known, newest = await self._load(tenant_id, "", period)
        each = [
            calibration(name, [one for one in known if one.finding.detector_id == name], newest)
            for name in PROFILES
        ]
        return each, calibration("", known, newest)

    async def simulate_savings(
        self,
        tenant_id: str,
        ids: Sequence[str],
        *,
        text: str,
        what_ifs: Sequence[WhatIf],
        horizon_days: int,
        currency: str,
    ) -> Simulation:
        """Applies recommendations together to the last 30 days' spend. Stores nothing.

        Raises RecommendationNotFound, InvalidFilter, UnknownWhatIf, MissingRate.
        """
        now = self._clock.now()
        code = await self._recommendations.currency(tenant_id, currency)
        async with self._database.read(tenant_id) as tx:
            if ids:
                found = await rows.by_ids(tx, tenant_id, ids)
                missing = [one for one in ids if one not in found]
                if missing:
                    raise RecommendationNotFound(recommendation_id=missing[0])
                chosen = list(found.values())
            else:
                chosen = await rows.matching(tx, tenant_id, text, now=now, limit=SIMULATED_MAX)
                chosen = [one for one in chosen if one.state in OPEN]
        statistics = await self._loader.load(
            tenant_id,
            Period(now - timedelta(days=BASELINE_DAYS), now),
            has_alternatives=bool(what_ifs),
        )
        day = (whole_days(now, now).end - timedelta(days=1)).date()
        monthly: dict[int, Decimal] = {}
        for one in statistics.series:
            cost = statistics.monthly_of(one)
            if one.subject.currency_code != code and cost:
                cost = self._rates.last_known(one.subject.currency_code, code, day).convert(
                    rounded(cost)
                )
            monthly[one.series_id] = rounded(max(cost, Decimal(0)))
        convert = self._recommendations.converter(code)
        chosen = [convert(one) for one in sorted(chosen, key=lambda one: one.rank)]
        baseline = assumed(statistics, monthly, what_ifs)
        joint = joint_saving([advice_of(one) for one in chosen], baseline)
        factor = Decimal(horizon_days or HORIZON_DAYS) / MONTH_DAYS
        carbon = [
            one.finding.monthly_kg_co2e * factor
            for one, share in zip(chosen, joint.shares, strict=True)
            if one.finding.monthly_kg_co2e is not None and not share.is_excluded
        ]
        return Simulation(
            joint=joint.scaled(factor),
            currency_code=code,
            kg_co2e=sum(carbon, Decimal(0)) if carbon else None,
        )

    async def _load(
        self, tenant_id: str, text: str, period: Period
    ) -> tuple[list[Recommendation], dict[str, Measurement]]:
        async with self._database.read(tenant_id) as tx:
            known = await rows.all_of(tx, tenant_id, text, completed_in=period)
            newest = await measurements.newest(
                tx, tenant_id, [one.recommendation_id for one in known]
            )
        judged = {name: one for name, one in newest.items() if one.verdict is not Verdict.PENDING}
        return known, judged

    def _converted(self, one: Measurement, code: str) -> Measurement:
        if one.currency_code == code:
            return one
        day = (one.after.end - timedelta(seconds=1)).date()
        factor = self._rates.last_known(one.currency_code, code, day).rate
        saving = one.saving
        return replace(
            one,
            currency_code=code,
            claimed=one.claimed.scaled(factor),
            saving=replace(
                saving,
                realized=saving.realized.scaled(factor),
                counterfactual=saving.counterfactual.scaled(factor),
                actual=rounded(saving.actual * factor),
            ),
        )

    def _group(self, one: Recommendation, group_by: str, *, tenant_tz: str) -> str:
        scope = one.finding.scope
        if group_by == "month":
            at = one.completed_at or one.created_at
            month = floor(at, Granularity.MONTH, zone(tenant_tz)).astimezone(zone(tenant_tz))
            return f"{month:%Y-%m}"
        names = {
            "kind": one.finding.kind.name,
            "detector": one.finding.detector_id,
            "department": scope.department,
            "project": scope.project,
            "owner": one.owner,
        }
        return names.get(group_by, "")

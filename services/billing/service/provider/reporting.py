"""Tells a provider's meters of usage: each unit once, through crashes and silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from services.billing.domain.metered_route import (
    REMEMBERED,
    USAGE_AGE_MAX,
    MeterReport,
    MeterRoute,
    ReportState,
    RouteState,
    event_name,
    plan_reports,
)
from services.billing.domain.metering import hour_of
from services.billing.domain.operation import Step
from services.billing.domain.plan import PlanRates
from services.billing.domain.route_terms import parts_of
from services.billing.domain.subscription import Subscription
from services.billing.service.provider.meter_port import UsageMeters
from services.billing.service.provider.port import Refused
from services.billing.service.provider.providers import Opened
from services.billing.service.provider.steps import StepRefused, Steps
from services.billing.service.routed_usage import usage_of_charges
from services.billing.store import meter_routes as rows
from services.billing.store import operations
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.period import Period
from services.kernel.transaction import Transaction

PASSES_MAX = 2  # what is taken back, and what replaces it
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterLine:
    """A route with what it is told through. subscription: whose usage it is."""

    route: MeterRoute
    subscription: Subscription
    rates: PlanRates
    opened: Opened
    meters: UsageMeters

    @property
    def tenant_id(self) -> str:
        """Whose it is."""
        return self.route.tenant_id

    def parts(self, until: datetime) -> list[Period]:
        """Returns the hours of the route until then, cut where the periods are, oldest first."""
        return parts_of(self.route, self.subscription.calendar, until)


class Reporting:
    """Keeps what was told equal to what was metered."""

    def __init__(self, database: Database, steps: Steps, *, clock: Clock) -> None:
        """Takes the step log, through which every report goes."""
        self._database = database
        self._steps = steps
        self._clock = clock

    async def report(self, line: MeterLine) -> None:
        """Tells what is not told yet. Raises StepWaits where an outcome is not known."""
        await self._settle(line)
        for _ in range(PASSES_MAX):
            if not await self._plan(line):
                return
            await self._settle(line)

    async def _plan(self, line: MeterLine) -> int:
        """Writes down what is to be told of hours that are over; returns how many reports."""
        now = self._clock.now()
        async with self._database.transaction(line.tenant_id) as tx:
            route = await rows.find_route(tx, line.tenant_id, line.route.route_id)
            if route is None or route.state not in (RouteState.OPEN, RouteState.CLOSING):
                return 0
            reports = await rows.reports_of(tx, line.tenant_id, route.route_id)
            changed: list[MeterReport] = []
            for part in line.parts(hour_of(now)):
                if part.end <= now - USAGE_AGE_MAX:
                    continue
                usage = await usage_of(tx, line, part, now)
                planned = plan_reports(route, part, usage, reports, now)
                changed += planned
                count = max([route.report_count, *(each.number for each in planned)])
                route = replace(route, report_count=count)
            await rows.save_reports(tx, line.tenant_id, changed)
            await rows.save_route(tx, route)
        return len(changed)

    async def _settle(self, line: MeterLine) -> None:
        async with self._database.read(line.tenant_id) as tx:
            reports = await rows.reports_of(tx, line.tenant_id, line.route.route_id)
        for report in reports:
            if report.state is ReportState.SENDING:
                ended = await self._tell(line, report, reports)
            elif report.state is ReportState.CANCELING:
                ended = await self._take_back(line, report, reports)
            else:
                continue
            async with self._database.transaction(line.tenant_id) as tx:
                await rows.save_reports(tx, line.tenant_id, [ended])

    async def _tell(
        self, line: MeterLine, report: MeterReport, reports: Sequence[MeterReport]
    ) -> MeterReport:
        name = event_name(line.route.plan_id, report.charge_id)

        async def send(key: str) -> str:
            # Past that time the provider may know the identifier no more, and would count twice.
            if not self._is_remembered(report) and await self._is_there(line, report, reports):
                return report.identifier
            async with line.opened.turn():
                await line.meters.report(
                    key, report, event_name=name, customer_id=line.route.customer_id
                )
            return report.identifier

        async def ask(_: datetime) -> str | None:
            # Until then saying it again, under the same identifier, cannot count twice.
            if self._is_remembered(report) or not await self._is_there(line, report, reports):
                return None
            return report.identifier

        request = f"{name} {line.route.customer_id} {report.quantity} {report.occurred_at}"
        try:
            await self._steps.perform(
                line.tenant_id,
                f"mev:{report.identifier}",
                Step.REPORT,
                provider=line.opened.name,
                request=request,
                send=send,
                ask=ask,
            )
        except StepRefused as refused:
            return replace(report, state=ReportState.FAILED, error=refused.text[:500])
        return replace(report, state=ReportState.SENT)

    async def _take_back(
        self, line: MeterLine, report: MeterReport, reports: Sequence[MeterReport]
    ) -> MeterReport:
        name = event_name(line.route.plan_id, report.charge_id)

        async def send(key: str) -> str:
            async with line.opened.turn():
                await line.meters.take_back(key, report, event_name=name)
            return report.identifier

        async def ask(_: datetime) -> str | None:
            return None if await self._is_there(line, report, reports) else report.identifier

        try:
            await self._steps.perform(
                line.tenant_id,
                f"mca:{report.identifier}",
                Step.TAKE_BACK,
                provider=line.opened.name,
                request=report.identifier,
                send=send,
                ask=ask,
            )
        except StepRefused as refused:
            # It stays told; what is too much is made up for by a report below zero.
            return replace(report, state=ReportState.SENT, error=refused.text[:500])
        return replace(report, state=ReportState.CANCELED)

    def _is_remembered(self, report: MeterReport) -> bool:
        return self._clock.now() - report.created_at < REMEMBERED

    async def _is_there(
        self, line: MeterLine, report: MeterReport, reports: Sequence[MeterReport]
    ) -> bool:
        """Tells whether a report was counted, by the sum of its minute. Raises Refused."""
        begin = report.occurred_at.replace(second=0, microsecond=0)
        minute = Period(begin, begin + _MINUTE)
        others = sum(
            each.quantity
            for each in reports
            if each.charge_id == report.charge_id
            and each.number != report.number
            and each.state is ReportState.SENT
            and each.occurred_at in minute
        )
        there = await counted(self._database, line, report.charge_id, minute)
        if there not in (others, others + report.quantity):
            raise Refused(f"the meter counted {there}, neither with this report nor without")
        return there != others


async def usage_of(
    tx: Transaction, line: MeterLine, part: Period, now: datetime
) -> dict[str, Decimal]:
    """Returns what was metered of a part's hours that are over, by metered charge."""
    end = min(part.end, hour_of(now))
    if end <= part.start:
        return {}
    return await usage_of_charges(tx, line.route, line.rates, Period(part.start, end))


async def counted(database: Database, line: MeterLine, charge_id: str, minutes: Period) -> Decimal:
    """Returns what the provider counted of a charge in whole minutes."""
    async with database.read(line.tenant_id) as tx:
        meter_id = await operations.object_there(
            tx,
            *(line.tenant_id, "meter", event_name(line.route.plan_id, charge_id)),
            line.opened.name,
            live_mode=line.opened.settings.live_mode,
        )
    async with line.opened.turn():
        return await line.meters.counted(
            meter_id, customer_id=line.route.customer_id, minutes=minutes
        )

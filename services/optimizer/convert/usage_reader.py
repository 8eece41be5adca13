"""Asks the usage service through its stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import grpc
from finops.usage.v1 import (
    directory_service_pb2,
    directory_service_pb2_grpc,
    peak_schedule_messages_pb2,
    pricing_model_pb2,
    pricing_service_pb2,
    pricing_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)

from services.kernel.client import on_behalf_of
from services.kernel.money import parse_decimal
from services.kernel.period import Granularity, Period, floor, zone
from services.optimizer.convert.values import to_instant
from services.optimizer.domain.statistics import HOURS_OF_WEEK
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.tariff import PeakSchedule, Tariff, TariffModel, TariffTier
from services.optimizer.domain.usage_change import DetailedEvent, TenantProfile
from services.optimizer.errors import UsageRefused
from services.optimizer.service.usage import Tariffs

PAGE: Final = 1000  # the lists' own bound
PAGES_MAX: Final = 100  # 100,000 prices: beyond it something repeats itself
SECONDS: Final = 30.0
DETAILS: Final = "outcome = FAILED OR retries > 0 OR utilization >= 0"
PATTERNS: Final = ("*\\**", "*?*", "*[*")  # names that hold what makes a shell pattern
NAMES_MAX: Final = 30  # of a filter; with more, all prices are read


class StubUsageReader:
    """Reads tenants, prices and events; implements `service.usage.UsageReader`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = usage_service_pb2_grpc.UsageServiceStub(channel)
        self._directory = directory_service_pb2_grpc.DirectoryServiceStub(channel)
        self._pricing = pricing_service_pb2_grpc.PricingServiceStub(channel)

    async def profile(self, tenant_id: str) -> TenantProfile:
        """Returns a tenant's zone and currency; of one that usage does not know, the defaults."""
        request = directory_service_pb2.GetTenantRequest(tenant_id=tenant_id)
        with _asking(tenant_id):
            try:
                tenant = (await self._directory.GetTenant(request)).tenant
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                return TenantProfile(tenant_id, zone("UTC"), "USD")
        return TenantProfile(
            tenant_id, zone(tenant.time_zone or "UTC"), tenant.currency_code or "USD"
        )

    async def tariffs(
        self,
        tenant_id: str,
        *,
        resource_types: Collection[str],
        providers: Collection[str],
        resource_ids: Collection[str],
        has_patterns: bool = False,
        week: datetime,
        tz: ZoneInfo,
    ) -> Tariffs:
        """Returns the prices of some types, providers and resources, with their peak schedules.

        A public price book has thousands of models: those in use are asked for, where it is enough.
        """
        names = {"", *resource_ids} if resource_ids else set()
        text = " AND ".join(
            part
            for part in (
                _any_of("resource_type", resource_types),
                _any_of("provider", {"", *providers}),
                _any_of("resource_id", names, PATTERNS if has_patterns else ()),
            )
            if part
        )
        request = pricing_service_pb2.ListPricesRequest(
            tenant_id=tenant_id, page_size=PAGE, filter=text
        )
        found: list[Tariff] = []
        with _asking(tenant_id):
            for _ in range(PAGES_MAX):
                answer = await self._pricing.ListPrices(request, timeout=SECONDS)
                found += [_tariff(one) for one in answer.prices]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    break
            wanted = {one.peak_schedule_id for one in found if one.peak_schedule_id}
            schedules = await self._schedules(tenant_id) if wanted else []
        return Tariffs(
            found,
            {
                one.peak_schedule_id: to_schedule(one, week=week, tz=tz)
                for one in schedules
                if one.peak_schedule_id in wanted
            },
        )

    async def _schedules(self, tenant_id: str) -> list[pricing_model_pb2.PeakSchedule]:
        request = peak_schedule_messages_pb2.ListPeakSchedulesRequest(
            tenant_id=tenant_id, page_size=PAGE
        )
        return list((await self._pricing.ListPeakSchedules(request)).peak_schedules)

    async def events(self, tenant_id: str, period: Period) -> AsyncIterator[DetailedEvent]:
        """Yields the events of a period that failed, were repeated or carry a sample."""
        request = usage_service_pb2.ListUsageEventsRequest(
            tenant_id=tenant_id,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            filter=DETAILS,
            order_by="start_time",
            page_size=PAGE,
        )
        while True:
            with _asking(tenant_id):
                answer = await self._usage.ListUsageEvents(request, timeout=SECONDS)
            for stored in answer.events:
                if not stored.is_voided:
                    yield _event(stored)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return


@contextmanager
def _asking(tenant_id: str) -> Iterator[None]:
    """Acts for the tenant, and says in this service's words what usage refused."""
    with on_behalf_of(tenant_id):
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise UsageRefused(
                f"The usage service refused: {error.details()}", code=error.code().name
            ) from error


def _any_of(field: str, names: Collection[str], patterns: Collection[str] = ()) -> str:
    if not names or len(names) > NAMES_MAX:
        return ""
    quoted = (name.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*") for name in names)
    return " OR ".join(f'{field} = "{name}"' for name in (*sorted(quoted), *patterns))


def _tariff(price: pricing_model_pb2.Price) -> Tariff:
    return Tariff(
        price_id=price.price_id,
        resource_type=price.resource_type,
        meter=price.meter,
        currency_code=price.currency_code,
        model=TariffModel(pricing_model_pb2.PricingModel.Name(price.model)),
        tiers=[
            TariffTier(
                parse_decimal(tier.up_to) if tier.up_to else None,
                parse_decimal(tier.unit_price),
                parse_decimal(tier.flat_fee or "0"),
            )
            for tier in price.tiers
        ],
        provider=price.provider,
        service=price.service,
        region=price.region,
        resource_id=price.resource_id,
        per=parse_decimal(price.per_quantity or "1"),
        peak_schedule_id=price.peak_schedule_id,
        start_at=_optional(price, "effective_start_time"),
        end_at=_optional(price, "effective_end_time"),
    )


def _optional(price: pricing_model_pb2.Price, name: str) -> datetime | None:
    known: Any = price
    return to_instant(getattr(known, name)) if known.HasField(name) else None


def to_schedule(
    schedule: pricing_model_pb2.PeakSchedule, *, week: datetime, tz: ZoneInfo
) -> PeakSchedule:
    """Returns the multipliers of a schedule by the tenant's hours of the week.

    week: an instant of the week whose clocks tell how the schedule's zone and the tenant's lie.
    """
    own = zone(schedule.time_zone)
    monday = floor(week, Granularity.WEEK, tz)
    multipliers = {}
    for hour in range(HOURS_OF_WEEK):
        local = (monday + timedelta(hours=hour)).astimezone(own)
        minute = local.hour * 60 + local.minute
        for window in schedule.windows:
            is_day = local.weekday() + 1 in window.weekdays
            if is_day and _minutes(window.start) <= minute < _minutes(window.end):
                multipliers[hour] = Decimal(window.multiplier)
    return PeakSchedule(schedule.peak_schedule_id, multipliers)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _event(stored: usage_model_pb2.StoredUsageEvent) -> DetailedEvent:
    event, cost = stored.event, stored.cost
    subject = Subject(
        resource_type=event.resource_type,
        unit=event.unit,
        currency_code=cost.currency_code,
        user_id=event.user_id,
        department=stored.resolved_department,
        project=event.project,
        resource_id=event.resource_id,
        service=event.service,
        service_category=event.service_category,
        provider=event.provider,
        region=event.region,
        sub_account_id=event.sub_account_id,
        charge_category=event.charge_category,
        tags=tuple(sorted(event.tags.items())),
    )
    return DetailedEvent(
        start_at=to_instant(event.start_time),
        subject=subject,
        cost=parse_decimal(cost.billed or "0"),
        is_failed=event.outcome == usage_model_pb2.OUTCOME_FAILED,
        error_code=event.error_code,
        retries=event.retries,
        utilization=event.utilization if event.HasField("utilization") else None,
        capacity=parse_decimal(event.capacity) if event.HasField("capacity") else None,
    )

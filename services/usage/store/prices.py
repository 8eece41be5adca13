"""Prices and peak schedules as rows. The domain's tenant "" is the row's tenant `*`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from sys import intern
from typing import Any

from sqlalchemy import RowMapping, select

from services.kernel.database import Transaction
from services.kernel.money import format_decimal
from services.usage.domain.peak import PeakSchedule, PeakWindow
from services.usage.domain.price import ChargeOn, Price, PricingModel, Tier
from services.usage.domain.stateful_meter import MeterMonth
from services.usage.tables import GLOBAL_TENANT
from services.usage.tables import peak_schedule as schedule_table
from services.usage.tables import price as price_table

TIERS_KEPT = 4_096

# Locked in one order, so that two batches over the same prices cannot deadlock.
_LOCK_TOTALS = """
WITH made AS (
    INSERT INTO usage.price_month (tenant_id, price_id, month)
    SELECT $1, * FROM unnest($2::text[], $3::date[]) AS i(price_id, month)
    ON CONFLICT DO NOTHING
)
SELECT 1
"""

_READ_TOTALS = """
SELECT price_id, month, quantity FROM usage.price_month
WHERE tenant_id = $1 AND (price_id, month) IN (
    SELECT * FROM unnest($2::text[], $3::date[]) AS i(price_id, month))
ORDER BY price_id, month FOR UPDATE
"""

_ADD_TOTALS = """
UPDATE usage.price_month t SET quantity = t.quantity + i.quantity
FROM unnest($2::text[], $3::date[], $4::numeric[]) AS i(price_id, month, quantity)
WHERE t.tenant_id = $1 AND t.price_id = i.price_id AND t.month = i.month
"""


async def current_prices(tx: Transaction, tenant_id: str) -> list[Price]:
    """Returns the prices that stand now of one tenant, or of `*`."""
    # Streamed: thousands of rows at once take twice the memory of the prices.
    rows = tx.stream(
        select(price_table).where(
            price_table.c.tenant_id == tenant_id, price_table.c.superseded_at.is_(None)
        )
    )
    return [price_of(row._mapping) async for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


async def peak_schedules(tx: Transaction, tenant_id: str) -> list[PeakSchedule]:
    """Returns the peak schedules of one tenant, or of `*`."""
    rows = await tx.execute(select(schedule_table).where(schedule_table.c.tenant_id == tenant_id))
    return [schedule_of(row) for row in rows.mappings()]


def price_of(row: RowMapping) -> Price:
    """Builds the domain's price from a row."""
    return Price(
        price_id=row["price_id"],
        price_book_id=intern(row["price_book_id"]),
        tenant_id="" if row["tenant_id"] == GLOBAL_TENANT else row["tenant_id"],
        resource_type=intern(row["resource_type"]),
        meter=intern(row["meter"]),
        provider=intern(row["provider"]),
        service=intern(row["service"]),
        region=intern(row["region"]),
        resource_id=intern(row["resource_id"]),
        currency_code=intern(row["currency_code"]),
        model=PricingModel[row["model"]],
        tiers=tuple(_tier_of(tier) for tier in row["tiers"]),
        per=_decimal(format_decimal(row["per_quantity"])),
        effective_start_at=row["effective_start_at"],
        effective_end_at=row["effective_end_at"],
        peak_schedule_id=row["peak_schedule_id"],
        charge_on=ChargeOn[row["charge_on"]],
        threshold_meters=tuple(row["threshold_meters"]),
        time_zone=intern(row["time_zone"]),
        recorded_at=row["recorded_at"],
        superseded_at=row["superseded_at"],
    )


def price_row(price: Price) -> dict[str, Any]:
    """Builds the row of a price."""
    return {
        "tenant_id": price.tenant_id or GLOBAL_TENANT,
        "price_id": price.price_id,
        "price_book_id": price.price_book_id,
        "resource_type": price.resource_type,
        "meter": price.meter,
        "provider": price.provider,
        "service": price.service,
        "region": price.region,
        "resource_id": price.resource_id,
        "currency_code": price.currency_code,
        "model": price.model.name,
        "tiers": [_tier_row(tier) for tier in price.tiers],
        "per_quantity": price.per,
        "effective_start_at": price.effective_start_at,
        "effective_end_at": price.effective_end_at,
        "peak_schedule_id": price.peak_schedule_id,
        "charge_on": price.charge_on.name,
        "threshold_meters": list(price.threshold_meters),
        "time_zone": price.time_zone,
        "recorded_at": price.recorded_at,
        "superseded_at": price.superseded_at,
    }


def _tier_of(tier: Mapping[str, str | None]) -> Tier:
    return _tier(tier["up_to"], str(tier["unit_price"]), str(tier["flat_fee"]))


# Thousands of prices share a few hundred tiers.
@lru_cache(maxsize=TIERS_KEPT)
def _tier(up_to: str | None, unit_price: str, flat_fee: str) -> Tier:
    return Tier(
        up_to=None if up_to is None else Decimal(up_to),
        unit_price=Decimal(unit_price),
        flat_fee=Decimal(flat_fee),
    )


_decimal = lru_cache(maxsize=TIERS_KEPT)(Decimal)


def _tier_row(tier: Tier) -> dict[str, str | None]:
    return {
        "up_to": None if tier.up_to is None else format_decimal(tier.up_to),
        "unit_price": format_decimal(tier.unit_price),
        "flat_fee": format_decimal(tier.flat_fee),
    }


def schedule_of(row: RowMapping) -> PeakSchedule:
    """Builds the domain's peak schedule from a row."""
    return PeakSchedule(
        peak_schedule_id=row["peak_schedule_id"],
        time_zone=row["time_zone"],
        windows=tuple(
            PeakWindow(
                weekdays=frozenset(window["weekdays"]),
                start_minute=window["start_minute"],
                end_minute=window["end_minute"],
                multiplier=Decimal(window["multiplier"]),
            )
            for window in row["windows"]
        ),
        exception_dates=frozenset(row["exception_dates"]),
        display_name=row["display_name"],
    )


def schedule_row(tenant_id: str, schedule: PeakSchedule) -> dict[str, Any]:
    """Builds the row of a peak schedule."""
    return {
        "tenant_id": tenant_id or GLOBAL_TENANT,
        "peak_schedule_id": schedule.peak_schedule_id,
        "display_name": schedule.display_name or schedule.peak_schedule_id,
        "time_zone": schedule.time_zone,
        "windows": [
            {
                "weekdays": sorted(window.weekdays),
                "start_minute": window.start_minute,
                "end_minute": window.end_minute,
                "multiplier": format_decimal(window.multiplier),
            }
            for window in schedule.windows
        ],
        "exception_dates": sorted(schedule.exception_dates),
    }


async def lock_month_totals(
    tx: Transaction, tenant_id: str, meters: Iterable[MeterMonth]
) -> dict[MeterMonth, Decimal]:
    """Locks and returns the running quantities; those that are new are 0."""
    ordered = sorted(set(meters))
    price_ids, months = _arrays(ordered)
    await tx.driver.execute(_LOCK_TOTALS, tenant_id, price_ids, months)
    records = await tx.driver.fetch(_READ_TOTALS, tenant_id, price_ids, months)
    return {
        MeterMonth(record["price_id"], record["month"]): record["quantity"] for record in records
    }


async def add_month_totals(
    tx: Transaction, tenant_id: str, added: Mapping[MeterMonth, Decimal]
) -> None:
    """Adds quantities to running quantities that are locked."""
    if not added:
        return
    price_ids, months = _arrays(list(added))
    await tx.driver.execute(_ADD_TOTALS, tenant_id, price_ids, months, list(added.values()))


def _arrays(meters: Sequence[MeterMonth]) -> tuple[list[str], list[date]]:
    return [meter.price_id for meter in meters], [meter.month for meter in meters]

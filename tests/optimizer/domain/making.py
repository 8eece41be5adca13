"""Statistics for the detectors' tests, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from services.kernel.period import Period
from services.optimizer.domain.catalogue import Catalogue, InstanceType
from services.optimizer.domain.statistics import (
    Floats,
    Measure,
    Statistics,
    UsageSeries,
    UtilizationSamples,
)
from services.optimizer.domain.subject import Subject

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
DAYS = 56
HOURS = DAYS * 24


def series(number: int, cost: Floats, **attributes: Any) -> UsageSeries:
    """Returns a series of hourly costs, exact to a ten-thousandth.

    quantity: hourly, default 1 in hours with cost. events: an hour. failed: in all.
    """
    quantity = np.asarray(attributes.pop("quantity", (cost > 0) * 1.0), dtype=float)
    events = np.asarray(attributes.pop("events", (cost > 0) * 1.0), dtype=float)
    failed = int(attributes.pop("failed", 0))
    known = {"resource_type": "vm", "unit": "hour", "currency_code": "USD"} | attributes
    tags = known.pop("tags", {})
    grid = np.zeros((len(Measure), cost.size))
    grid[Measure.COST], grid[Measure.QUANTITY], grid[Measure.EVENTS] = cost, quantity, events
    return UsageSeries(
        series_id=number,
        subject=Subject(**known, tags=tuple(sorted(tags.items()))),
        cost=Decimal(str(round(float(cost.sum()), 4))),
        quantity=Decimal(str(round(float(quantity.sum()), 4))),
        events=int(events.sum()),
        failed_events=failed,
        hours=grid,
    )


def samples(name: str, ratios: Floats, *, measure: str = "cpu") -> UtilizationSamples:
    """Returns a sample an hour."""
    hours = np.arange(ratios.size, dtype=float)
    return UtilizationSamples(name, measure, hours, ratios, Decimal(8), "core")


def statistics(found: Sequence[UsageSeries], **changed: Any) -> Statistics:
    """Returns the statistics of eight weeks."""
    period = Period(START, START + timedelta(days=DAYS))
    plain: dict[str, Any] = {"tz": ZoneInfo("UTC"), "currency_code": "USD"}
    return Statistics(period=period, series=found, **(plain | changed))


def machine_type(name: str, size: int, price: str, **changed: Any) -> InstanceType:
    """Returns a type of `size` CPUs and four times as many GiB."""
    plain: dict[str, Any] = {
        "family": name.partition(".")[0],
        "provider": "acme",
        "region": "eu",
        "vcpus": Decimal(size),
        "memory_gib": Decimal(size * 4),
        "hourly_price": Decimal(price),
        "currency_code": "USD",
    }
    return InstanceType(name=name, **(plain | changed))


CATALOGUE = Catalogue(
    [
        machine_type("m.xl", 8, "0.4", reserved_hourly_price=Decimal("0.26")),
        machine_type("m.l", 4, "0.2", reserved_hourly_price=Decimal("0.13")),
        machine_type("m.m", 2, "0.1", reserved_hourly_price=Decimal("0.065")),
        machine_type("m.xl", 8, "0.3", region="north"),
    ]
)


def weekday_hours() -> tuple[Floats, Floats]:
    """Returns the weekday, 0 for Monday, and the hour of the day of each hour."""
    hours = np.arange(HOURS, dtype=np.float64)
    return (hours // 24) % 7, hours % 24

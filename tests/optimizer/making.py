"""Usage for the optimizer's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from finops.usage.v1.usage_model_pb2 import UsageCost, UsageEvent
from google.protobuf.timestamp_pb2 import Timestamp

TOLD_TIMES: dict[str, int] = {}  # events recorded so far, by tenant
START = datetime(2026, 1, 17, tzinfo=UTC)  # a Saturday, 59 days before the tests' now
DAYS = 59

CATALOGUE = b"""instance_type,provider,region,vcpus,memory_gib,hourly_price,reserved_hourly_price
big.2xlarge,acme-cloud,eu,8,32,0.4,0.28
big.xlarge,acme-cloud,eu,4,16,0.2,0.14
big.large,acme-cloud,eu,2,8,0.1,0.07
big.2xlarge,acme-cloud,north,8,32,0.3,
"""
FACTORS = b"""provider,region,factor,source
acme-cloud,eu,0.4,Example grid report 2025
acme-cloud,north,0.03,Example grid report 2025
"""


def instant(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC))
    return stamp


def machine_hours(
    name: str,
    use: Callable[[datetime], float],
    *,
    price: str = "0.4",
    measure: str = "cpu",
    start: datetime = START,
    days: int = DAYS,
    kind: str = "big.2xlarge",
    currency: str = "USD",
    tags: dict[str, str] | None = None,
) -> Iterator[UsageEvent]:
    """Yields an event an hour; a measure beside the CPU costs nothing."""
    is_main = measure == "cpu"
    for hour in range(days * 24):
        at = start + timedelta(hours=hour)
        yield UsageEvent(
            event_id=f"{name}-{measure}-{currency}-{at:%Y%m%d%H}",
            source="test",
            start_time=instant(at),
            resource_type="vm",
            resource_id=name,
            provider="acme-cloud",
            region="eu",
            service="compute",
            department="labs",
            quantity="1" if is_main else "0",
            unit="hour" if is_main else "sample",
            cost=UsageCost(currency_code=currency, billed=price if is_main else "0"),
            tags={"instance_type": kind, "measure": measure, **(tags or {})},
            utilization=use(at),
            capacity="8" if is_main else "32",
        )

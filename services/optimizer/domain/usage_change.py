"""What the usage service tells: changes of cost, events in detail, tenants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.optimizer.domain.subject import Subject


class UsageChange(NamedTuple):
    """What one transaction changed in one hour of one subject; negative for reversals."""

    hour_at: datetime
    series_id: int
    subject: Subject
    cost: Decimal
    quantity: Decimal
    events: int
    failed_events: int
    retries: int
    utilization_samples: int

    @property
    def has_details(self) -> bool:
        """Whether the events behind it say more than sums can."""
        return bool(self.failed_events or self.retries or self.utilization_samples)


class DetailedEvent(NamedTuple):
    """One event with a failure, a repeat or a sample. utilization: a share, None without one."""

    start_at: datetime
    subject: Subject
    cost: Decimal
    is_failed: bool
    error_code: str
    retries: int
    utilization: float | None
    capacity: Decimal | None

    @property
    def measure(self) -> str:
        """What a sample measures: the tag `measure`, else `gpu` for GPU resources, else `cpu`."""
        named = self.subject.tag("measure").lower()
        if named in ("cpu", "memory", "gpu"):
            return named
        return "gpu" if "gpu" in self.subject.resource_type.lower() else "cpu"


@dataclass(frozen=True, slots=True)
class TenantProfile:
    """In what zone and currency a tenant is told its figures."""

    tenant_id: str
    tz: ZoneInfo
    currency_code: str

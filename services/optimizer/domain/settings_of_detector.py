"""What an owner may set of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.optimizer.domain.finding import Kind

SCHEDULE_DEFAULT = "0 3 * * *"  # every night in the tenant's zone
SCHEDULE_OFF = "off"
CONFIDENCE_MIN = Decimal("0.5")
SAVING_MIN = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """Settings of one detector for one tenant. saving_min: a month, of the tenant's currency."""

    detector_id: str
    is_disabled: bool = False
    headroom: Decimal = Decimal("0.2")
    saving_min: Decimal = SAVING_MIN
    confidence_min: Decimal = CONFIDENCE_MIN
    history_days_min: int = 7
    excluded_resource_ids: Sequence[str] = ()
    schedule: str = SCHEDULE_DEFAULT

    def excludes(self, resource_id: str) -> bool:
        """Tells whether a resource is to be left alone."""
        return resource_id in self.excluded_resource_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorProfile:
    """What a detector is. history_days: the least it needs. headroom: what it leaves free."""

    detector_id: str
    kinds: Sequence[Kind]
    description: str
    history_days: int = 7
    headroom: Decimal = Decimal(0)

    def defaults(self) -> DetectorSettings:
        """Returns its settings until somebody changes them."""
        return DetectorSettings(
            detector_id=self.detector_id,
            headroom=self.headroom,
            history_days_min=self.history_days,
        )

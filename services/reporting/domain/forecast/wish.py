"""What a caller asks of a forecast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from zoneinfo import ZoneInfo

from services.kernel.errors import FieldViolations
from services.kernel.period import Granularity, Period, floor

HORIZON_DAYS = 30
HISTORY_DAYS = {
    Granularity.HOUR: 90,
    Granularity.DAY: 730,
    Granularity.WEEK: 1_095,
    Granularity.MONTH: 1_825,
}
MEASURES = ("cost", "quantity")


def history_of(end: datetime, step: Granularity, tz: ZoneInfo) -> Period:
    """Returns the history that a forecast is made from by default. end: of its last step."""
    return Period(floor(end - timedelta(days=HISTORY_DAYS[step]), step, tz), end)


class WhatIfKind(Enum):
    """What is assumed to change."""

    GROWTH = 1
    PRICE = 2
    LAUNCH = 3
    END = 4


@dataclass(frozen=True, slots=True)
class WhatIf:
    """An assumed change. start: as the caller wrote it; empty is from the first step on."""

    kind: WhatIfKind
    filter: str = ""
    change_ratio: Decimal = Decimal(0)
    monthly_amount: Decimal = Decimal(0)
    monthly_currency: str = ""
    ramp_days: int = 0
    start: str = ""


@dataclass(frozen=True, slots=True)
class ForecastWish:
    """A question to Forecast, defaults filled in but for those that need the tenant.

    currency_code: empty is the tenant's. history_start, history_end: as written, or empty.
    """

    tenant_id: str
    horizon_days: int = HORIZON_DAYS
    measure: str = "cost"
    cost_type: str = "billed"
    filter: str = ""
    group_by: tuple[str, ...] = ()
    granularity: Granularity = Granularity.DAY
    model: str = "auto"
    levels: tuple[Decimal, ...] = (Decimal("0.8"), Decimal("0.95"))
    history_start: str = ""
    history_end: str = ""
    budget_id: str = ""
    currency_code: str = ""
    what_ifs: tuple[WhatIf, ...] = ()

    def __post_init__(self) -> None:
        """Raises FieldViolations naming what does not go together."""
        violations = []
        if any(not 0 < level < 1 for level in self.levels):
            violations.append(("confidence_ratios", "must lie between 0 and 1, without both"))
        if self.what_ifs and self.group_by:
            violations.append(("what_ifs", "change the total; ask without group_by"))
        if self.budget_id and self.measure != "cost":
            violations.append(("budget_id", "a budget needs the measure cost"))
        for place, each in enumerate(self.what_ifs):
            if each.change_ratio <= -1:
                violations.append((f"what_ifs[{place}].change_ratio", "must be above -1"))
            if each.kind is WhatIfKind.LAUNCH and self.measure != "cost":
                violations.append((f"what_ifs[{place}]", "a launch needs the measure cost"))
            if each.kind is WhatIfKind.LAUNCH and each.monthly_amount <= 0:
                violations.append((f"what_ifs[{place}].monthly_amount", "is required"))
        if violations:
            raise FieldViolations(violations)

    @property
    def is_recorded(self) -> bool:
        """Whether the answer is kept to be compared with what comes: a plain cost forecast."""
        return (
            self.measure == "cost"
            and self.model == "auto"
            and self.granularity is Granularity.DAY
            and not (self.group_by or self.what_ifs or self.history_start or self.history_end)
        )

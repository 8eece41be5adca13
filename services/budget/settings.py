"""What the budget service reads from its environment beside the kernel's settings."""

from __future__ import annotations

from pydantic import PositiveInt

from services.kernel.settings import ServiceSettings


class BudgetSettings(ServiceSettings):
    """Bounds of the budget service; prefix `FINOPS_`."""

    # How long consumers may lag behind the change feed before they must start from the lists.
    feed_retention_days: PositiveInt = 35

"""What the budget service reads from its environment beside the kernel's settings."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from services.kernel.money import Money, parse_decimal
from services.kernel.settings import ServiceSettings


class BudgetSettings(ServiceSettings):
    """Bounds of the budget service; prefix `FINOPS_`."""

    # How long consumers may lag behind the change feed before they must start from the lists.
    feed_retention_days: PositiveInt = 35
    # What is held, as `1.50 USD`, for work that neither price nor history is known of. Empty: such
    # work is unpriced, and each budget's policy says what then.
    default_hold: str = Field(default="", pattern=r"^([0-9]{1,12}(\.[0-9]{1,18})? [A-Z]{3})?$")


def read_money(text: str) -> Money | None:
    """Returns the money of a setting such as `1.50 USD`; None for the empty text."""
    amount, _, code = text.partition(" ")
    return Money(code, parse_decimal(amount)) if text else None

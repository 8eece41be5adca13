"""What the billing service reads from its environment beside the kernel's settings."""

from __future__ import annotations

from pydantic import PositiveInt

from services.kernel.settings import ServiceSettings


class BillingSettings(ServiceSettings):
    """Bounds of the billing service; prefix `FINOPS_`."""

    # How long consumers may lag behind the billing feed before they must start from the lists.
    feed_retention_days: PositiveInt = 35

    # Another address than Stripe's own, for tests and for a proxy; keys go there, so never plain
    # HTTP beyond this machine.
    stripe_address: str | None = None
    # Live keys are taken only where it is said that real money is meant.
    allow_live_keys: bool = False

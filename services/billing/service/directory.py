"""What billing asks the usage service about a tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TenantProfile:
    """A tenant's own zone and currency, which its accounts take by default."""

    time_zone: str = "UTC"
    currency_code: str = "USD"


class TenantDirectory(Protocol):
    """Knows tenants; the usage service, at the process edge."""

    async def profile(self, tenant_id: str) -> TenantProfile:
        """Returns a tenant's profile, the default one where nothing is known of it."""

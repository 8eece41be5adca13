"""What estimates ask the usage service about prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.budget.domain.price_list import ListedPrice


class UsagePrices(Protocol):
    """Asks the usage service; never inside a transaction."""

    async def prices(self, tenant_id: str, resource_type: str) -> Sequence[ListedPrice]:
        """Returns the prices that hold for a tenant's resource type, its own and the global ones.

        Raises PeerUnavailable, PeerTimeout.
        """

"""A tenant: an organisation whose usage, prices and costs are its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from services.kernel.period import zone

TIME_ZONE_DEFAULT = "UTC"
CURRENCY_DEFAULT = "USD"
_ETAG_BYTES = 12  # two contents of one tenant never share a hash of 96 bits


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant's settings. time_zone: IANA. created_at: None for one that is not stored yet.

    Raises UnknownTimeZone.
    """

    tenant_id: str
    display_name: str
    time_zone: str = TIME_ZONE_DEFAULT
    currency_code: str = CURRENCY_DEFAULT
    created_at: datetime | None = None

    def __post_init__(self) -> None:
        zone(self.time_zone)

    @property
    def etag(self) -> str:
        """A text that differs with every change of what callers can set.

        Of the content, not of `usage.tenant.revision`: that also counts changes of departments,
        users and rules, which are no reason to refuse an update.
        """
        content = json.dumps([self.display_name, self.time_zone, self.currency_code])
        return hashlib.blake2b(content.encode(), digest_size=_ETAG_BYTES).hexdigest()

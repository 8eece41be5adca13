"""A usage event: what was used, by whom, when, how it ended and what it cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

SOURCE_LENGTH_MAX = 128
EVENT_ID_LENGTH_MAX = 256
ATTRIBUTE_LENGTH_MAX = 512  # FOCUS resource ids of Azure reach 300
TAGS_MAX = 64  # AWS allows 50 user tags and adds its own
TAG_KEY_LENGTH_MAX = 256
TAG_VALUE_LENGTH_MAX = 1024
COMPONENTS_MAX = 16
UTILIZATION_MAX = 10  # of the capacity; what is beyond is a percentage taken for a share


class Outcome(IntEnum):
    """How the metered work ended. Only SUCCEEDED work is charged when it is rated here."""

    SUCCEEDED = 1
    FAILED = 2
    PENDING = 3


# NamedTuples here and below, not frozen dataclasses: built positionally they cost a fifth of the
# time, and ingest builds one an event. Their callers, `convert` and the importers, validate.
class Attributes(NamedTuple):
    """Everything cost can be grouped by; "" where unknown. One combination is one stored dimension.

    unit: of the quantity, for example `token` or `gb_hour`. tags: sorted by key, keys unique.
    service_category, sub_account_id, charge_category: as FOCUS defines them.
    """

    resource_type: str
    unit: str
    currency_code: str
    user_id: str = ""
    department: str = ""
    project: str = ""
    resource_id: str = ""
    service: str = ""
    service_category: str = ""
    provider: str = ""
    region: str = ""
    sub_account_id: str = ""
    charge_category: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def persons(self) -> tuple[str, ...]:
        """What may name somebody: the user, and any tag."""
        return (self.user_id, *(value for _, value in self.tags))


class Costs(NamedTuple):
    """The four costs of FOCUS, each exact, in the attributes' currency."""

    billed: Decimal
    effective: Decimal
    list: Decimal
    contracted: Decimal


class UsageEvent(NamedTuple):
    """One event as a caller reported it.

    start_at, end_at: aware UTC, half-open, start <= end; an instant has both equal.
    quantity: in `attributes.unit`, >= 0 unless `cost` is given (bills hold corrections).
    components: (meter, quantity) pairs that prices apply to; empty means the unit is the meter.
    cost: what was already billed elsewhere; None means the event is rated here.
    latency_ms: >= 0 or None. utilization: share in [0, UTILIZATION_MAX], above 1 where a sample
    passes capacity, or None. capacity: in unit, or None.
    bill_columns: what a bill's row says beyond that, a JSON object of texts, "" for other usage.
    """

    source: str
    event_id: str
    start_at: datetime
    end_at: datetime
    attributes: Attributes
    quantity: Decimal
    components: tuple[tuple[str, Decimal], ...] = ()
    cost: Costs | None = None
    outcome: Outcome = Outcome.SUCCEEDED
    error_code: str = ""
    retries: int = 0
    latency_ms: int | None = None
    capacity: Decimal | None = None
    utilization: float | None = None
    bill_columns: str = ""

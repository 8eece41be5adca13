"""What the billing service refuses about usage: where it is billed, and by whom."""

from __future__ import annotations

from services.kernel.errors import FailedPrecondition, NotFound


class MeterRouteOpen(FailedPrecondition):
    """A provider's meters still price usage; end their routes before the provider is changed."""

    reason = "METER_ROUTE_OPEN"


class UsageEventUnknown(NotFound):
    """There is no usage event of this source and id; `finops usage` lists both."""

    reason = "USAGE_EVENT_UNKNOWN"

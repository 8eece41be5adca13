"""What the usage service refuses, each with its reason."""

from __future__ import annotations

from services.kernel.database_errors import TransactionConflict
from services.kernel.errors import FailedPrecondition, NotFound


class BatchRaced(TransactionConflict):
    """Another batch stored one of these events at the same time; send the batch again."""

    reason = "BATCH_RACED"


class UsageEventNotFound(NotFound):
    """No usage event with this source and id is stored for the tenant."""

    reason = "USAGE_EVENT_NOT_FOUND"


class TenantNotFound(NotFound):
    """The tenant does not exist."""

    reason = "TENANT_NOT_FOUND"


class TimeZoneInUse(FailedPrecondition):
    """A tenant's time zone can change only before its first usage is recorded."""

    reason = "TIME_ZONE_IN_USE"

"""What the usage service refuses, each with its reason."""

from __future__ import annotations

from services.kernel.database_errors import TransactionConflict
from services.kernel.errors import FailedPrecondition, InvalidArgument, NotFound


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


class TooManyGroups(InvalidArgument):
    """The question has more groups than one answer holds; narrow its period, filter or grouping."""

    reason = "TOO_MANY_GROUPS"


class BatchSize(InvalidArgument):
    """A batch has 1 to 10,000 events; split it."""

    reason = "BATCH_SIZE"


class ImportNotFound(NotFound):
    """No import with this id exists for the tenant."""

    reason = "IMPORT_NOT_FOUND"

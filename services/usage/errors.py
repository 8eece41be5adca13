"""What the usage service refuses, each with its reason."""

from __future__ import annotations

from services.kernel.database_errors import TransactionConflict
from services.kernel.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)


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


class TenantExists(AlreadyExists):
    """A tenant with this id exists already; change it instead."""

    reason = "TENANT_EXISTS"


class TenantChanged(Aborted):
    """The tenant was changed after it was read; read it again and repeat the change."""

    reason = "TENANT_CHANGED"


class DepartmentExists(AlreadyExists):
    """A department with this id exists already; change it instead."""

    reason = "DEPARTMENT_EXISTS"


class DepartmentHasChildren(FailedPrecondition):
    """The department has others below it; move them below another or delete them first."""

    reason = "DEPARTMENT_HAS_CHILDREN"


class DepartmentHasUsers(FailedPrecondition):
    """The department has users; move them to another department first."""

    reason = "DEPARTMENT_HAS_USERS"


class UserExists(AlreadyExists):
    """A user with this id exists already; change it instead."""

    reason = "USER_EXISTS"


class UserHasReports(FailedPrecondition):
    """The user manages others; give them another manager first."""

    reason = "USER_HAS_REPORTS"


class UnknownRole(InvalidArgument):
    """A key can have only the roles that persons have."""

    reason = "UNKNOWN_ROLE"


class KeyAboveCaller(PermissionDenied):
    """A key may do nothing that its maker may not; leave out what you do not hold yourself."""

    reason = "KEY_ABOVE_CALLER"


class ScopeOutsideRoles(InvalidArgument):
    """A scope narrows the key's roles, so they have to hold it."""

    reason = "SCOPE_OUTSIDE_ROLES"


class ExpiryNotInFuture(InvalidArgument):
    """A key ends in the future; choose a later expire_time, or none for a key that never ends."""

    reason = "EXPIRY_NOT_IN_FUTURE"


class ApiKeyNotFound(NotFound):
    """No API key with this id exists for the tenant."""

    reason = "API_KEY_NOT_FOUND"


class ApiKeyRevoked(FailedPrecondition):
    """The API key is revoked already; nothing is left to do."""

    reason = "API_KEY_REVOKED"


class ServicesOnly(PermissionDenied):
    """Only services may ask this."""

    reason = "SERVICES_ONLY"


class ReplacementMismatch(InvalidArgument):
    """A replacement has the source and id of the event that it replaces."""

    reason = "REPLACEMENT_MISMATCH"


class ArchiveIncomplete(FailedPrecondition):
    """The archive file does not hold every event; nothing was dropped, look at the disk."""

    reason = "ARCHIVE_INCOMPLETE"


class PriceBookNotFound(NotFound):
    """No price book with this id exists for the tenant or for everybody."""

    reason = "PRICE_BOOK_NOT_FOUND"


class PriceBookExists(AlreadyExists):
    """A price book with this id exists already; add prices to it instead."""

    reason = "PRICE_BOOK_EXISTS"


class PriceBookHasPrices(FailedPrecondition):
    """The price book has prices, current or past, that explain recorded cost; it stays."""

    reason = "PRICE_BOOK_HAS_PRICES"


class PriceNotFound(NotFound):
    """No price with this id exists for the tenant or for everybody."""

    reason = "PRICE_NOT_FOUND"


class PriceExists(AlreadyExists):
    """A price with this id exists already; end it and create another."""

    reason = "PRICE_EXISTS"


class PeakScheduleNotFound(NotFound):
    """No peak schedule with this id exists for the owner of the price."""

    reason = "PEAK_SCHEDULE_NOT_FOUND"


class PeakScheduleExists(AlreadyExists):
    """A peak schedule with this id exists already; change it instead."""

    reason = "PEAK_SCHEDULE_EXISTS"


class PeakScheduleInUse(FailedPrecondition):
    """Prices use this peak schedule, so it explains recorded cost; create another one instead."""

    reason = "PEAK_SCHEDULE_IN_USE"


class PlatformAdminsOnly(PermissionDenied):
    """What holds for every tenant is changed by platform admins only."""

    reason = "PLATFORM_ADMINS_ONLY"


class AllocationRuleNotFound(NotFound):
    """No allocation rule with this id exists for the tenant."""

    reason = "ALLOCATION_RULE_NOT_FOUND"


class AllocationRuleExists(AlreadyExists):
    """An allocation rule with this id exists already; change it instead."""

    reason = "ALLOCATION_RULE_EXISTS"


class UsageArchived(FailedPrecondition):
    """Events of this period are archived; begin after those months, or ask for costs instead."""

    reason = "USAGE_ARCHIVED"


class BulkReadersBusy(ResourceExhausted):
    """Others read in bulk, or one more call of the tenant does; try again in half a minute."""

    reason = "BULK_READERS_BUSY"

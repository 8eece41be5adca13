"""What reporting refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
)


class NoHistory(FailedPrecondition):
    """There is no usage to forecast from; record some, or widen filter and history."""

    reason = "NO_HISTORY"


class UsageQuestionRefused(InvalidArgument):
    """The usage service refused the question; the text says why."""

    reason = "USAGE_QUESTION_REFUSED"


class CostsKeepChanging(Aborted):
    """Usage keeps coming in while its cost is read page by page; ask for less, or later."""

    reason = "COSTS_KEEP_CHANGING"


class OptimizerRefused(InvalidArgument):
    """The optimizer refused the question; the text says why."""

    reason = "OPTIMIZER_REFUSED"


class BudgetsNotConnected(FailedPrecondition):
    """No budget service is connected; ask without budget_id, or add it to FINOPS_PEERS."""

    reason = "BUDGETS_NOT_CONNECTED"


class BudgetRefused(InvalidArgument):
    """The budget service refused the budget; the text says why."""

    reason = "BUDGET_REFUSED"


class TooManyGroups(InvalidArgument):
    """A forecast has at most 1,000 groups; narrow the filter or group by less."""

    reason = "TOO_MANY_FORECAST_GROUPS"


class MixedUnits(InvalidArgument):
    """Quantities of several units do not add up; filter to one resource_type or unit."""

    reason = "MIXED_FORECAST_UNITS"


class InvalidForecastInstant(InvalidArgument):
    """A time is RFC 3339 such as 2026-03-01T00:00:00Z, or a date such as 2026-03-01."""

    reason = "INVALID_FORECAST_INSTANT"


class AnomalyNotFound(NotFound):
    """There is no such anomaly; list them to find its id."""

    reason = "ANOMALY_NOT_FOUND"


class CostHistoryExpired(OutOfRange):
    """Cost changes after this service's position are no longer kept; start its schema anew."""

    reason = "COST_HISTORY_EXPIRED"


class FileGone(NotFound):
    """The file is not there any more; make it again."""

    reason = "FILE_GONE"


class LinkRefused(PermissionDenied):
    """The link is not valid any more, or was changed; ask for a new one."""

    reason = "LINK_REFUSED"


class ReportNotFound(NotFound):
    """There is no such report; list them to find its id."""

    reason = "REPORT_NOT_FOUND"


class ReportNotDone(FailedPrecondition):
    """The report has no content now: it is being made, it failed, or its files are past."""

    reason = "REPORT_NOT_DONE"


class ReportFormatNotMade(FailedPrecondition):
    """The report was not made in this format; ask for one of its formats, or create it anew."""

    reason = "REPORT_FORMAT_NOT_MADE"


class ExportTooLarge(FailedPrecondition):
    """The format does not hold so many rows; narrow the export, or take csv or parquet."""

    reason = "EXPORT_TOO_LARGE"


class ExportNotFound(NotFound):
    """There is no such export; list them to find its id."""

    reason = "EXPORT_NOT_FOUND"


class ServiceNotConnected(FailedPrecondition):
    """The service that has this dataset is not connected; add it to FINOPS_PEERS."""

    reason = "SERVICE_NOT_CONNECTED"


class InvoicesRefused(InvalidArgument):
    """The billing service refused the question for invoices; the text says why."""

    reason = "INVOICES_REFUSED"


class ScheduleNotFound(NotFound):
    """There is no such report schedule; list them to find its id."""

    reason = "REPORT_SCHEDULE_NOT_FOUND"


class ScheduleChanged(Aborted):
    """The report schedule was changed meanwhile; read it again."""

    reason = "REPORT_SCHEDULE_CHANGED"


class NotificationsNotConnected(FailedPrecondition):
    """Reports are sent by the budget service; add it to FINOPS_PEERS, or name no recipients."""

    reason = "NOTIFICATIONS_NOT_CONNECTED"


class NoticeRefused(InvalidArgument):
    """The budget service refused the notification; the text says why."""

    reason = "NOTICE_REFUSED"


class ChartNotFound(NotFound):
    """There is no such chart; list them to find its name."""

    reason = "CHART_NOT_FOUND"

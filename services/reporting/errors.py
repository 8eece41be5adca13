"""What reporting refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)


class NoHistory(FailedPrecondition):
    """There is no usage to forecast from; record some, or widen filter and history."""

    reason = "NO_HISTORY"


class UsageQuestionRefused(InvalidArgument):
    """The usage service refused the question; the text says why."""

    reason = "USAGE_QUESTION_REFUSED"


class UsageBusy(Unavailable):
    """The usage service reads as much in bulk as it can already; try again in half a minute."""

    reason = "USAGE_BUSY"


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


class ChartBudgetNotFound(NotFound):
    """There is no such active budget; list budgets to find its id."""

    reason = "CHART_BUDGET_NOT_FOUND"


class AuditQuestionRefused(InvalidArgument):
    """A service refused the question for its audit log; the text says why."""

    reason = "AUDIT_QUESTION_REFUSED"


class RecordsRefused(InvalidArgument):
    """A service refused what was asked of its records; the text says why."""

    reason = "RECORDS_REFUSED"


class UnknownService(InvalidArgument):
    """There is no such service here; the metadata names those that are connected."""

    reason = "UNKNOWN_SERVICE"


class ComplianceReportTooLarge(FailedPrecondition):
    """The period has more audit entries than one report reads; ask for a shorter one."""

    reason = "COMPLIANCE_REPORT_TOO_LARGE"


class SubjectCaseNotFound(NotFound):
    """There is no such case; list them to find its id."""

    reason = "SUBJECT_CASE_NOT_FOUND"


class SubjectDataNotReady(FailedPrecondition):
    """The case has no content now: it is no collection, not done, or its file is past."""

    reason = "SUBJECT_DATA_NOT_READY"


class SubjectNamedInReason(InvalidArgument):
    """The reason stays with the case, so it must not name the person; cite the request instead."""

    reason = "SUBJECT_NAMED_IN_REASON"


class TooManySubjectCases(ResourceExhausted):
    """So many cases of the tenant are under way already; wait for one of them."""

    reason = "TOO_MANY_SUBJECT_CASES"


class RetentionPolicyNotFound(NotFound):
    """There is no such retention policy; list them to find its id."""

    reason = "RETENTION_POLICY_NOT_FOUND"


class RetentionPolicyExists(AlreadyExists):
    """The collection has a policy with this filter; update that one."""

    reason = "RETENTION_POLICY_EXISTS"


class RetentionPolicyChanged(Aborted):
    """The retention policy was changed meanwhile; read it again."""

    reason = "RETENTION_POLICY_CHANGED"


class UnknownCollection(InvalidArgument):
    """There is no such record collection; list them to find its name."""

    reason = "UNKNOWN_COLLECTION"


class RetentionDaysTooFew(FailedPrecondition):
    """Records of this collection must stay longer; the metadata has the fewest days."""

    reason = "RETENTION_DAYS_TOO_FEW"


class RetentionRunNotFound(NotFound):
    """There is no such removal; list them to find its id."""

    reason = "RETENTION_RUN_NOT_FOUND"


class LegalHoldNotFound(NotFound):
    """There is no such legal hold; list them to find its id."""

    reason = "LEGAL_HOLD_NOT_FOUND"


class LegalHoldReleased(FailedPrecondition):
    """The legal hold has ended already; create another one."""

    reason = "LEGAL_HOLD_RELEASED"


class RemovalUnderWay(Aborted):
    """Records that the hold would keep are being removed at this moment; try again shortly."""

    reason = "REMOVAL_UNDER_WAY"


class RecordsKeepComing(FailedPrecondition):
    """Services still get records of the person; stop their source, and the erasure goes on."""

    reason = "RECORDS_KEEP_COMING"


class AnomalySettingsChanged(Aborted):
    """The anomaly settings were changed meanwhile; read them again."""

    reason = "ANOMALY_SETTINGS_CHANGED"


class MaintenanceWindowNotFound(NotFound):
    """There is no such maintenance window; list them to find its id."""

    reason = "MAINTENANCE_WINDOW_NOT_FOUND"


class TooManyAnomalyEvents(FailedPrecondition):
    """The anomaly has too many events to be ordered; list usage by its period instead."""

    reason = "TOO_MANY_ANOMALY_EVENTS"

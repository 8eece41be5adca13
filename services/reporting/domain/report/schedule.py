"""When a report is made by itself, and who gets it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.reporting.domain.report.report import ReportWish


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSchedule:
    """A schedule. cron: five fields, in its zone. period_kind: of the last full period it is about.

    recipients: mail addresses. channel_ids: of the budget service. next_run_at: None while it is
    disabled. version: counts changes.
    """

    tenant_id: str
    schedule_id: str
    display_name: str
    wish: ReportWish
    cron: str
    time_zone: str
    period_kind: str = "month"
    recipients: tuple[str, ...] = ()
    channel_ids: tuple[str, ...] = ()
    disabled: bool = False
    next_run_at: datetime | None = None
    last_run_at: datetime | None = None
    last_report_id: str = ""
    version: int = 1
    created_at: datetime | None = None

    @property
    def etag(self) -> str:
        """Its version as callers see it."""
        return f"v{self.version}"

    @property
    def resource(self) -> str:
        """Its name in audit entries."""
        return f"report-schedules/{self.schedule_id}"

    @property
    def is_sent(self) -> bool:
        """Whether anybody gets its reports."""
        return bool(self.recipients or self.channel_ids)

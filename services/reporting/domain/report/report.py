"""A report that was asked for, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from services.kernel.period import Period


class ReportKind(IntEnum):
    """What a report is about; the contract's numbers."""

    EXECUTIVE = 1
    OPERATIONAL = 2
    FORECAST = 3
    CHARGEBACK = 4
    VARIANCE = 5
    UNIT_ECONOMICS = 6


class ReportFormat(IntEnum):
    """A form of a report; the contract's numbers."""

    HTML = 1
    PDF = 2
    XLSX = 3
    CSV = 4


class JobState(IntEnum):
    """How far a report is; the contract's numbers."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    EXPIRED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWish:
    """What a report shall be about.

    title: empty is made from kind and period. group_by: empty is as the kind needs.
    currency_code: empty is the tenant's. locale: BCP 47. theme: `light` or `dark`.
    """

    kind: ReportKind
    title: str = ""
    filter: str = ""
    group_by: tuple[str, ...] = ()
    currency_code: str = ""
    formats: tuple[ReportFormat, ...] = (ReportFormat.HTML, ReportFormat.PDF)
    locale: str = "en"
    theme: str = "light"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report. Its time zone is the one in which its days are cut.

    done_units, total_units: sections and files finished, and to make. error: empty unless it
    failed. content_hash: SHA-256 of its first format, hexadecimal; empty before it is done.
    """

    tenant_id: str
    report_id: str
    wish: ReportWish
    title: str
    period: Period
    time_zone: str
    state: JobState
    author: str
    created_at: datetime
    expires_at: datetime
    schedule_id: str = ""
    done_units: int = 0
    total_units: int = 0
    message: str = ""
    updated_at: datetime | None = None
    error: str = ""
    content_hash: str = ""
    ended_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it but that its files go."""
        return self.state not in (JobState.PENDING, JobState.RUNNING)

    @property
    def resource(self) -> str:
        """Its name in audit entries."""
        return f"reports/{self.report_id}"

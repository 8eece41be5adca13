"""Exports: what can be asked for, what a table's columns hold, and how far an export is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from services.kernel.errors import InvalidArgument
from services.kernel.period import Period
from services.reporting.domain.report.report import JobState


class ExportOptionRefused(InvalidArgument):
    """The export takes no such option; leave it out, or choose another dataset or format."""

    reason = "EXPORT_OPTION_REFUSED"


class Dataset(StrEnum):
    """What can be exported, by the contract's names."""

    COSTS = "costs"
    USAGE = "usage"
    BUDGETS = "budgets"
    INVOICES = "invoices"
    RECOMMENDATIONS = "recommendations"
    ANOMALIES = "anomalies"


class ExportFormat(StrEnum):
    """How it is written, by the contract's names."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"
    JSON = "json"
    PDF = "pdf"
    FOCUS = "focus"


class Kind(StrEnum):
    """What a column holds. AMOUNT: decimal text, exact. JSON: text that is JSON."""

    TEXT = "text"
    AMOUNT = "amount"
    INSTANT = "instant"
    COUNT = "count"
    NUMBER = "number"
    FLAG = "flag"
    JSON = "json"


class Column(NamedTuple):
    """One column of a table."""

    name: str
    kind: Kind = Kind.TEXT


MEDIA_TYPES: Final = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.FOCUS: "text/csv; charset=utf-8",
    ExportFormat.JSON: "application/json",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
    ExportFormat.PDF: "application/pdf",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# What a caller must be allowed to read beside exporting.
PERMISSIONS: Final = {
    Dataset.COSTS: "costs.read",
    Dataset.USAGE: "usage.read",
    Dataset.BUDGETS: "budgets.read",
    Dataset.INVOICES: "invoices.read",
    Dataset.RECOMMENDATIONS: "recommendations.read",
    Dataset.ANOMALIES: "anomalies.read",
}
# States, as opposed to what happened at some time.
TIMELESS: Final = frozenset({Dataset.BUDGETS, Dataset.RECOMMENDATIONS})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """What shall be exported. start, end: as the caller wrote them, "" for the default.

    group_by, granularity, cost_type, currency_code and is_allocated are about grouped costs; ""
    is their default. Raises ExportOptionRefused for an option that would change nothing.
    """

    tenant_id: str
    dataset: Dataset = Dataset.COSTS
    format: ExportFormat = ExportFormat.CSV
    start: str = ""
    end: str = ""
    group_by: tuple[str, ...] = ()
    granularity: str = ""
    filter: str = ""
    cost_type: str = ""
    currency_code: str = ""
    is_allocated: bool = False

    def __post_init__(self) -> None:
        if self.format is ExportFormat.FOCUS and self.dataset is not Dataset.COSTS:
            raise ExportOptionRefused(
                "FOCUS is a format of costs; leave the dataset out", option="dataset"
            )
        if not self.is_grouped:
            about_costs = {
                "group_by": self.group_by,
                "granularity": self.granularity,
                "cost_type": self.cost_type,
                "currency": self.currency_code,
                "allocated": self.is_allocated,
            }
            self._refuse(about_costs, "only grouped costs, in another format than FOCUS, take")
        if self.dataset in TIMELESS:
            period = {"start": self.start, "end": self.end}
            self._refuse(period, f"{self.dataset} are exported as they stand now, without")

    @property
    def is_grouped(self) -> bool:
        """Whether rows are sums over events."""
        return self.dataset is Dataset.COSTS and self.format is not ExportFormat.FOCUS

    @property
    def steps(self) -> str:
        """The size of the buckets of grouped costs."""
        return self.granularity or "day"

    @property
    def amount_column(self) -> str:
        """The name of the cost of grouped costs."""
        return f"{self.cost_type or 'billed'}_cost"

    def _refuse(self, options: Mapping[str, object], why: str) -> None:
        given = [name for name, value in options.items() if value]
        if given:
            raise ExportOptionRefused(f"{why} {given[0]}", option=given[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportQuestion:
    """A wish whose period is fixed; None for what is exported as it stands now."""

    wish: ExportWish
    period: Period | None

    @property
    def required_period(self) -> Period:
        """The period of a question that has one."""
        if self.period is None:
            raise ValueError(f"{self.wish.dataset} have no period")
        return self.period


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An export as long-running work.

    done_rows, total_rows: written, and expected, 0 while not known. byte_count, content_hash
    (SHA-256, hexadecimal): of the finished file. attempt: counts the times its file was begun,
    begun_at: the last of them.
    """

    tenant_id: str
    export_id: str
    question: ExportQuestion
    state: JobState = JobState.PENDING
    done_rows: int = 0
    total_rows: int = 0
    byte_count: int = 0
    content_hash: str = ""
    error: str = ""
    attempt: int = 0
    begun_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    expires_at: datetime

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it but its expiry."""
        return self.state not in (JobState.PENDING, JobState.RUNNING)

    @property
    def expected_end_at(self) -> datetime | None:
        """When it is done at its rate so far; None while no rate is known."""
        if self.state is not JobState.RUNNING or self.begun_at is None:
            return None
        if not self.done_rows or not self.total_rows:
            return None
        left = max(self.total_rows - self.done_rows, 0) / self.done_rows
        return self.updated_at + (self.updated_at - self.begun_at) * left


def _columns(text: str) -> tuple[Column, ...]:
    """Reads names, each with `:kind` where it is no text."""
    found = []
    for word in text.split():
        name, _, kind = word.partition(":")
        found.append(Column(name, Kind(kind or "text")))
    return tuple(found)


USAGE_COLUMNS: Final = _columns(
    "source event_id revision:count is_reversal:flag start_time:instant end_time:instant"
    " recorded_time:instant resource_type resource_id service service_category provider region"
    " sub_account_id charge_category user_id department project tags:json quantity:amount unit"
    " currency_code billed_cost:amount effective_cost:amount list_cost:amount"
    " contracted_cost:amount is_rated:flag is_unpriced:flag outcome retries:count error_code"
    " latency_ms:count utilization:number capacity:amount components:json bill_columns:json"
)
BUDGET_COLUMNS: Final = _columns(
    "budget_id display_name version:count enforcement state period_start_time:instant"
    " period_end_time:instant reset_time:instant currency_code amount:amount rolled_over:amount"
    " increased:amount limit:amount spent:amount held:amount remaining:amount"
    " utilization_ratio:amount unpriced_event_count:count burn_rate_day:amount"
    " burn_rate_week:amount runway_time:instant forecast_expected:amount forecast_lower:amount"
    " forecast_upper:amount as_of_time:instant"
)
INVOICE_COLUMNS: Final = _columns(
    "invoice_id number kind state account_id department_id subscription_id"
    " period_start_time:instant period_end_time:instant currency_code subtotal:amount"
    " discount_total:amount credit_total:amount tax_total:amount total:amount amount_paid:amount"
    " amount_credited:amount amount_due:amount line_count:count unpriced_event_count:count plan_id"
    " create_time:instant issue_time:instant due_time:instant pay_time:instant"
)
RECOMMENDATION_COLUMNS: Final = _columns(
    "recommendation_id rank:count kind state title summary currency_code monthly_saving:amount"
    " monthly_saving_lower:amount monthly_saving_upper:amount monthly_cost:amount"
    " one_time_cost:amount payback_days:amount monthly_kg_co2e:amount confidence_ratio:amount"
    " effort risk owner resource_type service provider region department_id project"
    " resource_count:count create_time:instant update_time:instant"
)
ANOMALY_COLUMNS: Final = _columns(
    "anomaly_id state severity direction pattern start_time:instant end_time:instant department"
    " service resource_type currency_code observed:amount expected:amount expected_lower:amount"
    " expected_upper:amount impact:amount score:amount event_count:count feedback"
    " causes:json detect_time:instant close_time:instant"
)


def cost_columns(wish: ExportWish) -> tuple[Column, ...]:
    """Returns the columns of grouped costs."""
    start = () if wish.steps == "total" else (Column("start_time", Kind.INSTANT),)
    groups = tuple(Column(name) for name in wish.group_by)
    rules = (Column("allocation_rule_ids", Kind.JSON),) if wish.is_allocated else ()
    # Grouped by it, the unit is a column already.
    unit = () if "unit" in wish.group_by else (Column("unit"),)
    return (
        *start,
        *groups,
        Column("currency_code"),
        Column(wish.amount_column, Kind.AMOUNT),
        Column("quantity", Kind.AMOUNT),
        *unit,
        Column("events", Kind.COUNT),
        Column("failed_events", Kind.COUNT),
        Column("unpriced_events", Kind.COUNT),
        *rules,
    )

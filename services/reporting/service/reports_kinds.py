"""Which sections each kind of report has, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from services.reporting.domain.report.document import Section
from services.reporting.domain.report.report import ReportKind
from services.reporting.service import reports_chargeback as chargeback
from services.reporting.service import reports_executive as executive
from services.reporting.service import reports_forecast as forecast
from services.reporting.service import reports_operational as operational
from services.reporting.service import reports_sections as shared
from services.reporting.service import reports_units as units
from services.reporting.service import reports_variance as variance
from services.reporting.service.reports_sources import Sources

Part: TypeAlias = Callable[[Sources], Awaitable[Section]]

PARTS: Final[Mapping[ReportKind, tuple[Part, ...]]] = {
    ReportKind.EXECUTIVE: (
        executive.summary,
        executive.spending,
        shared.outlook,
        shared.budgets,
        shared.risks,
        shared.savings,
        shared.basis,
    ),
    ReportKind.OPERATIONAL: (
        operational.efficiency,
        operational.resources,
        operational.pattern,
        operational.anomalies,
        shared.savings,
        shared.basis,
    ),
    ReportKind.FORECAST: (
        forecast.course,
        forecast.groups,
        shared.budgets,
        forecast.accuracy,
        shared.basis,
    ),
    ReportKind.CHARGEBACK: (chargeback.owed, chargeback.details, shared.basis),
    ReportKind.VARIANCE: (variance.why, variance.effects, shared.basis),
    ReportKind.UNIT_ECONOMICS: (
        units.summary,
        units.units,
        units.people,
        units.trend,
        shared.basis,
    ),
}
TITLES: Final[Mapping[ReportKind, str]] = {
    ReportKind.EXECUTIVE: "Executive report",
    ReportKind.OPERATIONAL: "Operational report",
    ReportKind.FORECAST: "Forecast report",
    ReportKind.CHARGEBACK: "Chargeback report",
    ReportKind.VARIANCE: "Variance report",
    ReportKind.UNIT_ECONOMICS: "Unit economics",
}

"""Reports between contract and domain."""

from __future__ import annotations

from collections.abc import Sequence

from finops.common.v1.progress_pb2 import Progress
from finops.reporting.v1 import report_messages_pb2 as messages
from finops.reporting.v1 import report_model_pb2 as model

from services.kernel.errors import FieldViolations
from services.kernel.listing import page_request
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest
from services.reporting.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    from_period,
)
from services.reporting.domain.report.document import Risk, Section
from services.reporting.domain.report.report import Report, ReportFormat, ReportKind, ReportWish
from services.reporting.service.reports import MadeReport

LIST = "finops.reporting.v1.ReportingService/ListReports"
DEFAULT_FORMATS = (ReportFormat.HTML, ReportFormat.PDF)


def to_wish(report: model.Report) -> ReportWish:
    """Converts a wish. Raises FieldViolations for the kind that auditors get elsewhere."""
    return ReportWish(
        kind=to_kind(report.kind, "report.kind"),
        title=report.title.strip(),
        filter=report.filter,
        group_by=tuple(report.group_by),
        currency_code=report.currency,
        formats=tuple(ReportFormat(each) for each in report.formats) or DEFAULT_FORMATS,
        locale=report.locale or "en",
        theme=report.theme or "light",
    )


def to_kind(kind: model.ReportKind.ValueType, field: str) -> ReportKind:
    """Converts a kind."""
    if kind == model.REPORT_KIND_SOX:
        text = "who changed what is told by GetComplianceReport of the compliance service"
        raise FieldViolations([(field, text)])
    return ReportKind(kind)


def to_format(name: str) -> ReportFormat | None:
    """Converts a format's name; empty is None."""
    return ReportFormat[name.upper()] if name else None


def to_page(request: messages.ListReportsRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked for."""
    return page_request(request, tenant_id=tenant_id, method=LIST)


def from_page(page: Page[Report]) -> messages.ListReportsResponse:
    """Converts a page."""
    return messages.ListReportsResponse(
        reports=[from_report(each) for each in page.items], next_page_token=page.next_page_token
    )


def from_made(made: MadeReport) -> model.Report:
    """Converts a report with its figures and risks."""
    message = from_report(made.report)
    message.figures.extend(_figures(made.sections))
    message.risks.extend(_risk(risk) for section in made.sections for risk in section.risks)
    return message


def from_report(report: Report) -> model.Report:
    """Converts a report without its figures."""
    wish = report.wish
    return model.Report(
        report_id=report.report_id,
        kind=model.ReportKind.ValueType(wish.kind),
        title=report.title,
        start=report.period.start.isoformat(),
        end=report.period.end.isoformat(),
        filter=wish.filter,
        group_by=wish.group_by,
        currency=wish.currency_code,
        formats=[model.ReportFormat.ValueType(each) for each in wish.formats],
        locale=wish.locale,
        theme=wish.theme,
        state=model.JobState.ValueType(report.state),
        progress=Progress(
            done_units=report.done_units,
            total_units=report.total_units,
            message=report.message,
            update_time=from_optional(report.updated_at),
        ),
        error=report.error,
        period=from_period(report.period),
        schedule_id=report.schedule_id,
        author=report.author,
        content_hash=report.content_hash,
        create_time=from_instant(report.created_at),
        end_time=from_optional(report.ended_at),
        expire_time=from_instant(report.expires_at),
    )


def _figures(sections: Sequence[Section]) -> list[model.ReportFigure]:
    return [
        model.ReportFigure(
            section=figure.section,
            label=figure.label,
            value=figure.text,
            unit=figure.unit,
            query=figure.query,
        )
        for section in sections
        for figure in section.figures()
    ]


def _risk(risk: Risk) -> model.ReportRisk:
    return model.ReportRisk(
        title=risk.title,
        probability_ratio=format_decimal(risk.probability),
        impact=from_amount(risk.currency_code, risk.impact),
        basis=risk.basis,
        mitigations=risk.mitigations,
        recommendation_ids=risk.recommendation_ids,
    )

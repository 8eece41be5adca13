"""Writes a report's formats as files on this machine's disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from babel import Locale
from babel.dates import format_date, format_datetime

from services.kernel.period import Period, zone
from services.reporting.domain.report.document import ChartPlace, Document, Section
from services.reporting.domain.report.report import Report, ReportFormat, ReportKind
from services.reporting.domain.report.span_of_time import before, is_whole_days, period_label
from services.reporting.domain.report.wording import Wording
from services.reporting.service.reports_forecast import SHOWN_DAYS
from services.reporting.service.reports_html import html_page
from services.reporting.service.reports_numbers import locale_of
from services.reporting.service.reports_pdf import pdf_document
from services.reporting.service.reports_tables import write_csv
from services.reporting.service.reports_workbook import Workbook

_MONTH: Final = re.compile(r"\d{4}-\d{2}", re.ASCII)
Draw = Callable[[ChartPlace], bytes]
EXTENSIONS: Final[Mapping[ReportFormat, str]] = {
    ReportFormat.HTML: "html",
    ReportFormat.PDF: "pdf",
    ReportFormat.XLSX: "xlsx",
    ReportFormat.CSV: "csv",
}
XLSX_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def written_instant(instant: datetime, time_zone: str, locale: str) -> str:
    """Returns an instant by the clocks of a zone, with the zone's name."""
    tz = zone(time_zone)
    text: str = format_datetime(
        instant.astimezone(tz), "d MMM y, HH:mm", tzinfo=tz, locale=locale_of(locale)
    )
    return f"{text} {tz.key}"


def document_of(report: Report, currency_code: str, sections: Sequence[Section]) -> Document:
    """Returns the document of a report's sections."""
    locale = locale_of(report.wish.locale)
    words = Wording(str(locale.language))
    made = written_instant(report.created_at, report.time_zone, report.wish.locale)
    facts = [
        (words.word("Tenant"), report.tenant_id),
        (words.word("Currency"), currency_code),
        (words.word("Asked for by"), report.author),
        (words.word("On"), made),
    ]
    if report.wish.filter:
        facts.append((words.word("Only"), report.wish.filter))
    return Document(
        title=report.title,
        subtitle=subtitle_of(report),
        facts=tuple(facts),
        sections=tuple(sections),
        language=words.language,
        locale=report.wish.locale or "en",
        theme=report.wish.theme or "light",
    )


def period_name(period: Period, time_zone: str, locale_name: str) -> str:
    """Returns a short name of a period for titles; of a month in words."""
    tz = zone(time_zone)
    label = period_label(period, tz)
    if _MONTH.fullmatch(label) is None:
        return label
    start = period.start.astimezone(tz).date()
    return str(format_date(start, "MMMM y", locale=locale_of(locale_name)))


def subtitle_of(report: Report) -> str:
    """Returns the days that a report is about, in words of its language."""
    locale = locale_of(report.wish.locale)
    if report.wish.kind is not ReportKind.FORECAST:
        return days_of(report.period, report.time_zone, locale)
    start = report.created_at.astimezone(zone(report.time_zone))
    first = format_date(start.date(), "long", locale=locale)
    words = Wording(str(locale.language))
    return words.word("{days} days from {first} on", days=str(SHOWN_DAYS), first=first)


def days_of(period: Period, time_zone: str, locale: Locale) -> str:
    """Returns a period's first and last day, or instants where it has other edges."""
    tz = zone(time_zone)
    start = period.start.astimezone(tz)
    if not is_whole_days(period, tz):
        end = period.end.astimezone(tz)
        both = (format_datetime(each, "d MMM y, HH:mm", locale=locale) for each in (start, end))
        return " \N{EN DASH} ".join(both)
    last = before(period.end).astimezone(tz)
    if period.duration <= timedelta(hours=25):
        return str(format_date(start.date(), "long", locale=locale))
    return " \N{EN DASH} ".join(
        format_date(each.date(), "long", locale=locale) for each in (start, last)
    )


def write(
    format_: ReportFormat, document: Document, report: Report, target: Path, *, draw: Draw, url: str
) -> tuple[str, str]:
    """Writes one format into a file; returns its name for people and its media type. Blocks."""
    media_type = "text/html; charset=utf-8"
    extension = EXTENSIONS[format_]
    match format_:
        case ReportFormat.HTML:
            target.write_bytes(html_page(document, draw, url))
        case ReportFormat.PDF:
            target.write_bytes(pdf_document(document, draw, url, report.created_at))
            media_type = "application/pdf"
        case ReportFormat.XLSX:
            Workbook(document, target, url, report.created_at).write()
            media_type = XLSX_TYPE
        case ReportFormat.CSV:
            media_type = write_csv(document, target, url)
            extension = "zip" if media_type == "application/zip" else extension
    start = report.period.start.astimezone(zone(report.time_zone))
    kind = report.wish.kind.name.lower().replace("_", "-")
    return f"{kind}-{start:%Y-%m-%d}.{extension}", media_type

"""Schedules of reports between contract and domain."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final

from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1 import schedule_service_pb2 as messages

from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update
from services.reporting.convert.instants import from_optional
from services.reporting.convert.reports import to_kind
from services.reporting.domain.report.report import ReportFormat, ReportWish
from services.reporting.domain.report.schedule import ReportSchedule

LIST: Final = "finops.reporting.v1.ReportScheduleService/ListReportSchedules"
DEFAULT_FORMATS: Final = (ReportFormat.PDF,)
# Each field that changes, and the attribute that it is; those of the wish are its own.
_PLAIN: Final = {
    "display_name": "display_name",
    "schedule": "cron",
    "time_zone": "time_zone",
    "period_kind": "period_kind",
    "recipients": "recipients",
    "channel_ids": "channel_ids",
    "disabled": "disabled",
}
_WISH: Final = {
    "kind": "kind",
    "filter": "filter",
    "group_by": "group_by",
    "currency": "currency_code",
    "formats": "formats",
    "locale": "locale",
}
_SHOWN: Final = (
    *("schedule_id", "next_run_time", "last_run_time", "last_report_id", "etag", "create_time"),
)


def to_schedule(message: model.ReportSchedule, tenant_id: str) -> ReportSchedule:
    """Converts a schedule, with the defaults filled in that need no tenant."""
    return ReportSchedule(
        tenant_id=tenant_id,
        schedule_id="",
        display_name=message.display_name,
        wish=_to_wish(message),
        cron=" ".join(message.schedule.split()),
        time_zone=message.time_zone,
        period_kind=message.period_kind or "month",
        recipients=tuple(message.recipients),
        channel_ids=tuple(message.channel_ids),
        disabled=message.disabled,
    )


def _to_wish(message: model.ReportSchedule) -> ReportWish:
    return ReportWish(
        kind=to_kind(message.kind or model.REPORT_KIND_EXECUTIVE, "schedule.kind"),
        filter=message.filter,
        group_by=tuple(message.group_by),
        currency_code=message.currency,
        formats=tuple(ReportFormat(each) for each in message.formats) or DEFAULT_FORMATS,
        locale=message.locale or "en",
    )


def to_change(
    request: messages.UpdateReportScheduleRequest, tenant_id: str
) -> tuple[Callable[[ReportSchedule], ReportSchedule], Collection[str]]:
    """Returns what an update makes of a schedule, and the fields it changes.

    Raises UnknownMaskPath.
    """
    fields = fields_to_update(
        request.schedule, request.update_mask, updatable=(*_PLAIN, *_WISH), ignored=_SHOWN
    )
    given = to_schedule(request.schedule, tenant_id)

    def change(known: ReportSchedule) -> ReportSchedule:
        wish: dict[str, Any] = {
            _WISH[name]: getattr(given.wish, _WISH[name]) for name in fields if name in _WISH
        }
        plain: dict[str, Any] = {
            _PLAIN[name]: getattr(given, _PLAIN[name]) for name in fields if name in _PLAIN
        }
        return replace(known, wish=replace(known.wish, **wish), **plain)

    return change, fields


def to_page(request: messages.ListReportSchedulesRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked for."""
    return page_request(request, tenant_id=tenant_id, method=LIST)


def from_page(page: Page[ReportSchedule]) -> messages.ListReportSchedulesResponse:
    """Converts a page."""
    return messages.ListReportSchedulesResponse(
        schedules=[from_schedule(each) for each in page.items],
        next_page_token=page.next_page_token,
    )


def from_schedule(schedule: ReportSchedule) -> model.ReportSchedule:
    """Converts a schedule."""
    wish = schedule.wish
    return model.ReportSchedule(
        schedule_id=schedule.schedule_id,
        display_name=schedule.display_name,
        kind=model.ReportKind.ValueType(wish.kind),
        schedule=schedule.cron,
        time_zone=schedule.time_zone,
        period_kind=schedule.period_kind,
        filter=wish.filter,
        group_by=wish.group_by,
        currency=wish.currency_code,
        formats=[model.ReportFormat.ValueType(each) for each in wish.formats],
        locale=wish.locale,
        recipients=schedule.recipients,
        channel_ids=schedule.channel_ids,
        disabled=schedule.disabled,
        next_run_time=from_optional(schedule.next_run_at),
        last_run_time=from_optional(schedule.last_run_at),
        last_report_id=schedule.last_report_id,
        etag=schedule.etag,
        create_time=from_optional(schedule.created_at),
    )

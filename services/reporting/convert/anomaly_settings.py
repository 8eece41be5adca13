"""Settings of the detection, maintenance windows and events between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from finops.reporting.v1 import anomaly_model_pb2 as model
from finops.reporting.v1 import anomaly_service_pb2 as messages

from services.kernel.listing import page_request
from services.kernel.money import format_decimal, parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.period import Period
from services.kernel.update_mask import fields_to_update
from services.reporting.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    to_instant,
)
from services.reporting.domain.anomaly.anomaly import IMPACT_MIN, Severity
from services.reporting.domain.anomaly.detector import GRACE_VALUES
from services.reporting.domain.anomaly.settings import (
    DIMENSIONS,
    SENSITIVITY,
    AnomalySettings,
    MaintenanceWindow,
)
from services.reporting.service.anomaly_events import UsedEvent

SERVICE: Final = "finops.reporting.v1.AnomalySettingsService"
IGNORED: Final = ("etag", "update_time")


def _impact(given: model.AnomalySettings) -> Decimal:
    return parse_decimal(given.impact_min.amount) if given.impact_min.amount else IMPACT_MIN


# Each field that can be changed, its name in the domain, and how it is read; unset is the default.
_READ: Final[dict[str, tuple[str, Callable[[model.AnomalySettings], Any]]]] = {
    "disabled": ("is_disabled", lambda given: given.disabled),
    "sensitivity_ratio": (
        "sensitivity",
        lambda given: parse_decimal(given.sensitivity_ratio or format_decimal(SENSITIVITY)),
    ),
    "impact_min": ("impact_min", _impact),
    "group_by": ("group_by", lambda given: tuple(given.group_by) or DIMENSIONS),
    "grace_hours": ("grace_hours", lambda given: given.grace_hours or GRACE_VALUES),
    "severity_min": (
        "severity_min",
        lambda given: Severity(given.severity_min or Severity.MEDIUM.value),
    ),
    "channel_ids": ("channel_ids", lambda given: tuple(given.channel_ids)),
}


def to_change(
    request: messages.UpdateAnomalySettingsRequest,
) -> Callable[[AnomalySettings], AnomalySettings]:
    """Returns what makes the new settings of the old ones. Raises UnknownMaskPath."""
    given = request.settings
    names = fields_to_update(given, request.update_mask, updatable=_READ, ignored=IGNORED)
    values = {_READ[name][0]: _READ[name][1](given) for name in names}
    return lambda before: replace(before, **values)


def from_settings(settings: AnomalySettings, currency_code: str) -> model.AnomalySettings:
    """Converts settings. currency_code: the tenant's."""
    return model.AnomalySettings(
        disabled=settings.is_disabled,
        sensitivity_ratio=format_decimal(settings.sensitivity),
        impact_min=from_amount(currency_code, settings.impact_min),
        group_by=settings.group_by,
        grace_hours=settings.grace_hours,
        severity_min=model.AnomalySeverity.ValueType(settings.severity_min.value),
        channel_ids=settings.channel_ids,
        etag=settings.etag,
        update_time=from_optional(settings.updated_at),
    )


def to_period(window: model.MaintenanceWindow) -> Period:
    """Converts the time of a window. Raises InvalidPeriod."""
    return Period(to_instant(window.start_time), to_instant(window.end_time))


def from_window(window: MaintenanceWindow) -> model.MaintenanceWindow:
    """Converts a window."""
    return model.MaintenanceWindow(
        window_id=window.window_id,
        display_name=window.display_name,
        start_time=from_instant(window.period.start),
        end_time=from_instant(window.period.end),
        filter=window.filter,
        author=window.author,
        create_time=from_instant(window.created_at),
    )


def to_windows_page(request: messages.ListMaintenanceWindowsRequest, tenant_id: str) -> PageRequest:
    """Returns which page of windows is asked for."""
    return page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/ListMaintenanceWindows")


def from_windows_page(page: Page[MaintenanceWindow]) -> messages.ListMaintenanceWindowsResponse:
    """Converts a page of windows."""
    return messages.ListMaintenanceWindowsResponse(
        windows=[from_window(each) for each in page.items], next_page_token=page.next_page_token
    )


def to_events_page(request: messages.ListAnomalyEventsRequest, tenant_id: str) -> PageRequest:
    """Returns which page of events is asked for."""
    asked = page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/ListAnomalyEvents")
    return replace(asked, arguments={"anomaly_id": request.anomaly_id})


def from_events_page(page: Page[UsedEvent]) -> messages.ListAnomalyEventsResponse:
    """Converts a page of events."""
    return messages.ListAnomalyEventsResponse(
        events=[
            model.AnomalyUsage(
                usage_source=each.source,
                usage_event_id=each.event_id,
                start_time=from_instant(each.start_at),
                user_id=each.user_id,
                resource_id=each.resource_id,
                quantity=format_decimal(each.quantity),
                cost=from_amount(each.currency_code, each.cost),
            )
            for each in page.items
        ],
        next_page_token=page.next_page_token,
    )

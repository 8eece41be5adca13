"""Price books, prices and peak schedules between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from finops.usage.v1 import peak_schedule_messages_pb2
from finops.usage.v1 import pricing_model_pb2 as models
from finops.usage.v1 import pricing_service_pb2 as messages

from services.kernel.listing import ListRequest, page_request
from services.kernel.money import format_decimal, parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update
from services.usage.convert.costs import from_instant
from services.usage.convert.dates import to_date
from services.usage.convert.usage import to_instant
from services.usage.domain.peak import PeakSchedule, PeakWindow
from services.usage.domain.price import BEGINNING, ChargeOn, Price, PriceBook, PricingModel, Tier
from services.usage.service.price_loading import LoadedPrices, PriceFile

_SERVICE = "finops.usage.v1.PricingService"
_CHARGE_ON = (ChargeOn.SUCCESS_ONLY, ChargeOn.SUCCESS_ONLY, ChargeOn.ALWAYS)
_SCHEDULE_FIELDS = ("display_name", "time_zone", "windows", "exception_dates")


def to_price_book(message: models.PriceBook, tenant_id: str) -> PriceBook:
    """Converts a price book. tenant_id: of the caller; a global book has none."""
    return PriceBook(
        message.price_book_id, "" if message.is_global else tenant_id, message.display_name
    )


def from_price_book(book: PriceBook) -> models.PriceBook:
    """Converts a stored price book."""
    return models.PriceBook(
        price_book_id=book.price_book_id,
        display_name=book.display_name,
        is_global=not book.tenant_id,
        create_time=from_instant(book.created_at),
    )


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")


def from_price_books(page: Page[PriceBook]) -> messages.ListPriceBooksResponse:
    """Converts a page."""
    return messages.ListPriceBooksResponse(
        price_books=[from_price_book(book) for book in page.items],
        next_page_token=page.next_page_token,
    )


def to_price(message: models.Price, tenant_id: str) -> Price:
    """Converts a price. tenant_id: of the caller. Raises InvalidPrice."""
    return Price(
        price_id=message.price_id,
        price_book_id=message.price_book_id,
        tenant_id=tenant_id,
        resource_type=message.resource_type,
        meter=message.meter,
        provider=message.provider,
        service=message.service,
        region=message.region,
        resource_id=message.resource_id,
        currency_code=message.currency_code,
        model=PricingModel(message.model),
        tiers=tuple(_to_tier(tier) for tier in message.tiers),
        per=parse_decimal(message.per_quantity or "1"),
        effective_start_at=_to_optional(message, "effective_start_time"),
        effective_end_at=_to_optional(message, "effective_end_time"),
        peak_schedule_id=message.peak_schedule_id,
        charge_on=_CHARGE_ON[message.charge_on],
        recorded_at=BEGINNING,  # the service says when
    )


def _to_optional(message: models.Price, name: str) -> datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    return to_instant(getattr(message, name))


def _to_tier(tier: models.PriceTier) -> Tier:
    return Tier(
        up_to=parse_decimal(tier.up_to) if tier.up_to else None,
        unit_price=parse_decimal(tier.unit_price),
        flat_fee=parse_decimal(tier.flat_fee or "0"),
    )


def from_price(price: Price) -> models.Price:
    """Converts a stored price."""
    message = models.Price(
        price_id=price.price_id,
        price_book_id=price.price_book_id,
        resource_type=price.resource_type,
        meter=price.meter,
        provider=price.provider,
        service=price.service,
        region=price.region,
        resource_id=price.resource_id,
        currency_code=price.currency_code,
        model=models.PricingModel.Name(price.model.value),  # type: ignore[arg-type]
        tiers=[
            models.PriceTier(
                up_to="" if tier.up_to is None else format_decimal(tier.up_to),
                unit_price=format_decimal(tier.unit_price),
                flat_fee=format_decimal(tier.flat_fee),
            )
            for tier in price.tiers
        ],
        per_quantity=format_decimal(price.per),
        peak_schedule_id=price.peak_schedule_id,
        charge_on=models.ChargeOn.Name(price.charge_on.value),  # type: ignore[arg-type]
        create_time=from_instant(price.recorded_at),
    )
    if price.effective_start_at is not None:
        message.effective_start_time.CopyFrom(from_instant(price.effective_start_at))
    if price.effective_end_at is not None:
        message.effective_end_time.CopyFrom(from_instant(price.effective_end_at))
    return message


def from_prices(page: Page[Price]) -> messages.ListPricesResponse:
    """Converts a page."""
    return messages.ListPricesResponse(
        prices=[from_price(price) for price in page.items],
        next_page_token=page.next_page_token,
    )


def to_price_change(request: messages.UpdatePriceRequest) -> Callable[[Price], Price]:
    """Returns what the update makes of a price. Raises UnknownMaskPath."""
    fields = fields_to_update(
        request.price,
        request.update_mask,
        updatable=("effective_end_time",),
        ignored=("price_id", "create_time"),
    )
    end_at = _to_optional(request.price, "effective_end_time")
    return lambda price: replace(price, effective_end_at=end_at) if fields else price


def to_peak_schedule(message: models.PeakSchedule) -> PeakSchedule:
    """Converts a peak schedule. Raises InvalidPeakSchedule, UnknownTimeZone."""
    return PeakSchedule(
        peak_schedule_id=message.peak_schedule_id,
        time_zone=message.time_zone,
        windows=_to_windows(message),
        exception_dates=_to_dates(message),
        display_name=message.display_name,
    )


def _to_windows(message: models.PeakSchedule) -> tuple[PeakWindow, ...]:
    return tuple(
        PeakWindow(
            weekdays=frozenset(window.weekdays),
            start_minute=_minute(window.start),
            end_minute=_minute(window.end),
            multiplier=Decimal(window.multiplier),
        )
        for window in message.windows
    )


def _to_dates(message: models.PeakSchedule) -> frozenset[date]:
    return frozenset(to_date(text) for text in message.exception_dates)


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def from_peak_schedule(schedule: PeakSchedule) -> models.PeakSchedule:
    """Converts a stored peak schedule."""
    return models.PeakSchedule(
        peak_schedule_id=schedule.peak_schedule_id,
        display_name=schedule.display_name,
        time_zone=schedule.time_zone,
        windows=[
            models.PeakWindow(
                weekdays=sorted(window.weekdays),
                start=_clock(window.start_minute),
                end=_clock(window.end_minute),
                multiplier=format_decimal(window.multiplier),
            )
            for window in schedule.windows
        ],
        exception_dates=[day.isoformat() for day in sorted(schedule.exception_dates)],
    )


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def from_peak_schedules(
    page: Page[PeakSchedule],
) -> peak_schedule_messages_pb2.ListPeakSchedulesResponse:
    """Converts a page."""
    return peak_schedule_messages_pb2.ListPeakSchedulesResponse(
        peak_schedules=[from_peak_schedule(schedule) for schedule in page.items],
        next_page_token=page.next_page_token,
    )


def to_schedule_change(
    request: peak_schedule_messages_pb2.UpdatePeakScheduleRequest,
) -> Callable[[PeakSchedule], PeakSchedule]:
    """Returns what the update makes of a schedule. Raises UnknownMaskPath."""
    message = request.peak_schedule
    fields = fields_to_update(
        message, request.update_mask, updatable=_SCHEDULE_FIELDS, ignored=("peak_schedule_id",)
    )
    values: dict[str, Any] = {
        "display_name": message.display_name or message.peak_schedule_id,
        "time_zone": message.time_zone,
        "windows": _to_windows(message),
        "exception_dates": _to_dates(message),
    }
    changed = {name: value for name, value in values.items() if name in fields}
    return lambda schedule: replace(schedule, **changed)


def to_price_file(request: messages.ImportPricesRequest, tenant_id: str) -> PriceFile:
    """Converts a catalogue to load."""
    has_start = request.HasField("effective_start_time")
    return PriceFile(
        tenant_id=tenant_id,
        kind=request.kind,
        price_book_id=request.price_book_id,
        content=request.content.data,
        start_at=to_instant(request.effective_start_time) if has_start else None,
        is_global=request.is_global,
    )


def from_loaded(loaded: LoadedPrices) -> messages.ImportPricesResponse:
    """Converts what was loaded."""
    return messages.ImportPricesResponse(
        created=loaded.created, unchanged=loaded.unchanged, skipped=loaded.skipped
    )

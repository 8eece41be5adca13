"""Price books, prices and peak schedules.

A price that was in force stays what it was: a change of its end supersedes the row, and recorded
events keep the cost they were rated with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.peak import PeakSchedule
from services.usage.domain.price import Price, PriceBook, match_key, require_no_overlap
from services.usage.errors import (
    PeakScheduleExists,
    PeakScheduleInUse,
    PeakScheduleNotFound,
    PlatformAdminsOnly,
    PriceBookExists,
    PriceBookHasPrices,
    PriceBookNotFound,
    PriceExists,
    PriceNotFound,
)
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import price_rows as rows
from services.usage.tables import GLOBAL_TENANT


class Pricing:
    """The use cases of prices."""

    def __init__(
        self, database: Database, contexts: TenantContexts, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the contexts, which forget the prices they know when some change."""
        self._database = database
        self._contexts = contexts
        self._tokens = tokens
        self._clock = clock

    @asynccontextmanager
    async def changing(self, owner_id: str) -> AsyncIterator[Transaction]:
        """Begins a change of an owner's prices, "" for everybody's, one after another.

        Raises PlatformAdminsOnly.
        """
        if owner_id:
            await self._contexts.frame(owner_id)  # makes a tenant that is not known yet
            begin = self._database.transaction(owner_id)
        elif current_caller().is_platform_admin:
            begin = self._database.system_transaction()
        else:
            raise PlatformAdminsOnly
        async with begin as tx:
            await rows.bump_price_revision(tx, owner_id)
            yield tx
        self._contexts.forget(owner_id or GLOBAL_TENANT)

    async def create_price_book(self, book: PriceBook) -> PriceBook:
        """Creates a book. Raises PriceBookExists, PlatformAdminsOnly."""
        book = replace(
            book,
            display_name=book.display_name or book.price_book_id,
            created_at=self._clock.now(),
        )
        async with self.changing(book.tenant_id) as tx:
            if not await rows.add_price_book(tx, book):
                raise PriceBookExists(price_book_id=book.price_book_id)
            await audited(tx, "price_books.create", f"price-books/{book.price_book_id}")
        return book

    async def get_price_book(self, tenant_id: str, price_book_id: str) -> PriceBook:
        """Returns a book. Raises PriceBookNotFound."""
        async with self._database.read(tenant_id) as tx:
            book = await rows.find_price_book(tx, tenant_id, price_book_id)
        if book is None:
            raise PriceBookNotFound(price_book_id=price_book_id)
        return book

    async def list_price_books(self, page: PageRequest) -> Page[PriceBook]:
        """Returns a page of books."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_price_books(tx, page, self._tokens)

    async def delete_price_book(self, tenant_id: str, price_book_id: str) -> None:
        """Deletes a book. Raises PriceBookNotFound, PriceBookHasPrices, PlatformAdminsOnly."""
        book = await self.get_price_book(tenant_id, price_book_id)
        async with self.changing(book.tenant_id) as tx:
            if await rows.has_prices(tx, book):
                raise PriceBookHasPrices(price_book_id=price_book_id)
            await rows.delete_price_book(tx, book)
            await audited(tx, "price_books.delete", f"price-books/{price_book_id}")

    async def create_price(self, price: Price) -> Price:
        """Creates a price in its book, whose owner becomes the price's. tenant_id: the caller's.

        Raises PriceBookNotFound, PeakScheduleNotFound, PriceExists, PriceOverlap,
        PlatformAdminsOnly.
        """
        book = await self.get_price_book(price.tenant_id, price.price_book_id)
        price = replace(
            price,
            price_id=price.price_id or new_id(),
            tenant_id=book.tenant_id,
            time_zone=await self.time_zone(book.tenant_id),
            recorded_at=self._clock.now(),
        )
        async with self.changing(book.tenant_id) as tx:
            if await rows.known_price_ids(tx, price.tenant_id, [price.price_id]):
                raise PriceExists(price_id=price.price_id)
            await require_schedule(tx, price)
            await _require_fit(tx, book, price)
            await rows.add_prices(tx, [price])
            await audited(tx, "prices.create", f"prices/{price.price_id}", after=price)
        return price

    async def time_zone(self, owner_id: str) -> str:
        """Returns the zone that the owner's months are cut in; everybody's are cut in UTC."""
        return (await self._contexts.frame(owner_id)).tz.key if owner_id else "UTC"

    async def get_price(self, tenant_id: str, price_id: str) -> Price:
        """Returns a price. Raises PriceNotFound."""
        async with self._database.read(tenant_id) as tx:
            price = await rows.find_price(tx, tenant_id, price_id)
        if price is None:
            raise PriceNotFound(price_id=price_id)
        return price

    async def list_prices(self, page: PageRequest) -> Page[Price]:
        """Returns a page of prices."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_prices(tx, page, self._tokens)

    async def update_price(
        self, tenant_id: str, price_id: str, change: Callable[[Price], Price]
    ) -> Price:
        """Stores a price with another end. Raises PriceNotFound, PriceOverlap, InvalidPrice."""
        owner_id = (await self.get_price(tenant_id, price_id)).tenant_id
        async with self.changing(owner_id) as tx:
            known = await rows.find_price(tx, owner_id or GLOBAL_TENANT, price_id)
            if known is None:
                raise PriceNotFound(price_id=price_id)
            changed = change(known)
            price = replace(
                known,
                effective_end_at=changed.effective_end_at,
                recorded_at=later(known.recorded_at, self._clock.now()),
            )
            book = PriceBook(known.price_book_id, known.tenant_id)
            await _require_fit(tx, book, price)
            await rows.supersede_prices(tx, [known], price.recorded_at)
            await rows.add_prices(tx, [price])
            await audited(tx, "prices.update", f"prices/{price_id}", before=known, after=price)
        return price

    async def create_peak_schedule(self, tenant_id: str, schedule: PeakSchedule) -> PeakSchedule:
        """Creates a schedule. Raises PeakScheduleExists."""
        schedule_id = schedule.peak_schedule_id
        schedule = replace(schedule, display_name=schedule.display_name or schedule_id)
        async with self.changing(tenant_id) as tx:
            if not await rows.add_peak_schedule(tx, tenant_id, schedule):
                raise PeakScheduleExists(peak_schedule_id=schedule_id)
            await audited(tx, "peak_schedules.create", f"peak-schedules/{schedule_id}")
        return schedule

    async def get_peak_schedule(self, tenant_id: str, peak_schedule_id: str) -> PeakSchedule:
        """Returns a schedule. Raises PeakScheduleNotFound."""
        async with self._database.read(tenant_id) as tx:
            schedule = await rows.find_peak_schedule(tx, tenant_id, peak_schedule_id)
        if schedule is None:
            raise PeakScheduleNotFound(peak_schedule_id=peak_schedule_id)
        return schedule

    async def list_peak_schedules(self, page: PageRequest) -> Page[PeakSchedule]:
        """Returns a page of schedules."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_peak_schedules(tx, page, self._tokens)

    async def update_peak_schedule(
        self,
        tenant_id: str,
        peak_schedule_id: str,
        change: Callable[[PeakSchedule], PeakSchedule],
    ) -> PeakSchedule:
        """Stores a changed schedule; while prices use it, only its name may change.

        Raises PeakScheduleNotFound, PeakScheduleInUse.
        """
        async with self.changing(tenant_id) as tx:
            known = await self._own_schedule(tx, tenant_id, peak_schedule_id)
            schedule = change(known)
            if schedule != known:
                await _require_unused(tx, tenant_id, peak_schedule_id)
            await rows.update_peak_schedule(tx, tenant_id, schedule)
            await audited(tx, "peak_schedules.update", f"peak-schedules/{peak_schedule_id}")
        return schedule

    async def delete_peak_schedule(self, tenant_id: str, peak_schedule_id: str) -> None:
        """Deletes a schedule. Raises PeakScheduleNotFound, PeakScheduleInUse."""
        async with self.changing(tenant_id) as tx:
            await self._own_schedule(tx, tenant_id, peak_schedule_id)
            await _require_unused(tx, tenant_id, peak_schedule_id)
            await rows.delete_peak_schedule(tx, tenant_id, peak_schedule_id)
            await audited(tx, "peak_schedules.delete", f"peak-schedules/{peak_schedule_id}")

    async def _own_schedule(
        self, tx: Transaction, tenant_id: str, peak_schedule_id: str
    ) -> PeakSchedule:
        schedule = await rows.find_peak_schedule(tx, tenant_id, peak_schedule_id, is_own=True)
        if schedule is None:
            raise PeakScheduleNotFound(peak_schedule_id=peak_schedule_id)
        return schedule


def later(than: datetime, now: datetime) -> datetime:
    """Returns now, or the first instant after another one: rows of a price differ by it."""
    return max(now, than + timedelta(microseconds=1))


async def require_schedule(tx: Transaction, price: Price) -> None:
    """Raises PeakScheduleNotFound where the price's owner has no such schedule."""
    schedule_id = price.peak_schedule_id
    if not schedule_id:
        return
    if await rows.find_peak_schedule(tx, price.tenant_id, schedule_id, is_own=True) is None:
        raise PeakScheduleNotFound(peak_schedule_id=schedule_id)


async def _require_fit(tx: Transaction, book: PriceBook, price: Price) -> None:
    others = await rows.book_prices(tx, book)
    key = match_key(price)
    same = [other for other in others if match_key(other) == key]
    require_no_overlap([price, *(one for one in same if one.price_id != price.price_id)])


async def _require_unused(tx: Transaction, tenant_id: str, peak_schedule_id: str) -> None:
    price_id = await rows.price_using(tx, tenant_id, peak_schedule_id)
    if price_id:
        raise PeakScheduleInUse(peak_schedule_id=peak_schedule_id, price_id=price_id)


async def audited(
    tx: Transaction,
    action: str,
    resource: str,
    *,
    before: Price | None = None,
    after: Price | None = None,
    actor: str | None = None,
) -> None:
    """Adds an entry to the audit log of the prices' owner."""
    await audit.append(
        tx,
        action=action,
        resource=resource,
        before=_state(before),
        after=_state(after),
        tenant_id=None if tx.tenant_id else GLOBAL_TENANT,
        actor=actor,
    )


def _state(price: Price | None) -> dict[str, object] | None:
    if price is None:
        return None
    return {
        "resource_type": price.resource_type,
        "meter": price.meter,
        "currency_code": price.currency_code,
        "unit_prices": [format_decimal(tier.unit_price) for tier in price.tiers],
        "effective_start_at": price.effective_start_at,
        "effective_end_at": price.effective_end_at,
    }

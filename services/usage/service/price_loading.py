"""Loads price catalogues into price books, and the public prices of language models at start."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import structlog

from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Unavailable
from services.kernel.ids import new_id
from services.usage.domain.price import PriceBook
from services.usage.domain.price_change import from_then_on, load_change
from services.usage.service.importers.price_csv import read_prices
from services.usage.service.llm_prices import genai, litellm
from services.usage.service.llm_prices.catalogue import Catalogue, CatalogueBook
from services.usage.service.pricing import Pricing, audited, later, require_schedule
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import price_rows as rows
from services.usage.tables import GLOBAL_TENANT

SEED_RETRY_SECONDS = 0.5  # doubles up to the most
SEED_RETRY_SECONDS_MAX = 15.0
log = structlog.get_logger(__name__)

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('usage.seed_global_prices'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFile:
    """A catalogue to load. kind: litellm, genai or csv. content: empty for genai.

    tenant_id: of the caller. start_at: from when the prices hold; None: from the beginning.
    """

    tenant_id: str
    kind: str
    price_book_id: str
    content: bytes = b""
    start_at: datetime | None = None
    is_global: bool = False


class LoadedPrices(NamedTuple):
    """How many prices were added, how many held already, and entries that hold none."""

    created: int
    unchanged: int
    skipped: tuple[str, ...]


async def _in_own_process(load: Callable[[datetime], Catalogue], now: datetime) -> Catalogue:
    """Loads in a process that ends afterwards: the package takes 60 MB, once, for ever."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, load, now)


class PriceLoading:
    """The use cases of loading catalogues."""

    def __init__(
        self, database: Database, pricing: Pricing, contexts: TenantContexts, *, clock: Clock
    ) -> None:
        """Takes the use cases of prices, whose owner rules apply."""
        self._database = database
        self._pricing = pricing
        self._contexts = contexts
        self._clock = clock

    async def import_prices(self, file: PriceFile) -> LoadedPrices:
        """Loads a catalogue; loaded again, it changes nothing.

        Raises InvalidCatalogue, InvalidPriceFile, PriceOverlap, PlatformAdminsOnly.
        """
        owner_id = "" if file.is_global else file.tenant_id
        now = self._clock.now()
        time_zone = await self._pricing.time_zone(owner_id)
        catalogue = await asyncio.to_thread(_read, file, owner_id, now, time_zone)
        async with self._pricing.changing(owner_id) as tx:
            loaded = await _load(tx, catalogue, file, owner_id, now)
            await audited(tx, "prices.import", f"price-books/{file.price_book_id}")
        return loaded

    async def seed_global_prices(self) -> bool:
        """Loads the built-in prices for every tenant, once; False where they are there."""
        if await self._is_seeded():
            return False
        now = self._clock.now()
        catalogue = await _in_own_process(genai.load, now)
        async with self._database.system_transaction() as tx:
            await tx.driver.execute(_LOCK)
            book = PriceBook(genai.BOOK_ID, display_name="Public prices", created_at=now)
            if not await rows.add_price_book(tx, book):
                return False
            for schedule in catalogue.schedules.values():
                await rows.add_peak_schedule(tx, "", schedule)
            await rows.add_prices(tx, catalogue.prices)
            await rows.bump_price_revision(tx, "")
            resource = f"price-books/{genai.BOOK_ID}"
            await audited(tx, "prices.import", resource, actor="service:usage")
        self._contexts.forget(GLOBAL_TENANT)
        return True

    async def seed_when_reachable(self) -> None:
        """Seeds as soon as the database answers: the first event must find its price."""
        pause = SEED_RETRY_SECONDS
        while True:
            try:
                await self.seed_global_prices()
            except Unavailable as error:
                log.warning("prices wait for the database", seconds=pause, error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, SEED_RETRY_SECONDS_MAX)
            else:
                return

    async def _is_seeded(self) -> bool:
        async with self._database.system_transaction() as tx:
            return await rows.find_price_book(tx, GLOBAL_TENANT, genai.BOOK_ID) is not None


def _read(file: PriceFile, owner_id: str, now: datetime, time_zone: str) -> Catalogue:
    book = CatalogueBook(file.price_book_id, now, owner_id)
    match file.kind:
        case "genai":
            found = genai.load(now, price_book_id=file.price_book_id, tenant_id=owner_id)
        case "litellm":
            found = litellm.load(file.content, book)
        case _:
            found = Catalogue(prices=read_prices(file.content, book, time_zone=time_zone))
    found.prices = from_then_on(found.prices, file.start_at)
    return found


async def _load(
    tx: Transaction, catalogue: Catalogue, file: PriceFile, owner_id: str, now: datetime
) -> LoadedPrices:
    book = PriceBook(file.price_book_id, owner_id, created_at=now)
    await rows.add_price_book(tx, book)
    for schedule in catalogue.schedules.values():
        await rows.add_peak_schedule(tx, owner_id, schedule)
    for price in {price.peak_schedule_id: price for price in catalogue.prices}.values():
        await require_schedule(tx, price)
    current = await rows.book_prices(tx, book)
    at = max((later(price.recorded_at, now) for price in current), default=now)
    change = load_change(current, catalogue.prices, at)
    await rows.supersede_prices(tx, change.superseded, at)
    ended = {price.price_id for price in change.superseded}
    taken = await rows.known_price_ids(tx, owner_id, [price.price_id for price in change.added])
    added, used = [], set[str]()
    for price in sorted(change.added, key=lambda price: price.start_at):
        # A row with a new end keeps its id; a price of its own never shares another one's.
        is_free = price.price_id in ended or price.price_id not in taken
        keeps = is_free and price.price_id not in used
        added.append(price if keeps else replace(price, price_id=new_id()))
        used.add(price.price_id)
    await rows.add_prices(tx, added)
    return LoadedPrices(change.created, change.unchanged, tuple(catalogue.skipped))

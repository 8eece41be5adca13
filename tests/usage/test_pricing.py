"""Prices: kept as they were, loaded once however often, and everybody's only by platform admins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, MutableMapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from finops.usage.v1 import peak_schedule_messages_pb2, pricing_service_pb2_grpc
from finops.usage.v1 import pricing_model_pb2 as models
from finops.usage.v1 import pricing_service_pb2 as messages
from google.api.httpbody_pb2 import HttpBody
from sqlalchemy import delete, func, select
from structlog.testing import capture_logs

from cli.stack.ports import free_port
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.usage.api.pricing import PricingServicer
from services.usage.convert.costs import from_instant
from services.usage.domain.event import Attributes
from services.usage.service.llm_prices import genai
from services.usage.service.price_loading import PriceLoading
from services.usage.service.pricing import Pricing
from services.usage.service.tenant_context import TenantContexts
from services.usage.tables import GLOBAL_TENANT, peak_schedule, price, price_book
from tests.support.database import ServiceDatabase
from tests.support.server import LocalServer, refused, serving
from tests.support.waiting import eventually

NOW = datetime(2026, 4, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


class Desk(NamedTuple):
    """A pricing service that runs, and its parts."""

    server: LocalServer
    loading: PriceLoading
    contexts: TenantContexts
    tenant: str

    def stub(self, *roles: str) -> pricing_service_pb2_grpc.PricingServiceAsyncStub:
        channel = self.server.channel(*(roles or ("org_admin",)), tenant=self.tenant)
        return pricing_service_pb2_grpc.PricingServiceStub(channel)


@pytest.fixture
async def desk(
    usage_database: Database, contexts: TenantContexts, tenant: str
) -> AsyncIterator[Desk]:
    clock = ManualClock(NOW)
    tokens = PageTokens(b"tests")
    pricing = Pricing(usage_database, contexts, tokens=tokens, clock=clock)
    loading = PriceLoading(usage_database, pricing, contexts, clock=clock)
    servicer = PricingServicer(pricing=pricing, loading=loading)
    register = partial(pricing_service_pb2_grpc.add_PricingServiceServicer_to_server, servicer)
    async with serving(register, database=usage_database) as server:
        yield Desk(server, loading, contexts, tenant)


def vm(amount: str = "2", **fields: object) -> models.Price:
    message = models.Price(
        price_book_id="own",
        resource_type="vm",
        meter="hour",
        currency_code="EUR",
        model=models.PRICING_MODEL_PER_UNIT,
        tiers=[models.PriceTier(unit_price=amount)],
    )
    for name, value in fields.items():
        if isinstance(value, datetime):
            getattr(message, name).CopyFrom(from_instant(value))
        else:
            setattr(message, name, value)
    return message


async def make_book(desk: Desk) -> pricing_service_pb2_grpc.PricingServiceAsyncStub:
    stub = desk.stub()
    book = models.PriceBook(price_book_id="own")
    await stub.CreatePriceBook(messages.CreatePriceBookRequest(price_book=book))
    return stub


async def planned_price(desk: Desk, at: datetime, meter: str = "hour") -> str:
    context = await desk.contexts.get(desk.tenant)
    plan = context.index.plan(Attributes("vm", meter, ""), (meter,), at)
    found = plan.rates[0].price
    return "" if found is None else format(found.tiers[0].unit_price, "f")


async def test_a_price_ends_and_another_follows_while_the_past_stays(
    desk: Desk, usage_database: Database
) -> None:
    """langfuse/langfuse#12184: the instant from which a price holds was ignored."""
    stub = await make_book(desk)
    first = await stub.CreatePrice(messages.CreatePriceRequest(price=vm("2")))

    overlap = await refused(stub.CreatePrice(messages.CreatePriceRequest(price=vm("3"))))
    ended = vm("2", price_id=first.price.price_id, effective_end_time=JUNE)
    changed = await stub.UpdatePrice(messages.UpdatePriceRequest(price=ended))
    await stub.CreatePrice(messages.CreatePriceRequest(price=vm("3", effective_start_time=JUNE)))

    assert overlap.reason == "PRICE_OVERLAP"
    assert changed.price.effective_end_time.ToDatetime(UTC) == JUNE
    assert await planned_price(desk, NOW) == "2"
    assert await planned_price(desk, JUNE) == "3"
    async with usage_database.read(desk.tenant) as tx:
        rows = await tx.execute(
            select(price.c.recorded_at, price.c.superseded_at, price.c.effective_end_at)
            .where(price.c.price_id == first.price.price_id)
            .order_by(price.c.recorded_at)
        )
        old, new = rows.all()
    assert old.superseded_at == new.recorded_at
    assert (old.effective_end_at, new.effective_end_at) == (None, JUNE)


async def test_an_update_may_name_nothing_but_the_end(desk: Desk) -> None:
    stub = await make_book(desk)
    made = await stub.CreatePrice(messages.CreatePriceRequest(price=vm()))
    request = messages.UpdatePriceRequest(price=vm("9", price_id=made.price.price_id))
    request.update_mask.paths.append("tiers")

    refusal = await refused(stub.UpdatePrice(request))

    assert refusal.reason == "UNKNOWN_MASK_PATH"


async def test_lists_page_through_own_prices_and_what_is_refused_has_a_reason(desk: Desk) -> None:
    stub = await make_book(desk)
    for number in range(3):
        request = vm(resource_id=f"r{number}", price_id=f"p{number}")
        await stub.CreatePrice(messages.CreatePriceRequest(price=request))
    own = 'price_book_id = "own"'

    first = await stub.ListPrices(messages.ListPricesRequest(page_size=2, filter=own))
    rest = await stub.ListPrices(
        messages.ListPricesRequest(page_size=2, filter=own, page_token=first.next_page_token)
    )
    by_start = await stub.ListPrices(
        messages.ListPricesRequest(filter=own, order_by="effective_start_time desc")
    )

    assert [each.price_id for each in (*first.prices, *rest.prices)] == ["p0", "p1", "p2"]
    assert len(by_start.prices) == 3
    calls: dict[str, Awaitable[object]] = {
        "PRICE_BOOK_EXISTS": stub.CreatePriceBook(
            messages.CreatePriceBookRequest(price_book=models.PriceBook(price_book_id="own"))
        ),
        "PRICE_BOOK_HAS_PRICES": stub.DeletePriceBook(
            messages.DeletePriceBookRequest(price_book_id="own")
        ),
        "PRICE_BOOK_NOT_FOUND": stub.GetPriceBook(
            messages.GetPriceBookRequest(price_book_id="none")
        ),
        "PRICE_NOT_FOUND": stub.GetPrice(messages.GetPriceRequest(price_id="none")),
        "PRICE_EXISTS": stub.CreatePrice(messages.CreatePriceRequest(price=vm(price_id="p0"))),
        "PEAK_SCHEDULE_NOT_FOUND": stub.CreatePrice(
            messages.CreatePriceRequest(price=vm(peak_schedule_id="none"))
        ),
        "PLATFORM_ADMINS_ONLY": stub.CreatePriceBook(
            messages.CreatePriceBookRequest(
                price_book=models.PriceBook(price_book_id="all", is_global=True)
            )
        ),
    }
    for reason, call in calls.items():
        assert (await refused(call)).reason == reason


async def test_a_schedule_in_use_stays_and_may_change_its_name(desk: Desk) -> None:
    stub = await make_book(desk)
    schedule = models.PeakSchedule(
        peak_schedule_id="office",
        time_zone="Europe/Berlin",
        windows=[models.PeakWindow(weekdays=[1, 2], start="08:00", end="24:00", multiplier="1.5")],
        exception_dates=["2026-12-25"],
    )
    create = peak_schedule_messages_pb2.CreatePeakScheduleRequest(peak_schedule=schedule)
    made = await stub.CreatePeakSchedule(create)
    await stub.CreatePrice(messages.CreatePriceRequest(price=vm(peak_schedule_id="office")))
    renamed = models.PeakSchedule()
    renamed.CopyFrom(schedule)
    renamed.display_name = "Office hours"
    moved = models.PeakSchedule()
    moved.CopyFrom(schedule)
    moved.time_zone = "UTC"

    name = await stub.UpdatePeakSchedule(
        peak_schedule_messages_pb2.UpdatePeakScheduleRequest(peak_schedule=renamed)
    )
    calls: tuple[Awaitable[object], ...] = (
        stub.UpdatePeakSchedule(
            peak_schedule_messages_pb2.UpdatePeakScheduleRequest(peak_schedule=moved)
        ),
        stub.DeletePeakSchedule(
            peak_schedule_messages_pb2.DeletePeakScheduleRequest(peak_schedule_id="office")
        ),
        stub.CreatePeakSchedule(create),
    )
    reasons = [(await refused(call)).reason for call in calls]

    assert made.peak_schedule.windows == schedule.windows
    assert name.peak_schedule.display_name == "Office hours"
    assert reasons == ["PEAK_SCHEDULE_IN_USE", "PEAK_SCHEDULE_IN_USE", "PEAK_SCHEDULE_EXISTS"]


def litellm_file(amount: float) -> HttpBody:
    entry = {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": amount,
        "output_cost_per_token": 0.00001,
    }
    return HttpBody(data=json.dumps({"gpt-test": entry}).encode())


async def test_a_catalogue_loaded_again_changes_nothing_and_a_new_price_ends_the_old(
    desk: Desk,
) -> None:
    stub = desk.stub()
    request = messages.ImportPricesRequest(
        kind="litellm", price_book_id="llm", content=litellm_file(0.000001)
    )

    first = await stub.ImportPrices(request)
    again = await stub.ImportPrices(request)
    request.content.CopyFrom(litellm_file(0.000002))
    request.effective_start_time.CopyFrom(from_instant(JUNE))
    dearer = await stub.ImportPrices(request)
    dearer_again = await stub.ImportPrices(request)

    assert first.created > 0
    assert (again.created, again.unchanged) == (0, first.created)
    assert 0 < dearer.created < first.created
    assert (dearer_again.created, dearer_again.unchanged) == (0, first.created)
    context = await desk.contexts.get(desk.tenant)
    model = Attributes("llm", "token", "", resource_id="gpt-test", provider="openai")
    prices = [context.index.plan(model, ("input_token",), at).rates[0].price for at in (NOW, JUNE)]
    assert [found and found.tiers[0].unit_price for found in prices] == [1, 2]


async def test_a_csv_names_the_row_that_is_wrong(desk: Desk) -> None:
    stub = desk.stub()
    header = "resource_type,meter,currency_code,unit_price,effective_start_time\n"
    good = header + "disk,gb,USD,0.10,\nvm,hour,USD,0.5,2026-05-01T00:00:00Z\n"
    request = messages.ImportPricesRequest(kind="csv", price_book_id="file")

    request.content.data = good.encode()
    loaded = await stub.ImportPrices(request)
    again = await stub.ImportPrices(request)
    request.content.data = (good + "vm,day,USD,cheap,\n").encode()
    refusal = await refused(stub.ImportPrices(request))

    assert (loaded.created, again.created, again.unchanged) == (2, 0, 2)
    assert await planned_price(desk, JUNE) == "0.5"
    assert await planned_price(desk, NOW) == ""
    assert refusal.reason == "INVALID_PRICE_FILE"
    assert refusal.metadata["row"] == "4"


@pytest.fixture
async def unseeded(usage_database: Database) -> AsyncIterator[None]:
    """Takes everybody's prices away again, which other tests count on not having."""
    yield
    async with usage_database.system_transaction() as tx:
        for table in (price, peak_schedule, price_book):
            await tx.execute(delete(table).where(table.c.tenant_id == GLOBAL_TENANT))


@pytest.mark.usefixtures("unseeded")
async def test_public_prices_are_seeded_once_for_everybody(
    desk: Desk, usage_database: Database
) -> None:
    is_seeded = await desk.loading.seed_global_prices()
    is_seeded_again = await desk.loading.seed_global_prices()

    assert (is_seeded, is_seeded_again) == (True, False)
    async with usage_database.read(desk.tenant) as tx:
        count = await tx.scalar(select(func.count()).select_from(price))
    assert count == len(genai.load(NOW).prices)
    context = await desk.contexts.get(desk.tenant)
    model = Attributes("llm", "token", "", resource_id="gpt-4o", provider="openai")
    assert context.index.plan(model, ("input_token",), NOW).rates[0].price is not None
    stub = desk.stub("platform_admin")
    listed = await stub.ListPriceBooks(messages.ListPriceBooksRequest())
    same = await stub.ImportPrices(
        messages.ImportPricesRequest(kind="genai", price_book_id=genai.BOOK_ID, is_global=True)
    )
    assert [(book.price_book_id, book.is_global) for book in listed.price_books] == [
        (genai.BOOK_ID, True)
    ]
    assert (same.created, same.unchanged) == (0, count)


@pytest.mark.usefixtures("unseeded")
async def test_seeding_waits_for_a_database_that_is_not_there_yet(
    usage_service: ServiceDatabase, contexts: TenantContexts
) -> None:
    real = urlsplit(usage_service.worker_url)
    port = free_port()

    def through_port(url: str) -> str:
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(real.hostname, real.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    database = Database.connect(
        through_port(usage_service.url),
        service="usage",
        worker_url=through_port(usage_service.worker_url),
    )
    clock = ManualClock(NOW)
    pricing = Pricing(database, contexts, tokens=PageTokens(b"tests"), clock=clock)
    loading = PriceLoading(database, pricing, contexts, clock=clock)

    with capture_logs() as logs:
        seeding = asyncio.create_task(loading.seed_when_reachable())
        await eventually(lambda: _has_warned(logs))
        async with await asyncio.start_server(forward, "127.0.0.1", port):
            await asyncio.wait_for(seeding, timeout=60)

            assert not await loading.seed_global_prices()
            await database.close()


async def _has_warned(logs: Sequence[MutableMapping[str, Any]]) -> bool:
    return any(entry["event"] == "prices wait for the database" for entry in logs)

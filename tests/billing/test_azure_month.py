"""A month of real AI usage on three plans in three currencies, equal to plain arithmetic."""

from __future__ import annotations

import asyncio
import csv
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import islice

import pytest
from finops.billing.v1 import (
    account_model_pb2,
    billing_service_pb2_grpc,
    catalogue_model_pb2,
    catalogue_service_pb2,
    invoice_messages_pb2,
    invoice_model_pb2,
    invoice_service_pb2,
    invoice_service_pb2_grpc,
    pricing_plan_model_pb2,
    pricing_plan_service_pb2,
)
from finops.usage.v1 import (
    pricing_model_pb2,
    pricing_service_pb2,
    pricing_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)

from services.billing.convert.cost_changes import cost_changes
from services.billing.service.metering import Metering
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.ids import new_id
from tests.billing.buying import Desk, desk_of, money, open_account, stamp, subscribe
from tests.billing.conftest import Billing, nothing_is_lost
from tests.support.server import LocalServer, refused, service_token_of
from tests.support.shared import shared_path
from tests.support.waiting import eventually

BEGIN = datetime(2023, 11, 1, tzinfo=UTC)
DAYS = 30
INPUT, OUTPUT = Decimal("0.0000025"), Decimal("0.00001")  # US dollars a token
VAT = Decimal("0.081")
PLANS = {
    "USD": {"flat": "29", "included": "1000000", "first": "0.000004", "rest": "0.000003"},
    "EUR": {"flat": "299.99", "ratio": "1.1"},
    "JPY": {"flat": "44850", "price": "0.0031", "commitment": "200000", "discount": "0.05"},
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the trace, moved to a day of the month."""

    at: datetime
    input_tokens: int
    output_tokens: int


def trace() -> list[Request]:
    """Reads the trace; its hour is spread over the days of the month."""
    with gzip.open(shared_path("llm_usage", "azure_llm_2023_code.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    return [
        Request(
            BEGIN
            + timedelta(days=number % DAYS)
            + (datetime.fromisoformat(row["TIMESTAMP"][:26]) - datetime(2023, 11, 16)),  # noqa: DTZ001 - the trace's own day, without a zone
            int(row["ContextTokens"]),
            int(row["GeneratedTokens"]),
        )
        for number, row in enumerate(rows)
    ]


def per_dollar(code: str) -> Decimal:
    """Returns the bank's rate of the month's last day, from its own file, by school arithmetic."""
    path = shared_path("fx_ecb", "ecb_eur_reference_rates_1999_2025.csv.gz")
    with gzip.open(path, "rt") as file:
        row = next(row for row in csv.DictReader(file) if row["Date"] == "2023-11-30")
    euro = Decimal(1) / Decimal(row["USD"])
    return euro if code == "EUR" else Decimal(row[code]) * euro


def spreadsheet(code: str, requests: list[Request]) -> tuple[Decimal, Decimal]:
    """Returns subtotal and total as a person with a calculator would."""
    plan = {name: Decimal(text) for name, text in PLANS[code].items()}
    sent = sum(request.input_tokens for request in requests)
    made = sum(request.output_tokens for request in requests)
    tokens = Decimal(sent + made)
    cost = sent * INPUT + made * OUTPUT
    fees = 2 * plan["flat"]  # November's, and December's in advance
    with localcontext(prec=60):
        if code == "USD":
            paid = tokens - plan["included"]
            exact = fees + 10_000_000 * plan["first"] + (paid - 10_000_000) * plan["rest"]
        elif code == "EUR":
            exact = fees + cost * plan["ratio"] * per_dollar("EUR")
        else:
            usage = tokens * plan["price"]
            kept = 1 - plan["discount"]
            missing = plan["commitment"] - kept * (plan["flat"] + usage)
            exact = kept * (fees + usage) + max(missing, Decimal(0))
        unit = Decimal(1) if code == "JPY" else Decimal("0.01")
        subtotal = exact.quantize(unit, ROUND_HALF_UP)
        return subtotal, subtotal + (subtotal * VAT).quantize(unit, ROUND_HALF_UP)


def rates_of(code: str) -> pricing_plan_model_pb2.PlanRates:
    """Returns the plan of a currency as it is sold."""
    plan = PLANS[code]
    rates = pricing_plan_model_pb2.PlanRates(currency_code=code, flat_fee=money(plan["flat"], code))
    charge = rates.charges.add(charge_id="ai", display_name="AI", filter='resource_type = "llm"')
    if code == "USD":
        charge.price_model = pricing_plan_model_pb2.PRICE_MODEL_GRADUATED
        charge.included_quantity = plan["included"]
        charge.group_by = "project"
        charge.tiers.add(up_to_quantity="10000000", unit_price=money(plan["first"], code))
        charge.tiers.add(unit_price=money(plan["rest"], code))
    elif code == "EUR":
        charge.price_model = pricing_plan_model_pb2.PRICE_MODEL_COST_PLUS
        charge.cost_ratio = plan["ratio"]
        charge.group_by = "project"
    else:
        charge.price_model = pricing_plan_model_pb2.PRICE_MODEL_PER_UNIT
        charge.unit_price.CopyFrom(money(plan["price"], code))
        rates.minimum_commitment.CopyFrom(money(plan["commitment"], code))
        rates.discounts.add(display_name="Loyal", discount_ratio=plan["discount"])
    return rates


def events(requests: list[Request]) -> Iterator[usage_model_pb2.UsageEvent]:
    for number, request in enumerate(requests):
        yield usage_model_pb2.UsageEvent(
            event_id=str(number),
            source="azure",
            start_time=stamp(request.at),
            resource_type="llm",
            resource_id="gpt-4o",
            project=f"project-{number % 7}",
            quantity=str(request.input_tokens + request.output_tokens),
            unit="token",
            components=[
                usage_model_pb2.UsageComponent(
                    meter="input_token", quantity=str(request.input_tokens)
                ),
                usage_model_pb2.UsageComponent(
                    meter="output_token", quantity=str(request.output_tokens)
                ),
            ],
        )


async def record(server: LocalServer, tenant: str, requests: list[Request]) -> None:
    """Prices and records the month in the usage service."""
    channel = server.channel("org_admin", tenant=tenant)
    pricing = pricing_service_pb2_grpc.PricingServiceStub(channel)
    book = pricing_model_pb2.PriceBook(price_book_id="own")
    await pricing.CreatePriceBook(pricing_service_pb2.CreatePriceBookRequest(price_book=book))
    for meter, price in (("input_token", INPUT), ("output_token", OUTPUT)):
        made = pricing_model_pb2.Price(
            price_book_id="own",
            resource_type="llm",
            meter=meter,
            currency_code="USD",
            model=pricing_model_pb2.PRICING_MODEL_PER_UNIT,
            tiers=[pricing_model_pb2.PriceTier(unit_price=f"{price:f}")],
        )
        await pricing.CreatePrice(pricing_service_pb2.CreatePriceRequest(price=made))
    usage = usage_service_pb2_grpc.UsageServiceStub(channel)
    source = events(requests)
    while batch := list(islice(source, 3_000)):
        answer = await usage.RecordUsage(usage_service_pb2.RecordUsageRequest(events=batch))
        assert not answer.problems


@asynccontextmanager
async def metered(
    database: Database, server: LocalServer, tenants: list[str], quantity: int
) -> AsyncIterator[None]:
    """Follows the real feed until the month of every tenant is metered."""
    channel = server.channel_with(service_token_of("billing", tenant=""))
    metering = Metering(database, cost_changes(channel), nothing_is_lost)
    following = asyncio.create_task(metering.follow())

    async def is_whole() -> bool:
        async with database.system_transaction() as tx:
            found = await tx.driver.fetch(
                "SELECT sum(quantity) AS quantity FROM billing.metered_usage"
                " WHERE tenant_id = ANY($1::text[]) GROUP BY tenant_id",
                tenants,
            )
        return [row["quantity"] for row in found] == [quantity] * len(tenants)

    try:
        await eventually(is_whole)
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def bill(desk: Desk, tenant: str, code: str) -> invoice_model_pb2.Invoice:
    """Subscribes a tenant to the plan of its currency and bills the month."""
    plan = pricing_plan_model_pb2.PricingPlan(
        plan_id=f"plan-{new_id()}",
        display_name="Plan",
        state=pricing_plan_model_pb2.PLAN_STATE_ACTIVE,
        interval=pricing_plan_model_pb2.BILLING_INTERVAL_MONTH,
        rates=[rates_of(code)],
    )
    await desk.plans.CreatePricingPlan(pricing_plan_service_pb2.CreatePricingPlanRequest(plan=plan))
    address = account_model_pb2.Address(country_code="LI")
    await open_account(desk, currency_code=code, address=address)
    await subscribe(desk, plan.plan_id, start_time=stamp(BEGIN), billing_day=1)
    request = invoice_messages_pb2.GenerateInvoiceRequest(
        tenant_id=tenant, month="2023-11", finalize=True
    )
    return (await desk.seller_billing.GenerateInvoice(request)).invoice


async def tax_liechtenstein(desk: Desk) -> None:
    rate = catalogue_model_pb2.TaxRate(
        country_code="LI",
        display_name="VAT 8.1 %",
        rate_ratio=str(VAT),
        start_date="2023-01-01",
    )
    request = catalogue_service_pb2.CreateTaxRateRequest(tax_rate=rate)
    try:
        await desk.catalogue.CreateTaxRate(request)
    except Exception:  # noqa: BLE001 - made by a run of this test before
        assert (await refused(desk.catalogue.CreateTaxRate(request))).reason == "TAX_RATE_OVERLAP"


@pytest.fixture
def clock() -> ManualClock:
    """Five days after the month."""
    return ManualClock(BEGIN + timedelta(days=34))


async def test_a_month_on_three_plans_in_three_currencies_equals_a_spreadsheet(
    billing: Billing, billing_database: Database, usage_server: LocalServer
) -> None:
    requests = trace()
    tenants = {code: f"{billing.tenant}-{code.lower()}" for code in PLANS}
    for tenant in tenants.values():
        await record(usage_server, tenant, requests)
    whole = sum(request.input_tokens + request.output_tokens for request in requests)

    found: dict[str, invoice_model_pb2.Invoice] = {}
    async with metered(billing_database, usage_server, list(tenants.values()), whole):
        for code, tenant in tenants.items():
            desk = desk_of(Billing(billing.server, billing.service, billing.clock, tenant))
            await tax_liechtenstein(desk)
            found[code] = await bill(desk, tenant, code)

    for code, invoice in found.items():
        subtotal, total = spreadsheet(code, requests)
        assert (Decimal(invoice.subtotal.amount), Decimal(invoice.total.amount)) == (
            subtotal,
            total,
        ), code
        await check_printed(billing, tenants[code], invoice, code)


async def check_printed(
    billing: Billing, tenant: str, invoice: invoice_model_pb2.Invoice, code: str
) -> None:
    """Checks lines, rate and date, and that there is a PDF."""
    channel = billing.server.channel("org_admin", tenant=tenant)
    stub = invoice_service_pb2_grpc.InvoiceServiceStub(channel)
    lines = await stub.ListInvoiceLines(
        invoice_service_pb2.ListInvoiceLinesRequest(invoice_id=invoice.invoice_id)
    )
    assert sum(Decimal(line.amount.amount) for line in lines.lines) == Decimal(
        invoice.subtotal.amount
    )
    rates = [(rate.rate_date, rate.source) for rate in invoice.exchange_rates]
    assert rates == ([("2023-11-30", "ECB")] if code == "EUR" else [])
    if rates:
        shown = Decimal(invoice.exchange_rates[0].rate)
        assert abs(shown - per_dollar("EUR")) < Decimal("1e-17")
    document = await billing_service_pb2_grpc.BillingServiceStub(channel).GetInvoicePdf(
        invoice_messages_pb2.GetInvoicePdfRequest(invoice_id=invoice.invoice_id)
    )
    assert document.data.startswith(b"%PDF")

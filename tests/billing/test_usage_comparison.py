"""Invoices beside the usage service: equal, or each difference is found and none invented."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from services.billing.convert.usage_sums import UsageServiceSums
from services.billing.domain.metering import Metered, UsageGroup
from services.billing.domain.reconciliation import Diff, DiffKind
from services.billing.errors import UsageStillArriving
from services.billing.service import comparing_usage
from services.billing.service.comparing_usage import UsageAnswer, UsageComparison
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.period import Period
from tests.billing.buying import desk_of
from tests.billing.conftest import Billing
from tests.billing.test_azure_month import (
    BEGIN,
    Request,
    bill,
    metered,
    record,
    tax_liechtenstein,
)
from tests.support.server import LocalServer, service_token_of

MONTH = Period(BEGIN, BEGIN + timedelta(days=30))
REQUESTS = [
    Request(BEGIN + timedelta(hours=7 * number), 100 + number, 10 * number) for number in range(40)
]


@pytest.fixture
def clock() -> ManualClock:
    """Five days after the month."""
    return ManualClock(BEGIN + timedelta(days=34))


@dataclass(frozen=True, slots=True)
class Billed:
    """A tenant whose month was metered from the real feed, and invoiced."""

    database: Database
    comparison: UsageComparison
    tenant: str
    invoice_id: str

    async def change(self, statement: str) -> None:
        async with self.database.system_transaction() as tx:
            await tx.driver.execute(f"{statement} WHERE tenant_id = $1", self.tenant)

    async def differences(self) -> list[Diff]:
        found = self.comparison.differences(self.tenant, MONTH)
        return [diff async for diff in found if diff is not None]


@pytest.fixture
async def billed(billing: Billing, billing_database: Database, usage_server: LocalServer) -> Billed:
    await record(usage_server, billing.tenant, REQUESTS)
    whole = sum(request.input_tokens + request.output_tokens for request in REQUESTS)
    async with metered(billing_database, usage_server, [billing.tenant], whole):
        desk = desk_of(billing)
        await tax_liechtenstein(desk)
        invoice = await bill(desk, billing.tenant, "USD")
    channel = usage_server.channel_with(service_token_of("billing", tenant=billing.tenant))
    comparison = UsageComparison(billing_database, UsageServiceSums(channel))
    return Billed(billing_database, comparison, billing.tenant, invoice.invoice_id)


async def test_what_was_invoiced_is_what_the_usage_service_has(billed: Billed) -> None:
    assert await billed.differences() == []


async def test_a_line_that_bills_more_than_was_metered_is_found(billed: Billed) -> None:
    await billed.change("UPDATE billing.invoice_line_usage SET quantity = quantity + 1")

    found = await billed.differences()

    assert {(diff.kind, diff.invoice_id) for diff in found} == {(DiffKind.USAGE, billed.invoice_id)}


@pytest.mark.parametrize("change", ["quantity = quantity + 1", "cost = cost - 1", "events = 0"])
async def test_a_meter_that_differs_from_its_source_is_found(billed: Billed, change: str) -> None:
    await billed.change(f"UPDATE billing.metered_usage SET {change}")

    found = await billed.differences()

    about = {diff.provider_object_id for diff in found if not diff.invoice_id}
    assert about == {"llm / token / USD"}
    assert {diff.kind for diff in found} == {DiffKind.USAGE}


async def test_usage_that_no_charge_takes_is_shown_as_unbilled(billed: Billed) -> None:
    await billed.change(
        "UPDATE billing.invoice_line_usage SET dimension_id = 'none', quantity = 0, cost = 0,"
        " events = 0"
    )

    [diff] = await billed.differences()

    tokens = sum(request.input_tokens + request.output_tokens for request in REQUESTS)
    assert diff.kind is DiffKind.UNBILLED
    assert (diff.invoice_id, diff.provider_object_id) == (billed.invoice_id, "llm / token / USD")
    assert (diff.ours, diff.theirs.split(" for ")[0]) == ("", f"{tokens} token")


async def test_late_usage_that_waits_is_no_difference_with_the_source(billed: Billed) -> None:
    await billed.change(
        "WITH moved AS (DELETE FROM billing.metered_usage WHERE tenant_id = $1 RETURNING *)"
        " INSERT INTO billing.late_usage (tenant_id, hour_at, dimension_id, quantity, cost,"
        " events, unpriced_events) SELECT * FROM moved"
    )

    found = await billed.differences()

    # The lines still bill what no meter has in time; the source has all of it.
    assert {bool(diff.invoice_id) for diff in found} == {True}


async def test_usage_that_was_lost_before_the_cursor_is_found(billed: Billed) -> None:
    await billed.change("UPDATE billing.metered_usage SET quantity = quantity - 1")
    await billed.change("UPDATE billing.metering SET as_of_sequence = ''")

    found = await billed.differences()

    assert "llm / token / USD" in {diff.provider_object_id for diff in found}


class Flowing:
    """A usage service to which usage of a month that is over keeps coming."""

    def __init__(self) -> None:
        self.asked = 0

    async def of_hours(self, tenant_id: str, hours: Period) -> UsageAnswer:
        assert tenant_id
        assert hours
        self.asked += 1
        group = UsageGroup(
            resource_type="llm", unit="token", service="", provider="", currency_code="USD"
        )
        count = self.asked
        return UsageAnswer({group: Metered(quantity=count, cost=count, events=count)}, "9")  # type: ignore[arg-type] # whole numbers do


async def test_where_usage_keeps_coming_nothing_is_invented(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = Flowing()
    monkeypatch.setattr(comparing_usage, "PAUSE_SECONDS", 0.0)
    comparison = UsageComparison(billed.database, source)

    with pytest.raises(UsageStillArriving) as refusal:
        [diff async for diff in comparison.differences(billed.tenant, MONTH)]

    assert refusal.value.reason == "USAGE_STILL_ARRIVING"

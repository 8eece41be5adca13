"""Whole periods read at once: every entry once, the costs of QueryCosts, nobody else's rows."""

from __future__ import annotations

import asyncio
import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pyarrow as pa
import pytest
from finops.usage.v1 import cost_model_pb2 as costs
from finops.usage.v1 import (
    read_service_pb2,
    usage_model_pb2,
    usage_service_pb2,
)
from google.api.httpbody_pb2 import HttpBody

from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.usage.service import reading as bulk
from services.usage.service.importing import Imports
from services.usage.service.recording import Recorder
from services.usage.store import reading
from tests.support.database import ServiceDatabase, connection
from tests.support.server import LocalServer, refused
from tests.usage.asking import MONTH, NOON, Stubs, stubs, used
from tests.usage.importers.reading import FOCUS_ROW


async def entries(own: Stubs, **asked: Any) -> list[dict[str, Any]]:
    request = read_service_pb2.ReadEventsRequest(**(MONTH | asked))
    rows: list[dict[str, Any]] = []
    held = b""
    async for message in own.read.ReadEvents(request):
        held += message.arrow
        if message.ends_page:
            table = pa.ipc.open_stream(held).read_all()
            assert table.num_rows == message.rows
            rows += table.to_pylist()
            held = b""
    assert not held
    return rows


async def total(own: Stubs, **asked: Any) -> tuple[Decimal, int]:
    answer = await own.usage.QueryCosts(costs.QueryCostsRequest(**(MONTH | asked)))
    return (
        sum((Decimal(each.cost.amount) for each in answer.totals), Decimal(0)),
        sum(each.events for each in answer.totals),
    )


def sum_of(rows: list[dict[str, Any]]) -> tuple[Decimal, int]:
    return (
        sum((Decimal(row["billed_cost"]) for row in rows), Decimal(0)),
        sum(-1 if row["is_reversal"] else 1 for row in rows),
    )


async def test_entries_come_once_each_in_order_whatever_a_page_holds(
    own: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 7)
    await own.record(*(used(number, f"0.{number:018d}") for number in range(21)))

    rows = await entries(own)

    assert [row["event_id"] for row in rows] == [f"e{number}" for number in range(21)]
    assert sum_of(rows) == await total(own)


async def test_next_page_follows_whatever_texts_the_last_entry_holds(
    own: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 1)
    odd = ['a,"b",9\n', "x\n2026-01-01 00:00:00+00,7", '"']
    events = [used(number, "1", error_code=text) for number, text in enumerate(odd)]
    await own.record(*events)

    rows = await entries(own)

    assert [row["error_code"] for row in rows] == odd


async def test_entry_says_what_its_event_says(own: Stubs) -> None:
    event = used(
        1,
        "1.5",
        user_id="ada",
        department="labs",
        tags={"team": 'r"ed'},
        outcome=usage_model_pb2.OUTCOME_FAILED,
        error_code="LIMIT",
        latency_ms=12,
        utilization=0.25,
        capacity="3",
        components=[usage_model_pb2.UsageComponent(meter="token", quantity="7")],
    )
    event.cost.list = "2.000"
    await own.record(event)

    (row,) = await entries(own)

    assert row["start_time"] == row["end_time"] == NOON + timedelta(minutes=1)
    assert (row["billed_cost"], row["list_cost"], row["effective_cost"]) == ("1.5", "2", "1.5")
    assert (row["user_id"], row["department"], row["region"]) == ("ada", "labs", "")
    assert (row["outcome"], row["error_code"], row["latency_ms"]) == ("FAILED", "LIMIT", 12)
    assert (row["utilization"], row["capacity"], row["is_rated"]) == (0.25, "3", False)
    assert json.loads(row["tags"]) == {"team": 'r"ed'}
    assert json.loads(row["components"]) == [["token", "7"]]
    assert row["bill_columns"] is None


async def test_amended_event_has_the_entries_that_its_cost_is_made_of(own: Stubs) -> None:
    await own.record(used(1, "2"), used(2, "3"))
    await own.usage.AmendUsage(
        usage_service_pb2.AmendUsageRequest(
            source="test", event_id="e1", replacement=used(1, "5"), amend_reason="wrong meter"
        )
    )

    rows = await entries(own)

    shown = [(row["event_id"], row["is_reversal"], row["billed_cost"]) for row in rows]
    assert sorted(shown) == [
        ("e1", False, "2"),
        ("e1", False, "5"),
        ("e1", True, "-2"),
        ("e2", False, "3"),
    ]
    assert sum_of(rows) == await total(own) == (Decimal(8), 2)


@pytest.mark.parametrize(
    "filter_text",
    ['department = "labs"', 'tags.env = "prod" AND NOT user = "ada"', 'event_id = "e2"'],
)
async def test_filter_means_what_it_means_to_questions(own: Stubs, filter_text: str) -> None:
    await own.record(
        used(1, "1", department="labs"),
        used(2, "2", user_id="bob", tags={"env": "prod"}),
        used(3, "4", user_id="ada", tags={"env": "prod"}),
    )

    rows = await entries(own, filter=filter_text)

    assert len(rows) == 1
    if "event_id" not in filter_text:
        assert sum_of(rows) == await total(own, filter=filter_text)


async def test_bill_gives_its_other_columns_and_their_names(
    own: Stubs,
    usage_database: Database,
    recorder: Recorder,
    tenant: str,
) -> None:
    row = FOCUS_ROW | {"ChargePeriodStart": "2026-03-02", "ChargePeriodEnd": "2026-03-03"}
    row |= {"BillingPeriodStart": "2026-03-01", "BillingPeriodEnd": "2026-04-01", "x_a": "=1"}
    lines = [",".join(row), ",".join(row.values())]
    content = HttpBody(content_type="text/csv", data="\n".join(lines).encode())
    started = await own.usage.ImportUsage(usage_service_pb2.ImportUsageRequest(content=content))
    imports = Imports(usage_database, recorder, tokens=None, clock=ManualClock(NOON))  # type: ignore[arg-type]
    await imports.run(Job(1, "import", getattr(started, "import").import_id.encode(), 1, tenant))

    (entry,) = await entries(own)

    kept = json.loads(entry["bill_columns"])
    assert (kept["x_a"], kept["PricingUnit"]) == ("=1", "Hours")
    head = await anext(aiter(own.read.ReadEvents(read_service_pb2.ReadEventsRequest(**MONTH))))
    assert {"x_a", "PricingUnit", "BillingAccountName"} <= set(head.bill_columns)
    assert head.time_zone == "UTC"


async def test_months_that_were_archived_are_refused_and_named(
    own: Stubs, usage_service: ServiceDatabase
) -> None:
    month = date(1993, 2, 1)
    async with connection(usage_service.owner_url) as driver:
        await driver.execute("INSERT INTO usage.archived_month VALUES ($1, 1, 1, 'a')", month)

    request = read_service_pb2.ReadEventsRequest(start="1993-01-31", end="1993-02-02")
    refusal = await refused(anext(aiter(own.read.ReadEvents(request))))

    assert (refusal.reason, refusal.metadata) == ("USAGE_ARCHIVED", {"months": "1993-02"})
    beside = await entries(own, start="1993-03-01", end="1993-03-02")
    assert beside == []


async def test_nobody_reads_the_entries_of_another_tenant(
    own: Stubs, usage_server: LocalServer, tenant: str
) -> None:
    await own.record(used(1, "1"))

    assert await entries(stubs(usage_server, "other")) == []
    request = read_service_pb2.ReadEventsRequest(tenant_id=tenant)
    refusal = await refused(anext(aiter(stubs(usage_server, "other").read.ReadEvents(request))))
    assert refusal.reason == "TENANT_MISMATCH"


async def test_slow_reader_leaves_room_for_other_tenants(
    own: Stubs, usage_server: LocalServer, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_free = asyncio.Event()
    page_csv = reading.page_csv

    async def slow(tx: Any, tenant_id: str, *rest: Any, **more: Any) -> Any:
        if tenant_id == tenant:
            await is_free.wait()
        return await page_csv(tx, tenant_id, *rest, **more)

    monkeypatch.setattr(reading, "page_csv", slow)
    monkeypatch.setattr(bulk, "TURN_SECONDS", 0.2)
    answers = aiter(own.read.ReadEvents(read_service_pb2.ReadEventsRequest(**MONTH)))
    await anext(answers)

    async with asyncio.timeout(10):
        refusal = await refused(entries(own))
        beside = await entries(stubs(usage_server, "other"))
    is_free.set()
    rest = [message async for message in answers]

    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (refusal.reason, refusal.metadata) == ("BULK_READERS_BUSY", {"readers_max": "2"})
    assert beside == rest == []
    assert await entries(own) == []


async def test_all_rows_of_an_answer_come_in_pages(own: Stubs) -> None:
    await own.record(*(used(number, "0.1", department=f"d{number}") for number in range(5)))
    question = costs.QueryCostsRequest(
        **MONTH, group_by=["department"], order_by="department", page_size=2
    )

    request = read_service_pb2.ReadCostsRequest(question=question)
    pages = [message.page async for message in own.read.ReadCosts(request)]

    assert [len(page.rows) for page in pages] == [2, 2, 1]
    assert [row.group["department"] for page in pages for row in page.rows] == [
        f"d{number}" for number in range(5)
    ]
    assert {page.totals[0].cost.amount for page in pages} == {"0.5"}

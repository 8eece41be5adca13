"""Exports: the same rows and totals in every format, exact, bounded, and only for who may read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typst
from finops.budget.v1 import budget_model_pb2, budget_service_pb2
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import (
    report_messages_pb2,
    reporting_service_pb2_grpc,
)
from finops.usage.v1 import cost_model_pb2, usage_model_pb2, usage_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.period import Period
from services.reporting.api.exports import ExportMethods
from services.reporting.bootstrap import ReportingService
from services.reporting.convert.export_lists import InvoiceRows
from services.reporting.domain.exports import Dataset, ExportQuestion, ExportWish
from services.reporting.errors import InvoicesRefused
from services.reporting.service.exports import pdf_file, xlsx_file
from tests.reporting.conftest import Caller
from tests.reporting.exported import rows_of, total_of
from tests.support.server import LocalServer, refused, service_token_of, serving

DAY = datetime(2026, 6, 10, 12, tzinfo=UTC)
PERIOD = {"start": "2026-06-01", "end": "2026-06-15"}
FORMATS = ("csv", "json", "parquet", "xlsx")
DIMENSIONS = ("department", "project", "service", "provider", "tag:env", "unit")
FILTERS = ("", 'department = "labs"', 'tags.env = "prod" OR project = "p1"', 'NOT service = "s0"')
FORMULA = '=cmd|"/c calc"!A1'


class OnlyExports(ExportMethods, reporting_service_pb2_grpc.ReportingServiceServicer):
    """ReportingService with nothing but exports."""

    def __init__(self, built: ReportingService) -> None:
        super().__init__(exports=built.exporting.at_once)


@pytest.fixture
async def exporting(
    reporting_database: Database, built: ReportingService
) -> AsyncIterator[LocalServer]:
    """Serves ReportingService.Export and ExportService."""

    def register(server: Any) -> None:
        only: Any = OnlyExports
        reporting_service_pb2_grpc.add_ReportingServiceServicer_to_server(only(built), server)

    async with serving(register, *built.servicers, database=reporting_database) as running:
        yield running


def used(number: int, billed: str, **fields: Any) -> usage_model_pb2.UsageEvent:
    at = Timestamp()
    at.FromDatetime(fields.pop("at", DAY + timedelta(minutes=number)))
    costs = fields.pop("costs", {})
    event_id = fields.pop("event_id", f"e{number}")
    fields = {"resource_type": "llm", "quantity": "2", "unit": "call"} | fields
    cost = usage_model_pb2.UsageCost(currency_code="USD", billed=billed, **costs)
    return usage_model_pb2.UsageEvent(
        event_id=event_id, source="tests", start_time=at, cost=cost, **fields
    )


async def record(caller: Caller, *events: usage_model_pb2.UsageEvent) -> None:
    request = usage_service_pb2.RecordUsageRequest(events=events)
    answer = await caller.usage.RecordUsage(request)
    assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}, answer


async def export(
    server: LocalServer, caller: Caller, role: str = "org_admin", **asked: Any
) -> bytes:
    channel = server.channel(role, tenant=caller.tenant_id)
    stub: Any = reporting_service_pb2_grpc.ReportingServiceStub(channel)
    request = report_messages_pb2.ExportRequest(**asked)
    return b"".join([piece.data async for piece in stub.Export(request)])


async def costs(caller: Caller, **asked: Any) -> cost_model_pb2.QueryCostsResponse:
    return await caller.usage.QueryCosts(cost_model_pb2.QueryCostsRequest(**asked))


def total_in(answer: cost_model_pb2.QueryCostsResponse) -> Decimal:
    return total_of(({"cost": each.cost.amount} for each in answer.totals), "cost")


amounts = st.decimals(-1000, 1000, places=18, allow_nan=False).map(lambda value: f"{value:f}")
usages: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    billed=amounts,
    hours=st.integers(0, 13 * 24),
    department=st.sampled_from(["", "labs", "ops"]),
    project=st.sampled_from(["", "p1", FORMULA]),
    service=st.sampled_from(["s0", "s1"]),
    env=st.sampled_from(["", "prod"]),
    effective=amounts,
)


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_totals_equal_those_of_the_same_question_in_every_format(
    exporting: LocalServer, caller: Caller, data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(usages, min_size=1, max_size=12))
    await record(
        caller,
        *(
            used(
                number,
                item["billed"],
                event_id=new_id(),
                at=datetime(2026, 6, 1, 0, 30, tzinfo=UTC) + timedelta(hours=item["hours"]),
                costs={"effective": item["effective"]},
                department=item["department"],
                project=item["project"],
                service=item["service"],
                tags={"env": item["env"]} if item["env"] else {},
            )
            for number, item in enumerate(drawn)
        ),
    )
    asked: dict[str, Any] = {
        **PERIOD,
        "group_by": data.draw(st.lists(st.sampled_from(DIMENSIONS), max_size=3, unique=True)),
        "granularity": data.draw(st.sampled_from(["total", "hour", "day", "week", "month"])),
        "filter": data.draw(st.sampled_from(FILTERS)),
        "cost_type": data.draw(st.sampled_from(["billed", "effective"])),
    }

    answer = await costs(caller, **asked)
    found = {form: await export(exporting, caller, format=form, **asked) for form in FORMATS}
    events = {
        form: await export(
            exporting, caller, format=form, dataset="usage", filter=asked["filter"], **PERIOD
        )
        for form in FORMATS
    }

    column = f"{asked['cost_type']}_cost"
    wanted = total_in(answer)
    for form in FORMATS:
        rows = rows_of(found[form], form)
        assert total_of(rows, column) == wanted
        assert sum(int(row["events"]) for row in rows) == sum(t.events for t in answer.totals)
        assert len(rows) == sum(t.groups for t in answer.totals)
        assert total_of(rows_of(events[form], form), column) == wanted


async def test_pdf_shows_the_rows_and_their_total(
    exporting: LocalServer, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(caller, used(1, "0.1"), used(2, "-7.000000000000000001"))
    shown: list[dict[str, Any]] = []
    compile_ = typst.compile

    def watched(*args: Any, **named: Any) -> Any:
        shown.append(json.loads(named["sys_inputs"]["content"]))
        return compile_(*args, **named)

    monkeypatch.setattr(typst, "compile", watched)

    content = await export(exporting, caller, format="pdf", **PERIOD)

    assert content.startswith(b"%PDF")
    (table,) = shown
    rows = [dict(zip(table["header"], row, strict=True)) for row in table["rows"]]
    assert total_of(rows, "billed_cost") == Decimal("-6.900000000000000001")


async def test_amounts_are_exact_text_and_exact_decimals_in_parquet(
    exporting: LocalServer, caller: Caller
) -> None:
    tiny = "0.000000000000000001"
    await record(caller, used(1, tiny))
    asked = {"dataset": "usage", **PERIOD}

    found = {form: await export(exporting, caller, format=form, **asked) for form in FORMATS}

    for form in ("csv", "json", "xlsx"):
        (row,) = rows_of(found[form], form)
        assert row["billed_cost"] == tiny
    schema = pq.read_schema(pa.BufferReader(found["parquet"]))
    assert schema.field("billed_cost").type == pa.decimal128(38, 18)
    assert schema.field("start_time").type == pa.timestamp("us", tz="UTC")


async def test_text_that_a_spreadsheet_would_compute_is_text(
    exporting: LocalServer, caller: Caller
) -> None:
    starts = ("=", "+", "-", "@")
    await record(
        caller,
        *(used(number, "-1", project=f"{start}1+1") for number, start in enumerate(starts)),
    )
    asked = {"dataset": "usage", **PERIOD}

    csv_rows = rows_of(await export(exporting, caller, format="csv", **asked), "csv")
    xlsx_rows = rows_of(await export(exporting, caller, format="xlsx", **asked), "xlsx")
    json_rows = rows_of(await export(exporting, caller, format="json", **asked), "json")

    assert [row["project"] for row in csv_rows] == [f"'{start}1+1" for start in starts]
    assert {row["billed_cost"] for row in csv_rows} == {"-1"}
    assert [row["project"] for row in xlsx_rows] == [f"{start}1+1" for start in starts]
    assert [row["project"] for row in json_rows] == [f"{start}1+1" for start in starts]


async def test_usage_says_all_of_an_event_in_every_format(
    exporting: LocalServer, caller: Caller
) -> None:
    event = used(
        1, "2", user_id='a"d\\a', tags={"k": "v"}, latency_ms=7, utilization=0.5, region="eu"
    )
    event.outcome = usage_model_pb2.OUTCOME_FAILED
    await record(caller, event)
    asked = {"dataset": "usage", **PERIOD}

    found = {
        form: rows_of(await export(exporting, caller, format=form, **asked), form)[0]
        for form in ("csv", "json", "parquet")
    }

    assert {row["user_id"] for row in found.values()} == {'a"d\\a'}
    assert {row["outcome"] for row in found.values()} == {"FAILED"}
    assert found["csv"]["start_time"] == "2026-06-10T12:01:00Z" == found["json"]["start_time"]
    assert found["json"]["tags"] == {"k": "v"}
    assert (found["json"]["latency_ms"], found["json"]["utilization"]) == (7, 0.5)
    assert (found["json"]["is_reversal"], found["json"]["capacity"]) == (False, None)
    assert found["parquet"]["latency_ms"] == 7
    assert found["csv"]["capacity"] == ""


async def test_export_of_nothing_is_a_file_with_a_header(
    exporting: LocalServer, caller: Caller
) -> None:
    for form in FORMATS:
        content = await export(exporting, caller, format=form, dataset="usage", **PERIOD)

        assert rows_of(content, form) == []
    csv_text = (await export(exporting, caller, dataset="usage", **PERIOD)).decode()
    assert csv_text.startswith('"source","event_id"')


async def test_budgets_are_exported_as_they_stand(exporting: LocalServer, caller: Caller) -> None:
    await caller.budgets.CreateBudget(
        budget_service_pb2.CreateBudgetRequest(
            budget=budget_model_pb2.Budget(
                display_name="All",
                scope=budget_model_pb2.BudgetScope(),
                cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                amount=Money(currency_code="USD", amount="100"),
            )
        )
    )

    content = await export(exporting, caller, dataset="budgets", format="csv")

    (row,) = rows_of(content, "csv")
    assert (row["display_name"], row["limit"], row["currency_code"]) == ("All", "100", "USD")
    assert (row["state"], row["period_start_time"]) == ("active", "2026-06-01T00:00:00Z")


async def test_anomalies_of_a_quiet_tenant_are_an_empty_file(
    exporting: LocalServer, caller: Caller
) -> None:
    content = await export(exporting, caller, dataset="anomalies", format="json", **PERIOD)

    assert json.loads(content) == []


async def test_dataset_of_a_service_that_is_not_there_says_so(
    exporting: LocalServer, caller: Caller
) -> None:
    refusal = await refused(export(exporting, caller, dataset="invoices"))

    assert (refusal.reason, refusal.metadata) == ("SERVICE_NOT_CONNECTED", {"dataset": "invoices"})


async def test_refusal_of_the_billing_service_is_told_as_one(
    usage_server: LocalServer, tenant: str
) -> None:
    elsewhere = usage_server.channel_with(service_token_of("reporting", tenant=""))
    wish = ExportWish(tenant_id=tenant, dataset=Dataset.INVOICES)
    question = ExportQuestion(wish=wish, period=Period(DAY, DAY + timedelta(days=1)))

    with pytest.raises(InvoicesRefused) as caught:
        await anext(InvoiceRows(elsewhere).pages(question))

    assert caught.value.reason == "INVOICES_REFUSED"
    assert caught.value.metadata == {"code": "UNIMPLEMENTED"}


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"dataset": "usage", "group_by": ["project"]}, "group_by"),
        ({"dataset": "usage", "currency": "EUR"}, "currency"),
        ({"dataset": "budgets", "start": "2026-01-01"}, "start"),
        ({"dataset": "usage", "format": "focus"}, "dataset"),
        ({"format": "focus", "granularity": "day"}, "granularity"),
    ],
)
async def test_option_that_would_change_nothing_is_refused(
    exporting: LocalServer, caller: Caller, asked: dict[str, Any], option: str
) -> None:
    refusal = await refused(export(exporting, caller, **asked))

    assert refusal.reason == "EXPORT_OPTION_REFUSED"
    assert refusal.metadata == {"option": option}


async def test_filter_that_usage_does_not_know_is_refused_in_its_words(
    exporting: LocalServer, caller: Caller
) -> None:
    for dataset in ("costs", "usage"):
        refusal = await refused(export(exporting, caller, dataset=dataset, filter="nobody = 1"))

        assert refusal.reason == "USAGE_QUESTION_REFUSED"
        assert "nobody" in refusal.message


async def test_caller_exports_only_what_they_may_read(
    exporting: LocalServer, caller: Caller
) -> None:
    refusal = await refused(export(exporting, caller, "analyst", dataset="invoices"))
    others = await refused(export(exporting, caller, tenant_id="other"))

    assert refusal.reason == "PERMISSION_DENIED"
    assert others.reason == "TENANT_MISMATCH"


@pytest.mark.parametrize(("form", "module"), [("pdf", pdf_file), ("xlsx", xlsx_file)])
async def test_format_that_is_full_names_one_that_is_not(
    exporting: LocalServer,
    caller: Caller,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    module: Any,
) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 1)
    await record(caller, used(1, "1"), used(2, "1"))

    refusal = await refused(export(exporting, caller, dataset="usage", format=form, **PERIOD))

    assert (refusal.reason, refusal.metadata) == (
        "EXPORT_TOO_LARGE",
        {"format": form, "rows_max": "1"},
    )
    assert "csv" in refusal.message

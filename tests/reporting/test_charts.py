"""GetChart and ListCharts over real usage and budgets."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import grpc
import pytest
from finops.budget.v1 import budget_model_pb2, budget_service_pb2, spend_messages_pb2
from finops.budget.v1.spend_model_pb2 import SpendSubject
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import report_messages_pb2 as messages
from finops.reporting.v1 import reporting_service_pb2_grpc
from finops.usage.v1 import cost_model_pb2, usage_model_pb2, usage_service_pb2
from google.api.httpbody_pb2 import HttpBody

from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.money import add_exactly
from services.reporting import bootstrap
from services.reporting.api.charts import ChartMethods
from services.reporting.bootstrap import ReportingService
from services.reporting.convert.instants import from_instant
from services.reporting.domain.chart.catalog import CHARTS
from services.reporting.settings import ReportingSettings
from tests.reporting.conftest import SECRETS, TODAY, Caller
from tests.support.server import LocalServer, refused, service_token_of, serving

PERIOD = {"start": "2026-05-16", "end": "2026-06-16"}
WEEK = ("30.000000000000000001", "32.5", "31", "33", "30", "10", "8")
COST_CHARTS = tuple(name for name in CHARTS if name.startswith("cost-"))
NASTY = "<script>alert('1')</script>"


class Servicer(ChartMethods, reporting_service_pb2_grpc.ReportingServiceServicer):
    """ReportingService with its charts alone."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A tenant's charts, and who records its usage."""

    caller: Caller
    stub: reporting_service_pb2_grpc.ReportingServiceAsyncStub

    async def chart(self, chart: str, **asked: Any) -> HttpBody:
        return await self.stub.GetChart(messages.GetChartRequest(chart=chart, **asked))

    async def spec(self, chart: str, **asked: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.chart(chart, **asked)).data)
        return found

    async def total(self, **asked: Any) -> Decimal:
        """Returns what QueryCosts says of the same question."""
        answer = await self.caller.usage.QueryCosts(cost_model_pb2.QueryCostsRequest(**asked))
        return add_exactly(Decimal(each.cost.amount) for each in answer.totals)

    async def spend(self, amount: str, limit: str) -> str:
        """Makes a budget and spends from it; returns the budget's id."""
        made = await self.caller.budgets.CreateBudget(
            budget_service_pb2.CreateBudgetRequest(
                budget=budget_model_pb2.Budget(
                    display_name=f"Budget of {limit}",
                    scope=budget_model_pb2.BudgetScope(),
                    cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                    amount=Money(currency_code="USD", amount=limit),
                )
            )
        )
        money = Money(currency_code="USD", amount=amount)
        allowed = await self.caller.budgets.AuthorizeSpend(
            spend_messages_pb2.AuthorizeSpendRequest(
                subject=SpendSubject(user_id="ada", resource_type="llm"), amount=money
            )
        )
        authorization = allowed.spend_authorization.authorization_id
        await self.caller.budgets.SettleSpend(
            spend_messages_pb2.SettleSpendRequest(authorization_id=authorization, cost=money)
        )
        return made.budget.budget_id


@asynccontextmanager
async def charts_of(
    service: ReportingService, database: Database, role: str, tenant: str
) -> AsyncIterator[reporting_service_pb2_grpc.ReportingServiceAsyncStub]:
    """Serves the charts to a caller with a role."""
    # Only the composed servicer has all methods; the type checker knows that this one has not.
    alone: Any = Servicer
    register = partial(
        reporting_service_pb2_grpc.add_ReportingServiceServicer_to_server,
        alone(charting=service.charting),
    )
    async with serving(register, database=database) as server:
        stub: Any = reporting_service_pb2_grpc.ReportingServiceStub(
            server.channel(role, tenant=tenant)
        )
        yield stub
    await service.drawing.close()


@pytest.fixture
async def viewer(
    built: ReportingService, reporting_database: Database, caller: Caller, tenant: str
) -> AsyncIterator[Viewer]:
    """The charts of a tenant that no other test uses."""
    async with charts_of(built, reporting_database, "viewer", tenant) as stub:
        yield Viewer(caller, stub)


def exact_sum(spec: dict[str, Any]) -> Decimal:
    """Returns the sum of what a specification draws, to the last digit."""
    return add_exactly(
        Decimal(row["cost_exact"]) for row in spec["data"]["values"] if "cost_exact" in row
    )


def subtitle_of(spec: dict[str, Any]) -> str:
    return " ".join(spec["title"]["subtitle"])


async def record(caller: Caller, at: datetime, billed: str, **fields: Any) -> None:
    event = usage_model_pb2.UsageEvent(
        event_id=new_id(),
        source="tests",
        start_time=from_instant(at),
        quantity="1",
        unit="call",
        cost=usage_model_pb2.UsageCost(currency_code="USD", billed=billed),
        **{"resource_type": "llm"} | fields,
    )
    answer = await caller.usage.RecordUsage(usage_service_pb2.RecordUsageRequest(events=[event]))
    assert answer.statuses == [usage_model_pb2.RECORD_STATUS_ACCEPTED]


async def test_a_chart_comes_as_specification_svg_and_png(viewer: Viewer) -> None:
    await viewer.caller.record_days(list(WEEK), department="research")

    spec = await viewer.chart("cost-breakdown")
    svg = await viewer.chart("cost-breakdown", format="svg", theme="dark", width=320)
    png = await viewer.chart("cost-breakdown", format="png", width=640, height=480)

    assert spec.content_type == "application/vnd.vegalite.v6+json"
    assert json.loads(spec.data)["data"]["values"][0]["name"] == "research"
    assert svg.content_type == "image/svg+xml"
    assert ET.fromstring(svg.data).get("width") == "320"  # noqa: S314 - made here
    assert b"#12161f" in svg.data
    assert png.content_type == "image/png"
    assert struct.unpack(">II", png.data[16:24]) == (640, 480)


@pytest.mark.parametrize("chart", ["cost-breakdown", "cost-by-region", "cost-treemap"])
async def test_groups_add_up_to_the_cost_of_the_same_question(viewer: Viewer, chart: str) -> None:
    for place in range(14):
        await viewer.caller.record_days(
            ["0.000000000000000001", str(100 - place)], department=f"team {place}"
        )

    spec = await viewer.spec(chart, **PERIOD)

    assert exact_sum(spec) == await viewer.total(**PERIOD)
    assert exact_sum(spec) == Decimal("1309.000000000000000014")


async def test_a_line_has_every_day_and_goes_on_as_forecast(viewer: Viewer) -> None:
    await viewer.caller.record_days(list(WEEK) * 8)

    spec = await viewer.spec("cost-over-time")

    *bands, ahead, known, _peak = spec["layer"]
    days = known["data"]["values"]
    assert len(days) == 30
    assert days[-1]["start"] == "2026-06-14T00:00:00Z"
    # Today is not over: it is part of what is forecast.
    assert len(ahead["data"]["values"]) == 31
    assert [band["encoding"]["y2"]["field"] for band in bands] == ["upper_95", "upper_80"]
    drawn = add_exactly(Decimal(day["cost_exact"]) for day in days)
    assert drawn == await viewer.total(start="2026-05-16", end="2026-06-15")


async def test_a_line_of_the_past_has_no_forecast_and_days_without_usage_are_zero(
    viewer: Viewer,
) -> None:
    await record(viewer.caller, TODAY - timedelta(days=40), "5")

    spec = await viewer.spec("cost-over-time", start="2026-05-01", end="2026-05-11")

    (known, _peak) = spec["layer"]
    costs = [day["cost_exact"] for day in known["data"]["values"]]
    assert costs == ["0"] * 5 + ["5"] + ["0"] * 4
    assert spec["title"]["text"] == ["Cost by day"]
    assert subtitle_of(spec).startswith("1 to 10 May 2026")


async def test_groups_over_time_add_up(viewer: Viewer) -> None:
    await viewer.caller.record_days(list(WEEK), department="research")
    await viewer.caller.record_days(list(WEEK), department="sales")

    spec = await viewer.spec(
        "cost-over-time", group_by=["department"], granularity="week", **PERIOD
    )

    assert exact_sum(spec) == await viewer.total(**PERIOD)
    assert {row["group"] for row in spec["data"]["values"]} == {"research", "sales"}


async def test_a_heat_map_is_of_the_tenants_hours(viewer: Viewer) -> None:
    await record(viewer.caller, datetime.fromisoformat("2026-06-10T14:20:00+00:00"), "7")
    await record(viewer.caller, datetime.fromisoformat("2026-06-03T14:50:00+00:00"), "4")

    spec = await viewer.spec("cost-heatmap", **PERIOD)

    hot = [row for row in spec["data"]["values"] if row["cost"]]
    assert [(row["when"], row["cost_exact"]) for row in hot] == [
        ("Wed 14:00\N{EN DASH}15:00", "11")
    ]
    assert "UTC" in subtitle_of(spec)


async def test_a_variance_leads_from_the_period_before_to_this_one(viewer: Viewer) -> None:
    for at, billed, team in (
        ("2026-05-10", "100", "research"),
        ("2026-05-11", "40", "sales"),
        ("2026-06-02", "130.5", "research"),
        ("2026-06-03", "5", "people"),
    ):
        instant = datetime.fromisoformat(f"{at}T12:00:00+00:00")
        await record(viewer.caller, instant, billed, department=team)

    spec = await viewer.spec("cost-variance", start="2026-06-01", end="2026-07-01")

    shown = [(row["name"], row["cost_exact"]) for row in spec["data"]["values"]]
    assert shown == [
        ("1 to 31 May 2026", "140"),
        ("sales", "-40"),
        ("research", "30.5"),
        ("people", "5"),
        ("1 to 30 June 2026", "135.5"),
    ]


async def test_a_budget_is_drawn_as_its_status_has_it(viewer: Viewer) -> None:
    small = await viewer.spend("45", "50")
    await viewer.caller.record_days(list(WEEK))
    large = await viewer.spend("20.25", "900")

    spec = await viewer.spec("budget-gauge")
    other = await viewer.spec("budget-gauge", budget_id=small)
    burnt = await viewer.spec("budget-burn-down", budget_id=large)

    status = await viewer.caller.budgets.GetBudgetStatus(
        budget_service_pb2.GetBudgetStatusRequest(budget_id=large)
    )
    totals = status.budget_status.totals
    parts = {row["name"]: row["amount_exact"] for row in rows_of(spec) if "name" in row}
    assert spec["title"]["text"] == ["Budget Budget of 900"]
    assert parts["Limit"] == "900"
    assert parts["Spent"] == totals.spent.amount
    assert other["title"]["text"] == ["Budget Budget of 50"]
    line = next(each for each in burnt["layer"] if each["mark"].get("strokeWidth") == 2)
    known = [row for row in rows_of(burnt) if row.get("instant", "").startswith("2026-06-15T09")]
    assert line["data"]["values"][0]["remaining_exact"] == totals.remaining.amount
    assert known[0]["remaining_exact"] == totals.remaining.amount


def rows_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of all layers."""
    return [row for layer in spec["layer"] for row in layer.get("data", {}).get("values", [])]


async def test_alerts_are_on_the_timeline_when_they_fired(viewer: Viewer) -> None:
    await viewer.spend("45", "50")

    spec = await viewer.spec("alert-timeline", **PERIOD)
    before = await viewer.spec("alert-timeline", start="2026-04-01", end="2026-05-01")

    marks = spec["data"]["values"]
    assert all(mark["instant"].startswith("2026-06-15T09:30:00") for mark in marks)
    assert len(marks) >= 3
    assert all(mark["open"] for mark in marks)
    assert before["data"]["values"] == [{}]


async def test_an_unknown_budget_is_refused(viewer: Viewer) -> None:
    refusal = await refused(viewer.chart("budget-gauge", budget_id="none"))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "CHART_BUDGET_NOT_FOUND"
    assert refusal.metadata["budget_id"] == "none"


async def test_without_its_services_a_chart_says_what_is_missing(
    reporting_database: Database, usage_server: LocalServer, caller: Caller, tenant: str, clock: Any
) -> None:
    alone = bootstrap.build(
        reporting_database,
        usage_server.channel_with(service_token_of("reporting", tenant="")),
        None,
        ReportingSettings(**SECRETS),
        clock=clock,
    )

    async with charts_of(alone, reporting_database, "viewer", tenant) as stub:
        viewer = Viewer(caller, stub)
        said = {
            name: json.dumps(await viewer.spec(name)) for name in CHARTS if name not in COST_CHARTS
        }

    assert len(said) == 4
    assert "The optimizer is not connected." in said.pop("recommendation-priorities")
    assert all("The budget service is not connected." in text for text in said.values())


@pytest.mark.parametrize("chart", CHARTS)
async def test_a_tenant_without_anything_gets_a_picture_that_says_so(
    viewer: Viewer, chart: str
) -> None:
    spec = await viewer.spec(chart)

    said = " ".join(" ".join(layer["mark"].get("text", [])) for layer in spec["layer"])
    assert " no " in f" {said.lower()}" or "not connected" in said


async def test_names_from_outside_do_not_break_out(viewer: Viewer) -> None:
    await viewer.caller.record_days(["5", "6"], department=NASTY)

    svg = await viewer.chart("cost-breakdown", format="svg")
    spec = await viewer.chart("cost-breakdown")

    assert b"<script" not in svg.data
    assert NASTY in " ".join(ET.fromstring(svg.data).itertext())  # noqa: S314 - made here
    assert b"<" not in spec.data
    assert json.loads(spec.data)["data"]["values"][0]["name"] == NASTY


@pytest.mark.parametrize(
    ("chart", "asked", "fields"),
    [
        ("cost-breakdown", {"budget_id": "b"}, ["budget_id"]),
        (
            "budget-gauge",
            {"filter": 'department = "x"', "start": "2026-01-01"},
            ["start", "filter"],
        ),
        ("cost-breakdown", {"width": 319}, ["width"]),
        ("cost-breakdown", {"width": 320, "height": 100}, ["height"]),
        ("cost-over-time", {"granularity": "hour", "start": "2024-01-01"}, ["granularity"]),
        ("cost-heatmap", {"start": "2024-01-01"}, ["start"]),
        ("cost-breakdown", {"format": "gif"}, ["format"]),
    ],
)
async def test_what_a_chart_does_not_take_is_refused(
    viewer: Viewer, chart: str, asked: dict[str, Any], fields: list[str]
) -> None:
    refusal = await refused(viewer.chart(chart, **asked))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == fields


async def test_an_unknown_chart_is_refused_with_those_there_are(viewer: Viewer) -> None:
    refusal = await refused(viewer.chart("pie"))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "CHART_NOT_FOUND"
    assert "cost-breakdown" in refusal.message
    assert refusal.metadata["chart"] == "pie"


async def test_charts_are_listed_in_pages(viewer: Viewer) -> None:
    first = await viewer.stub.ListCharts(messages.ListChartsRequest(page_size=4))
    second = await viewer.stub.ListCharts(
        messages.ListChartsRequest(page_size=4, page_token=first.next_page_token)
    )
    found = await viewer.stub.ListCharts(
        messages.ListChartsRequest(filter='chart = "cost-*"', order_by="chart desc")
    )

    names = [chart.chart for chart in (*first.charts, *second.charts)]
    assert names == sorted(CHARTS)[:8]
    assert [chart.chart for chart in found.charts] == sorted(COST_CHARTS, reverse=True)
    assert not found.next_page_token
    assert "budget_id" in next(
        chart.parameters for chart in first.charts if chart.chart == "budget-gauge"
    )
    assert all(chart.title for chart in first.charts)

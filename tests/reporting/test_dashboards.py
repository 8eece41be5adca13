"""GetDashboard over real usage, budgets and recommendations."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from finops.budget.v1 import budget_model_pb2, budget_service_pb2
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import dashboard_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages
from finops.reporting.v1 import reporting_service_pb2_grpc
from finops.usage.v1 import cost_model_pb2, usage_model_pb2

from services.kernel.client import PeerChannel
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database, PoolLimits
from services.optimizer import bootstrap as optimizer_bootstrap
from services.optimizer.settings import OptimizerSettings
from services.reporting import bootstrap
from services.reporting.convert.instants import to_instant
from services.reporting.domain.dashboard.question import Part
from services.reporting.settings import ReportingSettings
from tests.reporting.conftest import NOW, SECRETS, TODAY, Caller
from tests.reporting.viewing import Viewer, dashboards, event
from tests.support.database import migrated
from tests.support.server import LocalServer, refused, service_token_of, serving

MONTH = datetime(2026, 6, 1, tzinfo=UTC)
DIMENSIONS = ("department", "project", "service", "resource_type", "provider", "user")


@pytest.fixture(scope="session")
async def optimizer_server(owner_url: str, usage_server: LocalServer) -> AsyncIterator[LocalServer]:
    """A real optimizer, which has found nothing yet."""
    service = await migrated(owner_url, "optimizer")
    database = service.connect(PoolLimits(connections=5))
    built = optimizer_bootstrap.build(
        database,
        usage_server.channel_with(service_token_of("optimizer", tenant="")),
        OptimizerSettings(**SECRETS),
        clock=SystemClock(),
    )
    async with serving(*built.servicers, database=database) as server:
        yield server
    await database.close()


@pytest.fixture
async def connected(
    reporting_database: Database,
    usage_server: LocalServer,
    budget_server: LocalServer,
    optimizer_server: LocalServer,
    clock: ManualClock,
) -> bootstrap.ReportingService:
    """The reporting service with everything that it may ask."""
    token = service_token_of("reporting", tenant="")
    return bootstrap.build(
        reporting_database,
        usage_server.channel_with(token),
        budget_server.channel_with(token),
        ReportingSettings(**SECRETS),
        clock=clock,
        optimizer=optimizer_server.channel_with(token),
    )


@pytest.fixture
async def viewer(
    connected: bootstrap.ReportingService,
    reporting_database: Database,
    caller: Caller,
    tenant: str,
) -> AsyncIterator[Viewer]:
    """The dashboard of a tenant that no other test uses."""
    async with dashboards(connected, reporting_database) as server:
        stub: Any = reporting_service_pb2_grpc.ReportingServiceStub(
            server.channel("viewer", tenant=tenant)
        )
        yield Viewer(caller, stub)


async def record_two_months(viewer: Viewer) -> str:
    """Records usage of now and before, and makes a budget; returns its id."""
    await viewer.caller.record_days(["10.5"] * 60, department="research")
    await viewer.record(
        [
            event(MONTH + timedelta(days=1), "31", user_id="ada", region="eu-west-1"),
            event(
                MONTH + timedelta(days=2),
                "2.5",
                user_id="bob",
                region="us-east-1",
                provider="aws",
                outcome=usage_model_pb2.OUTCOME_FAILED,
            ),
            event(MONTH - timedelta(days=3), "7", user_id="ada", region="eu-west-1"),
        ]
    )
    made = await viewer.caller.budgets.CreateBudget(
        budget_service_pb2.CreateBudgetRequest(
            budget=budget_model_pb2.Budget(
                display_name="Everything",
                scope=budget_model_pb2.BudgetScope(),
                cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                amount=Money(currency_code="USD", amount="600"),
            )
        )
    )
    return made.budget.budget_id


async def test_one_call_shows_everything(viewer: Viewer) -> None:
    budget_id = await record_two_months(viewer)

    shown = await viewer.dashboard()

    summary = shown.summary
    assert list(shown.missing_parts) == []
    assert to_instant(shown.period.start_time) == MONTH
    assert to_instant(shown.period.end_time) == NOW
    assert to_instant(shown.previous_period.start_time) == MONTH - (NOW - MONTH)
    assert summary.cost.amount == "180.5"  # 14 days of 10.5, 31 and 2.5
    assert summary.previous_cost.amount == "154"  # 14 noons of 10.5, and 7
    assert summary.change.amount == "26.5"
    assert summary.change_ratio == "0.172078"
    assert summary.wasted.amount == "2.5"
    assert summary.wasted_ratio == "0.01385"
    assert summary.saved.amount == "0"
    assert (summary.operation_count, summary.active_user_count) == (15, 2)
    assert summary.unit_cost.amount == "12.033333333333333333"
    assert summary.highlights
    assert [(each.budget_id, each.limit.amount) for each in shown.budgets] == [(budget_id, "600")]
    assert [(each.region, each.country_code, each.cost.amount) for each in shown.geography] == [
        ("", "", "147"),
        ("eu-west-1", "IE", "31"),
        ("us-east-1", "US", "2.5"),
    ]
    people = [each for each in shown.drivers if each.dimension == "user"]
    assert [(each.value, each.cost.amount) for each in people] == [
        ("", "147"),
        ("ada", "31"),
        ("bob", "2.5"),
    ]
    movers = [each for each in shown.movers if each.dimension == "user"]
    assert [(each.value, each.change.amount) for each in movers] == [("ada", "24"), ("bob", "2.5")]
    assert shown.potential_monthly_saving.amount == "0"
    assert to_instant(shown.compute_time) == NOW
    assert shown.as_of_sequence


async def test_the_trend_goes_on_with_the_forecast_from_today(viewer: Viewer) -> None:
    await viewer.caller.record_days(["20"] * 60)

    shown = await viewer.dashboard()

    days = {point.date: point for point in shown.trend}
    assert days["2026-06-14"].cost.amount == "20"
    assert not days["2026-06-14"].HasField("forecast")
    assert days["2026-06-15"].cost.amount == "0"
    assert days["2026-06-15"].forecast.expected.amount == "20"
    assert not days["2026-06-16"].HasField("cost")
    assert max(days) == "2026-07-14"
    assert shown.forecast.cost.expected.amount == "600"
    assert shown.forecast.cost.confidence_ratio == "0.8"
    # 14 days that are over, and 16 that are to come.
    assert shown.summary.expected_period_cost.amount == "600"


async def test_every_amount_is_what_a_cost_question_answers(viewer: Viewer) -> None:
    """Random usage in two currencies, and random questions about it: equal to the last digit."""
    rng = random.Random(20260615)
    digits = [f"{rng.randrange(10**9)}.{rng.randrange(10**15):015d}" for _ in range(40)]
    await viewer.record(
        [
            event(
                TODAY - timedelta(seconds=rng.randrange(70 * 86_400)),
                rng.choice(digits),
                currency=rng.choice(["USD", "USD", "EUR"]),
                department=rng.choice(["", "research", "sales"]),
                project=rng.choice(["", "one", "two", "three"]),
                service=rng.choice(["", "inference"]),
                provider=rng.choice(["aws", "gcp"]),
                region=rng.choice(["", "eu-west-1", "us-east1"]),
                user_id=rng.choice(["", "ada", "bob", "eve"]),
                resource_type=rng.choice(["llm", "gpu"]),
            )
            for _ in range(150)
        ]
    )
    for _ in range(5):
        end = TODAY - timedelta(hours=rng.randrange(30 * 24))
        asked = {
            "start": (end - timedelta(hours=rng.randrange(1, 40 * 24))).isoformat(),
            "end": end.isoformat(),
            "filter": rng.choice(["", 'department = "sales"', 'project != "one" AND user:"ada"']),
            "cost_type": rng.choice(["", "billed", "list"]),
            "currency": rng.choice(["", "EUR", "GBP"]),
        }
        shown = await viewer.dashboard(**asked, top_count=50)

        same = {
            "filter": asked["filter"],
            "cost_type": asked["cost_type"],
            "currency": asked["currency"] or "USD",
        }
        await assert_equal(viewer, shown, same, asked)


async def assert_equal(
    viewer: Viewer, shown: model.Dashboard, same: dict[str, Any], asked: dict[str, str]
) -> None:
    answer = await viewer.costs(shown, **same)
    cost = next((total.cost.amount for total in answer.totals), "0")
    assert shown.summary.cost.amount == cost, asked
    whole = await viewer.caller.usage.QueryCosts(
        cost_model_pb2.QueryCostsRequest(
            start=to_instant(shown.previous_period.start_time).isoformat(),
            end=to_instant(shown.previous_period.end_time).isoformat(),
            **same,
        )
    )
    before = next((total.cost.amount for total in whole.totals), "0")
    assert shown.summary.previous_cost.amount == before, asked
    by_day = await viewer.costs(shown, **same, granularity="day")
    days = {to_instant(row.start_time).date().isoformat(): row.cost.amount for row in by_day.rows}
    assert {p.date: p.cost.amount for p in shown.trend if p.cost.amount != "0"} == days, asked
    for dimension in DIMENSIONS:
        groups = await viewer.costs(shown, **same, group_by=[dimension], compare_previous=True)
        expected = {
            row.group[dimension]: (row.cost.amount, row.previous_cost.amount)
            for row in groups.rows
            if row.cost.amount != "0"
        }
        found = {
            each.value: (each.cost.amount, each.previous_cost.amount)
            for each in shown.drivers
            if each.dimension == dimension
        }
        assert found == (expected if any(expected) else {}), (dimension, asked)
    regions = await viewer.costs(shown, **same, group_by=["region"])
    assert {each.region: each.cost.amount for each in shown.geography} == {
        row.group["region"]: row.cost.amount for row in regions.rows
    }, asked


async def test_a_tenant_without_usage_has_a_dashboard(viewer: Viewer) -> None:
    shown = await viewer.dashboard()

    assert list(shown.missing_parts) == []
    assert shown.summary.cost.amount == "0"
    assert shown.summary.change_ratio == ""
    assert not shown.HasField("forecast")
    assert not shown.drivers


async def test_a_forecast_of_a_month_ago_is_shown_beside_what_came(
    viewer: Viewer, clock: ManualClock
) -> None:
    await viewer.caller.record_days(["20"] * 60)
    await viewer.dashboard()
    await viewer.caller.record_days(["30"] * 30, until=TODAY + timedelta(days=30))
    clock.advance(timedelta(days=30))

    shown = await viewer.dashboard()

    compared = shown.forecast_accuracy
    assert to_instant(compared.forecast_time) == NOW
    assert compared.forecast.expected.amount == "600"
    assert compared.actual.amount == "900"


async def test_services_that_are_not_connected_are_named(
    reporting_database: Database, usage_server: LocalServer, caller: Caller, tenant: str
) -> None:
    usage = usage_server.channel_with(service_token_of("reporting", tenant=""))
    alone = bootstrap.build(
        reporting_database, usage, None, ReportingSettings(**SECRETS), clock=ManualClock(NOW)
    )
    await caller.record_days(["10"] * 30)

    async with dashboards(alone, reporting_database) as server:
        stub: Any = reporting_service_pb2_grpc.ReportingServiceStub(
            server.channel("viewer", tenant=tenant)
        )
        shown = await Viewer(caller, stub).dashboard()

    assert list(shown.missing_parts) == ["alerts", "budgets", "recommendations", "summary.saved"]
    assert not shown.HasField("potential_monthly_saving")
    assert not shown.summary.HasField("saved")
    assert shown.summary.cost.amount == "140"


async def test_a_service_that_is_down_takes_only_its_own_parts_away(
    reporting_database: Database, usage_server: LocalServer, caller: Caller, tenant: str
) -> None:
    token = service_token_of("reporting", tenant="")
    down = PeerChannel("127.0.0.1:1", peer="budget", authorization=lambda: f"Bearer {token}")
    service = bootstrap.build(
        reporting_database,
        usage_server.channel_with(token),
        down,
        ReportingSettings(**SECRETS),
        clock=ManualClock(NOW),
    )
    await caller.record_days(["10"] * 30)

    async with dashboards(service, reporting_database) as server:
        stub: Any = reporting_service_pb2_grpc.ReportingServiceStub(
            server.channel("viewer", tenant=tenant)
        )
        shown = await Viewer(caller, stub).dashboard()
    await down.close()

    assert {"budgets", "alerts"} <= set(shown.missing_parts)
    assert shown.summary.cost.amount == "140"
    assert shown.forecast.cost.expected.amount == "300"


async def test_what_a_filter_does_not_reach_is_left_out_and_named(viewer: Viewer) -> None:
    await viewer.caller.record_days(["10"] * 30, department="research")
    await viewer.caller.record_days(["1"] * 30, department="sales")

    by_department = await viewer.dashboard(filter='department = "research"')
    by_project = await viewer.dashboard(filter='project != "none"')

    assert by_department.summary.cost.amount == "140"
    assert list(by_department.missing_parts) == ["alerts", "budgets"]
    assert "anomalies" in by_project.missing_parts


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"filter": 'planet = "mars"'}, "USAGE_QUESTION_REFUSED"),
        ({"filter": "planet ="}, "INVALID_FILTER"),
        ({"start": "yesterday"}, "INVALID_FORECAST_INSTANT"),
        ({"start": "2026-06-10", "end": "2026-06-01"}, "INVALID_PERIOD"),
        ({"currency": "XXX"}, "USAGE_QUESTION_REFUSED"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    viewer: Viewer, asked: dict[str, Any], reason: str
) -> None:
    await viewer.caller.record_days(["10"] * 20)

    refusal = await refused(viewer.stub.GetDashboard(messages.GetDashboardRequest(**asked)))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == reason


async def test_a_caller_of_another_tenant_is_refused(viewer: Viewer) -> None:
    refusal = await refused(viewer.stub.GetDashboard(messages.GetDashboardRequest(tenant_id="x")))

    assert refusal.reason == "TENANT_MISMATCH"


def test_every_part_has_the_permission_of_its_own_list() -> None:
    assert {part.value for part in Part} == {
        "budgets.read",
        "alerts.read",
        "anomalies.read",
        "recommendations.read",
        "forecasts.read",
    }

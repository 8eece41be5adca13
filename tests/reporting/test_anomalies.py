"""Anomalies are found over the cost feed, explained, judged by people and watched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from finops.reporting.v1 import anomaly_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages
from finops.reporting.v1 import reporting_service_pb2_grpc
from finops.usage.v1 import usage_model_pb2, usage_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.feed_page import FeedItem, FeedPosition
from services.kernel.ids import new_id
from services.reporting.bootstrap import ReportingService
from services.reporting.convert.cost_feed import cost_changes
from services.reporting.domain.anomaly.anomaly import Scope
from services.reporting.domain.anomaly.cost_fact import CostFact
from tests.reporting.conftest import NOW, Caller
from tests.support.server import LocalServer, all_of, refused, service_token_of

THIS_HOUR = NOW.replace(minute=0)
SPIKE_AT = THIS_HOUR - timedelta(hours=3)
SCOPE = Scope("research", "chat", "llm", "USD")


@pytest.fixture
async def stub(server: LocalServer, tenant: str) -> Any:
    """Anomalies as the tenant's administrator sees them."""
    return reporting_service_pb2_grpc.AnomalyServiceStub(server.channel("org_admin", tenant=tenant))


def facts(tenant: str, costs: list[str], *, until: datetime = THIS_HOUR) -> list[Any]:
    start = until - timedelta(hours=len(costs))
    return [
        FeedItem(
            FeedPosition(1, place + 1),
            tenant,
            CostFact(SCOPE, start + timedelta(hours=place), Decimal(cost), 2),
        )
        for place, cost in enumerate(costs)
    ]


def calm(hours: int) -> list[str]:
    return [str(10 + hour % 24 + (hour * 7 % 5) / 10) for hour in range(hours)]


async def fed(built: ReportingService, database: Database, items: list[Any]) -> int:
    async with database.system_transaction() as tx:
        await built.detection.apply(tx, items)
    return await built.detection.judge_all()


@pytest.fixture
async def spiked(built: ReportingService, reporting_database: Database, tenant: str) -> None:
    """Three weeks of calm hours, and one that costs twenty times as much."""
    costs = calm(24 * 21)
    costs[-3] = "500"
    await fed(built, reporting_database, facts(tenant, costs))


async def listed(stub: Any, **wish: Any) -> list[Any]:
    answer = await stub.ListAnomalies(messages.ListAnomaliesRequest(**wish))
    return list(answer.anomalies)


@pytest.mark.usefixtures("spiked")
async def test_a_spike_is_told_with_range_impact_and_severity(stub: Any) -> None:
    (found,) = await listed(stub)

    assert found.period.start_time.ToDatetime(tzinfo=UTC) == SPIKE_AT
    assert dict(found.scope) == {
        "department": "research",
        "service": "chat",
        "resource_type": "llm",
    }
    assert (found.direction, found.pattern, found.measure) == ("up", "spike", "cost")
    assert found.severity == model.ANOMALY_SEVERITY_HIGH
    assert found.state == model.ANOMALY_STATE_OPEN
    assert found.observed == "500"
    assert Decimal(found.expected_lower) <= Decimal(found.expected)
    assert Decimal(found.expected) <= Decimal(found.expected_upper)
    assert Decimal(found.impact.amount) == 500 - Decimal(found.expected)
    assert found.event_count == 2
    assert "500.00 USD" in found.message
    assert found.query.startswith("/api/v1/finops/cost-attribution?start=")


@pytest.mark.usefixtures("spiked")
async def test_what_is_judged_once_is_not_told_again(
    built: ReportingService, stub: Any, clock: ManualClock
) -> None:
    again = await built.detection.judge_all()
    clock.advance(timedelta(days=3))
    await built.detection.judge_all()

    assert again == 0
    (first, *_) = [each for each in await listed(stub) if each.observed == "500"]
    assert first.state == model.ANOMALY_STATE_CLOSED
    assert first.HasField("close_time")


async def test_an_incident_grows_while_it_lasts_and_its_impact_with_it(
    built: ReportingService, reporting_database: Database, tenant: str, stub: Any
) -> None:
    costs = calm(24 * 21)
    costs[-6:-1] = ["500", "450", "480", "470", "460"]

    await fed(built, reporting_database, facts(tenant, costs))

    (found,) = await listed(stub)
    start = found.period.start_time.ToDatetime(tzinfo=UTC)
    assert start == THIS_HOUR - timedelta(hours=6)
    assert found.period.end_time.ToDatetime(tzinfo=UTC) == start + timedelta(hours=5)
    assert found.observed == "2360"
    assert Decimal(found.impact.amount) > 2000
    assert found.severity == model.ANOMALY_SEVERITY_CRITICAL


async def test_calm_and_flat_series_raise_nothing(
    built: ReportingService, reporting_database: Database, tenant: str, stub: Any
) -> None:
    await fed(built, reporting_database, facts(tenant, ["12.5"] * 24 * 21))

    assert await listed(stub) == []


async def test_usage_of_which_nothing_is_told_yet_is_late_and_not_over(
    built: ReportingService, reporting_database: Database, tenant: str, stub: Any
) -> None:
    told = THIS_HOUR - timedelta(hours=30)

    await fed(built, reporting_database, facts(tenant, calm(24 * 21), until=told))

    assert await listed(stub) == []


async def test_a_series_that_stops_beside_others_is_told_once(
    built: ReportingService, reporting_database: Database, tenant: str, stub: Any
) -> None:
    told = THIS_HOUR - timedelta(hours=30)
    stopped = facts(tenant, calm(24 * 21), until=told)
    others = Scope("research", "search", "llm", "USD")
    going_on = [
        replace(item, fact=replace(item.fact, scope=others))
        for item in facts(tenant, calm(24 * 21))
    ]

    await fed(built, reporting_database, [*stopped, *going_on])

    (found,) = await listed(stub)
    assert (found.direction, found.observed) == ("missing", "0")
    assert found.period.start_time.ToDatetime(tzinfo=UTC) == told
    assert found.period.end_time.ToDatetime(tzinfo=UTC) > THIS_HOUR - timedelta(hours=2)


async def test_a_day_that_is_told_when_it_is_over_is_waited_for(
    built: ReportingService, reporting_database: Database, tenant: str, stub: Any
) -> None:
    midnight = THIS_HOUR.replace(hour=0)
    others = Scope("research", "search", "llm", "USD")
    each_hour = [
        replace(item, fact=replace(item.fact, scope=others))
        for item in facts(tenant, calm(24 * 40))
    ]

    def days(costs: list[str], first: int) -> list[Any]:
        return [
            FeedItem(
                FeedPosition(1, 1),
                tenant,
                CostFact(SCOPE, midnight - timedelta(days=first - day), Decimal(cost), 1),
            )
            for day, cost in enumerate(costs)
        ]

    await fed(built, reporting_database, [*each_hour, *days(["50"] * 39, 39)])
    waiting = await listed(stub)
    await fed(built, reporting_database, days(["900"], 0))

    assert waiting == []
    (found,) = await listed(stub)
    assert found.observed == "900"


async def test_the_causes_are_ranked_by_contribution(
    built: ReportingService, reporting_database: Database, caller: Caller, stub: Any
) -> None:
    events = []
    for user, cost in (("ada", "400"), ("bob", "90"), ("eve", "10")):
        stamp = Timestamp()
        stamp.FromDatetime(SPIKE_AT + timedelta(minutes=5))
        events.append(
            usage_model_pb2.UsageEvent(
                event_id=new_id(),
                source="tests",
                start_time=stamp,
                user_id=user,
                department="research",
                service="chat",
                resource_type="llm",
                quantity="1",
                unit="call",
                cost=usage_model_pb2.UsageCost(currency_code="USD", billed=cost),
            )
        )
    await caller.usage.RecordUsage(usage_service_pb2.RecordUsageRequest(events=events))
    costs = calm(24 * 21)
    costs[-3] = "500"

    await fed(built, reporting_database, facts(caller.tenant_id, costs))
    (found,) = await listed(stub)

    assert [dict(each.dimensions) for each in found.causes] == [
        {"user": "ada"},
        {"user": "bob"},
        {"user": "eve"},
    ]
    assert found.causes[0].contribution.amount == "400"
    assert found.causes[0].effect == "new"
    assert "ada" in found.causes[0].description


@pytest.mark.usefixtures("spiked")
async def test_feedback_is_kept_and_a_false_alarm_makes_less_sensitive(
    stub: Any, reporting_database: Database, tenant: str
) -> None:
    (found,) = await listed(stub)
    request = messages.GiveFeedbackRequest(
        anomaly_id=found.anomaly_id, feedback=model.ANOMALY_FEEDBACK_FALSE_ALARM, note="load test"
    )

    answer = await stub.GiveFeedback(request)
    async with reporting_database.read(tenant) as tx:
        alarms = await tx.driver.fetchval(
            "SELECT false_alarms FROM reporting.watched_series WHERE tenant_id = $1", tenant
        )
    request.feedback = model.ANOMALY_FEEDBACK_REAL
    changed = await stub.GiveFeedback(request)
    async with reporting_database.read(tenant) as tx:
        entries = await tx.driver.fetch(
            "SELECT before::text || after::text FROM reporting.audit_entry WHERE tenant_id = $1",
            tenant,
        )

    assert (answer.anomaly.feedback_actor, answer.anomaly.feedback_note) == ("ada", "load test")
    assert alarms == 1
    assert changed.anomaly.feedback == model.ANOMALY_FEEDBACK_REAL
    # The log stays for ever, and a note may name persons.
    assert len(entries) == 2
    assert not any("load test" in row[0] for row in entries)


@pytest.mark.usefixtures("spiked")
async def test_the_like_of_what_was_planned_is_expected_next_time(
    built: ReportingService,
    reporting_database: Database,
    stub: Any,
    tenant: str,
    clock: ManualClock,
) -> None:
    (first,) = await listed(stub)
    planned = messages.GiveFeedbackRequest(
        anomaly_id=first.anomaly_id, feedback=model.ANOMALY_FEEDBACK_EXPECTED
    )
    assert (await stub.GiveFeedback(planned)).anomaly.state == model.ANOMALY_STATE_EXPECTED
    costs = calm(48)
    costs[-3] = "900"

    clock.advance(timedelta(days=2))
    later = facts(tenant, costs, until=THIS_HOUR + timedelta(days=2))
    await fed(built, reporting_database, later)

    states = {each.observed: each.state for each in await listed(stub)}
    assert states["900"] == model.ANOMALY_STATE_EXPECTED
    newest = (await listed(stub, order_by="start_time desc"))[0]
    got = await stub.GetAnomaly(messages.GetAnomalyRequest(anomaly_id=newest.anomaly_id))
    assert list(got.anomaly.similar_anomaly_ids) == [first.anomaly_id]


@pytest.mark.usefixtures("spiked")
async def test_lists_are_filtered_by_state_severity_and_scope(stub: Any) -> None:
    assert len(await listed(stub, filter='severity = "HIGH" AND department = "research"')) == 1
    assert await listed(stub, filter='state = "CLOSED"') == []
    assert await listed(stub, filter="impact > 1000") == []


@pytest.mark.usefixtures("spiked")
async def test_watchers_are_told_and_resume(stub: Any) -> None:
    (found,) = await all_of(stub.WatchAnomalies(messages.WatchAnomaliesRequest()), most=1)
    await stub.GiveFeedback(
        messages.GiveFeedbackRequest(
            anomaly_id=found.anomaly.anomaly_id, feedback=model.ANOMALY_FEEDBACK_REAL
        )
    )
    behind = messages.WatchAnomaliesRequest(after_sequence=found.sequence)
    (change,) = await all_of(stub.WatchAnomalies(behind), most=1)

    assert found.anomaly.observed == "500"
    assert change.anomaly.feedback == model.ANOMALY_FEEDBACK_REAL


async def test_an_unknown_anomaly_is_not_found(stub: Any) -> None:
    refusal = await refused(stub.GetAnomaly(messages.GetAnomalyRequest(anomaly_id="none")))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "ANOMALY_NOT_FOUND"


async def test_recorded_usage_arrives_over_the_cost_feed(
    usage_server: LocalServer, caller: Caller
) -> None:
    await caller.record_days(["3.5"])
    channel = usage_server.channel_with(service_token_of("reporting", tenant=""))

    found = None
    async for page in cost_changes(channel)(FeedPosition(0, 0)):
        mine = [item for item in page.items if item.tenant_id == caller.tenant_id]
        if mine:
            found = mine[0]
            break

    assert found is not None
    assert found.fact.cost == Decimal("3.5")
    assert found.fact.scope.resource_type == "llm"

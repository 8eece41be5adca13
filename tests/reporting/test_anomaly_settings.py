"""Settings, maintenance windows and events of anomalies, and that the detection follows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import anomaly_model_pb2 as model
from finops.reporting.v1 import anomaly_service_pb2 as messages
from finops.reporting.v1 import (
    anomaly_service_pb2_grpc,
    reporting_messages_pb2,
    reporting_service_pb2_grpc,
)
from finops.usage.v1 import usage_model_pb2, usage_service_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.feed_page import FeedItem, FeedPosition
from services.kernel.jobs import Job
from services.reporting.bootstrap import ReportingService
from services.reporting.convert.instants import from_instant
from services.reporting.domain.anomaly.anomaly import Scope, Severity
from services.reporting.domain.anomaly.cost_fact import CostFact
from services.reporting.domain.anomaly.settings import AnomalySettings
from services.reporting.service import anomaly_events
from services.reporting.service.anomaly_notices import AnomalyNotices
from services.reporting.service.schedules_mailing import ReportNotice
from tests.reporting.conftest import NOW, Caller
from tests.support.server import LocalServer, refused

THIS_HOUR = NOW.replace(minute=0)
SCOPE = Scope("research", "chat", "llm", "USD")
OTHER = Scope("research", "search", "llm", "USD")
HOURS = 24 * 20
SPIKE_AT = THIS_HOUR - timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Lab:
    """A tenant's detection, fed by hand."""

    tenant: str
    built: ReportingService
    database: Database
    anomalies: Any

    async def fed(self, items: list[Any]) -> int:
        """Takes hours in, and judges them."""
        async with self.database.system_transaction() as tx:
            await self.built.detection.apply(tx, items)
        return await self.built.detection.judge_all()

    async def found(self) -> list[model.Anomaly]:
        answer = await self.anomalies.ListAnomalies(reporting_messages_pb2.ListAnomaliesRequest())
        return list(answer.anomalies)


@pytest.fixture
async def rules(server: LocalServer, tenant: str) -> Any:
    """The settings as the tenant's administrator sees them."""
    channel = server.channel("org_admin", tenant=tenant)
    return anomaly_service_pb2_grpc.AnomalySettingsServiceStub(channel)


@pytest.fixture
async def lab(
    server: LocalServer, built: ReportingService, reporting_database: Database, tenant: str
) -> Lab:
    """The detection of a tenant that no other test uses."""
    channel = server.channel("viewer", tenant=tenant)
    stub = reporting_service_pb2_grpc.AnomalyServiceStub(channel)
    return Lab(tenant, built, reporting_database, stub)


def facts(tenant: str, scope: Scope, spike: str, *, at: datetime = SPIKE_AT) -> list[Any]:
    start = THIS_HOUR - timedelta(hours=HOURS)
    hours = [start + timedelta(hours=place) for place in range(HOURS)]
    costs = [str(10 + hour.hour % 24 + (place * 7 % 5) / 10) for place, hour in enumerate(hours)]
    return [
        FeedItem(
            FeedPosition(1, place + 1),
            tenant,
            CostFact(scope, hour, Decimal(spike if hour == at else cost), 2),
        )
        for place, (hour, cost) in enumerate(zip(hours, costs, strict=True))
    ]


async def change(rules: Any, **settings: Any) -> model.AnomalySettings:
    request = messages.UpdateAnomalySettingsRequest(settings=model.AnomalySettings(**settings))
    changed: model.AnomalySettings = (await rules.UpdateAnomalySettings(request)).settings
    return changed


def window(start: datetime, end: datetime, **fields: Any) -> Any:
    return messages.CreateMaintenanceWindowRequest(
        window=model.MaintenanceWindow(
            **{"display_name": "Move to the new cluster"} | fields,
            start_time=from_instant(start),
            end_time=from_instant(end),
        )
    )


async def test_settings_begin_with_the_defaults(rules: Any) -> None:
    found = (await rules.GetAnomalySettings(messages.GetAnomalySettingsRequest())).settings

    assert not found.disabled
    assert found.sensitivity_ratio == "0.5"
    assert found.impact_min == Money(currency_code="USD", amount="1")
    assert list(found.group_by) == ["department", "service", "resource_type"]
    assert found.grace_hours == 48
    assert found.severity_min == model.ANOMALY_SEVERITY_MEDIUM
    assert not found.HasField("update_time")


async def test_only_what_the_mask_names_changes(rules: Any) -> None:
    first = await change(rules, sensitivity_ratio="0.8", grace_hours=100)
    masked = messages.UpdateAnomalySettingsRequest(
        settings=model.AnomalySettings(grace_hours=0, sensitivity_ratio="0.1", etag=first.etag),
        update_mask=FieldMask(paths=["grace_hours", "impact_min"]),
    )
    second = (await rules.UpdateAnomalySettings(masked)).settings

    assert (first.sensitivity_ratio, first.grace_hours) == ("0.8", 100)
    assert (second.sensitivity_ratio, second.grace_hours) == ("0.8", 48)
    assert second.update_time == from_instant(NOW)
    stale = await refused(rules.UpdateAnomalySettings(masked))
    assert stale.code is grpc.StatusCode.ABORTED
    assert stale.reason == "ANOMALY_SETTINGS_CHANGED"
    assert stale.metadata["etag"] == second.etag


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"group_by": ["project"]}, "settings.group_by"),
        ({"impact_min": Money(currency_code="EUR", amount="5")}, "settings.impact_min"),
        ({"sensitivity_ratio": "1.5"}, "settings.sensitivity_ratio"),
        ({"grace_hours": 3_000}, "settings.grace_hours"),
    ],
)
async def test_settings_that_mean_nothing_are_refused(
    rules: Any, settings: dict[str, Any], field: str
) -> None:
    request = messages.UpdateAnomalySettingsRequest(settings=model.AnomalySettings(**settings))

    refusal = await refused(rules.UpdateAnomalySettings(request))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [field]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 1),
        ({"disabled": True}, 0),
        ({"impact_min": Money(currency_code="USD", amount="500")}, 0),
        ({"sensitivity_ratio": "0"}, 0),
        ({"grace_hours": 24 * 30}, 0),
    ],
)
async def test_the_detection_follows_the_settings(
    rules: Any,
    lab: Lab,
    settings: dict[str, Any],
    count: int,
) -> None:
    if settings:
        await change(rules, **settings)

    await lab.fed(facts(lab.tenant, SCOPE, "300"))

    assert len(await lab.found()) == count


async def test_series_of_fewer_dimensions_go_on_as_sums(
    rules: Any,
    lab: Lab,
    clock: ManualClock,
) -> None:
    calm = [*facts(lab.tenant, SCOPE, "17"), *facts(lab.tenant, OTHER, "17")]
    await lab.fed(calm)
    await change(rules, group_by=["department"])
    clock.advance(timedelta(hours=2))
    spike = FeedItem(FeedPosition(9, 1), lab.tenant, CostFact(OTHER, THIS_HOUR, Decimal(600), 2))

    await lab.fed([spike])

    (found,) = await lab.found()
    assert dict(found.scope) == {"department": "research"}
    assert Decimal(found.observed) == 600
    # Both series together were some 20 to 60 an hour.
    assert 20 < Decimal(found.expected) < 70
    assert found.period.start_time == from_instant(THIS_HOUR)


async def test_a_window_is_neither_judged_nor_learnt_from(
    rules: Any,
    lab: Lab,
) -> None:
    await rules.CreateMaintenanceWindow(
        window(SPIKE_AT, SPIKE_AT + timedelta(minutes=30), filter='service = "chat"')
    )

    await lab.fed(
        [*facts(lab.tenant, SCOPE, "300"), *facts(lab.tenant, OTHER, "300")],
    )

    (found,) = await lab.found()
    assert found.scope["service"] == "search"


async def test_what_was_found_already_is_explained_by_a_window(
    rules: Any,
    lab: Lab,
) -> None:
    await lab.fed(facts(lab.tenant, SCOPE, "300"))
    day = timedelta(days=1)

    await rules.CreateMaintenanceWindow(window(SPIKE_AT - day, SPIKE_AT))
    (before,) = await lab.found()
    await rules.CreateMaintenanceWindow(window(SPIKE_AT, SPIKE_AT + day))
    (after,) = await lab.found()

    assert before.state == model.ANOMALY_STATE_OPEN
    assert after.state == model.ANOMALY_STATE_EXPECTED


async def test_windows_are_listed_and_deleted(rules: Any) -> None:
    day = timedelta(days=1)
    made = [
        (
            await rules.CreateMaintenanceWindow(window(NOW + day * place, NOW + day * (place + 1)))
        ).window
        for place in range(3)
    ]

    first = await rules.ListMaintenanceWindows(messages.ListMaintenanceWindowsRequest(page_size=2))
    rest = await rules.ListMaintenanceWindows(
        messages.ListMaintenanceWindowsRequest(page_size=2, page_token=first.next_page_token)
    )
    listed = [each.window_id for each in (*first.windows, *rest.windows)]
    assert listed == [each.window_id for each in reversed(made)]
    assert made[0].author == "ada"
    assert made[0].create_time == from_instant(NOW)

    gone = messages.DeleteMaintenanceWindowRequest(window_id=made[0].window_id)
    await rules.DeleteMaintenanceWindow(gone)
    again = await refused(rules.DeleteMaintenanceWindow(gone))
    assert again.code is grpc.StatusCode.NOT_FOUND
    assert again.reason == "MAINTENANCE_WINDOW_NOT_FOUND"
    assert again.metadata["window_id"] == made[0].window_id


async def test_a_window_that_no_series_can_be_held_against_is_refused(rules: Any) -> None:
    wrong = await refused(
        rules.CreateMaintenanceWindow(window(NOW, NOW + timedelta(1), filter="project = x"))
    )
    backwards = await refused(rules.CreateMaintenanceWindow(window(NOW, NOW - timedelta(1))))

    assert wrong.fields == ["window.filter"]
    assert "department" in wrong.message
    assert backwards.reason == "INVALID_PERIOD"


async def test_events_of_an_anomaly_come_costliest_first(
    rules: Any,
    lab: Lab,
    caller: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [
        usage_model_pb2.UsageEvent(
            event_id=f"event-{place}",
            source="tests",
            start_time=from_instant(SPIKE_AT + timedelta(minutes=place)),
            resource_type="llm",
            service="chat" if place else "search",
            department="research",
            user_id=f"user-{place % 2}",
            quantity="3",
            unit="call",
            cost=usage_model_pb2.UsageCost(currency_code="USD", billed=f"{50 + place % 3}.5"),
        )
        for place in range(7)
    ]
    await caller.usage.RecordUsage(usage_service_pb2.RecordUsageRequest(events=events))
    await lab.fed(facts(lab.tenant, SCOPE, "300"))
    (found,) = await lab.found()
    asked: dict[str, Any] = {"anomaly_id": found.anomaly_id}

    first = await rules.ListAnomalyEvents(messages.ListAnomalyEventsRequest(**asked, page_size=4))
    rest = await rules.ListAnomalyEvents(
        messages.ListAnomalyEventsRequest(**asked, page_size=4, page_token=first.next_page_token)
    )
    early = await rules.ListAnomalyEvents(
        messages.ListAnomalyEventsRequest(**asked, filter="user_id = user-1", order_by="start_time")
    )

    costs = [(each.usage_event_id, each.cost.amount) for each in (*first.events, *rest.events)]
    assert costs == [
        ("event-5", "52.5"),
        ("event-2", "52.5"),
        ("event-4", "51.5"),
        ("event-1", "51.5"),
        ("event-6", "50.5"),
        ("event-3", "50.5"),
    ]
    assert [each.usage_event_id for each in early.events] == ["event-1", "event-3", "event-5"]
    assert first.events[0].quantity == "3"
    none = await refused(
        rules.ListAnomalyEvents(messages.ListAnomalyEventsRequest(anomaly_id="none"))
    )
    assert none.reason == "ANOMALY_NOT_FOUND"
    monkeypatch.setattr(anomaly_events, "EVENTS_MAX", 3)
    many = await refused(rules.ListAnomalyEvents(messages.ListAnomalyEventsRequest(**asked)))
    assert many.reason == "TOO_MANY_ANOMALY_EVENTS"
    assert many.metadata["events_max"] == "3"


class Published:
    """Stands for the budget service: keeps the notices that it gets."""

    def __init__(self) -> None:
        self.notices: list[ReportNotice] = []

    async def publish(self, notice: ReportNotice) -> None:
        """Keeps a notice."""
        self.notices.append(notice)


@pytest.mark.parametrize(("spike", "count"), [("300", 1), ("23", 0)])
async def test_people_are_told_once_of_what_matters_enough(
    rules: Any,
    lab: Lab,
    spike: str,
    count: int,
) -> None:
    await change(rules, channel_ids=["channel-1"], severity_min=model.ANOMALY_SEVERITY_HIGH)
    published = Published()
    notices = AnomalyNotices(lab.database, published, public_url="https://finops.example/")

    await lab.fed(facts(lab.tenant, SCOPE, spike))
    await lab.built.detection.judge_all()

    async with lab.database.system_transaction() as tx:
        jobs = await tx.driver.fetch(
            "SELECT id, payload FROM pgqueuer WHERE entrypoint = 'anomaly-notice' "
            "AND headers ->> 'tenant' = $1",
            lab.tenant,
        )
    assert len(jobs) == count
    for job in jobs:
        await notices.run(Job(job["id"], "anomaly-notice", job["payload"], 1, lab.tenant))
    for notice in published.notices:
        assert notice.event_type == "anomaly.opened"
        assert notice.title == "High anomaly: department research, service chat, resource_type llm"
        assert notice.channel_ids == ("channel-1",)
        assert json.loads(notice.payload)["severity"] == "HIGH"
        assert notice.link.startswith("https://finops.example/api/v1/finops/anomalies/")


def test_a_sensitivity_moves_the_threshold_both_ways() -> None:
    def at(text: str) -> float:
        return AnomalySettings("t", sensitivity=Decimal(text)).threshold

    assert at("0.5") == 0.5
    assert at("0") == pytest.approx(0.95)
    assert at("1") == pytest.approx(0.05)
    assert at("0.25") > at("0.5") > at("0.75")
    assert AnomalySettings("t").severity_min is Severity.MEDIUM

"""Channels keep their secrets to themselves, and refuse what could never send."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from finops.budget.v1 import (
    alert_service_pb2,
    channel_service_pb2,
    delivery_service_pb2,
)
from finops.budget.v1 import notification_model_pb2 as model

from services.budget.domain.channel import ChannelKind
from services.budget.domain.notification import matches
from services.budget.service.apprises import apprise_service
from tests.budget.alerts.alerting import SECRET, Alerting
from tests.budget.alerts.receiving import http_receiver
from tests.support.database import ServiceDatabase, connection
from tests.support.server import refused

PUBLIC = "https://93.184.216.34/services/T0/B0/secret-path"


async def test_neither_answers_nor_rows_hold_a_secret_in_clear(
    alerting: Alerting, budget_service: ServiceDatabase
) -> None:
    channel_id = await alerting.webhook(PUBLIC, headers={"authorization": "Bearer hidden"})

    request = channel_service_pb2.GetNotificationChannelRequest(channel_id=channel_id)
    channel = (await alerting.channels.GetNotificationChannel(request)).notification_channel
    async with connection(budget_service.owner_url) as driver:
        row = await driver.fetchrow(
            "SELECT channel::text AS text, secrets FROM budget.channel WHERE channel_id = $1",
            channel_id,
        )
        audited = await driver.fetchval(
            "SELECT string_agg(after::text, '') FROM budget.audit_entry WHERE resource = $1",
            f"channels/{channel_id}",
        )

    assert channel.address_hint == "https://93.184.216.34"
    assert dict(channel.headers) == {"authorization": "***"}
    assert row is not None
    for secret in ("secret-path", SECRET, "hidden"):
        assert secret not in f"{channel}{row['text']}{audited}"
        assert secret.encode() not in row["secrets"]


async def test_an_update_keeps_the_secrets_it_leaves_empty(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url, headers={"x-team": "ops"})
        changed = model.NotificationChannel(
            channel_id=channel_id, display_name="Renamed", headers={"x-team": "***", "x-new": "1"}
        )
        request = channel_service_pb2.UpdateNotificationChannelRequest(channel=changed)
        answer = await alerting.channels.UpdateNotificationChannel(request)
        test = channel_service_pb2.TestChannelRequest(channel_id=channel_id)
        await alerting.channels.TestChannel(test)
        stale = model.NotificationChannel(channel_id=channel_id, etag="old", display_name="x")
        refusal = await refused(
            alerting.channels.UpdateNotificationChannel(
                channel_service_pb2.UpdateNotificationChannelRequest(channel=stale)
            )
        )

    (sent,) = receiver.requests
    assert answer.notification_channel.display_name == "Renamed"
    assert (sent.headers["x-team"], sent.headers["x-new"]) == ("ops", "1")
    assert refusal.reason == "ALERT_RESOURCE_CHANGED"


async def test_hidden_headers_do_not_move_to_another_host(alerting: Alerting) -> None:
    channel_id = await alerting.webhook(PUBLIC, headers={"authorization": "Bearer hidden"})
    elsewhere = "https://93.184.216.35/hook"

    async def moved(**fields: Any) -> model.NotificationChannel:
        changed = model.NotificationChannel(channel_id=channel_id, **fields)
        request = channel_service_pb2.UpdateNotificationChannelRequest(channel=changed)
        answer = await alerting.channels.UpdateNotificationChannel(request)
        return answer.notification_channel

    kept = await refused(moved(address=elsewhere))
    masked = await refused(moved(address=elsewhere, headers={"authorization": "***"}))
    same_host = await moved(address="https://93.184.216.34/other")
    anew = await moved(address=elsewhere, headers={"authorization": "Bearer new"})

    assert (kept.reason, masked.reason) == ("INVALID_CHANNEL", "INVALID_CHANNEL")
    assert same_host.address_hint == "https://93.184.216.34"
    assert anew.address_hint == "https://93.184.216.35"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": model.CHANNEL_KIND_EMAIL}, "email_addresses"),
        ({"kind": model.CHANNEL_KIND_WEBHOOK}, "address"),
        ({"kind": model.CHANNEL_KIND_WEBHOOK, "address": "ftp://example.com"}, "address"),
        ({"kind": model.CHANNEL_KIND_WEBHOOK, "address": "https://a:b@example.com"}, "address"),
        (
            {"kind": model.CHANNEL_KIND_WEBHOOK, "address": PUBLIC, "signing_secret": "short"},
            "signing_secret",
        ),
        (
            {"kind": model.CHANNEL_KIND_WEBHOOK, "address": PUBLIC, "headers": {"host": "x"}},
            "headers",
        ),
        (
            {"kind": model.CHANNEL_KIND_WEBHOOK, "address": PUBLIC, "headers": {"a b": "x"}},
            "headers",
        ),
        (
            {"kind": model.CHANNEL_KIND_WEBHOOK, "address": PUBLIC, "headers": {"x": "a\r\nb"}},
            "headers",
        ),
        ({"kind": model.CHANNEL_KIND_SLACK, "address": "https://example.com/x"}, "address"),
        ({"kind": model.CHANNEL_KIND_APPRISE, "address": "nonsense"}, "address"),
        ({"kind": model.CHANNEL_KIND_APPRISE, "address": "syslog://"}, "address"),
        ({"kind": model.CHANNEL_KIND_APPRISE, "address": "mailto://u:p@example.com"}, "address"),
    ],
)
async def test_a_channel_that_could_never_send_is_refused(
    alerting: Alerting, fields: dict[str, Any], field: str
) -> None:
    refusal = await refused(alerting.channel(**fields))

    assert refusal.reason == "INVALID_CHANNEL"
    assert refusal.metadata == {"field": field}


@pytest.mark.parametrize(
    ("kind", "address", "service"),
    [
        (
            ChannelKind.SLACK,
            "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
            "NotifySlack",
        ),
        (
            ChannelKind.TEAMS,
            "https://prod-1.uk.logic.azure.com/workflows/3X5/triggers/manual/paths/invoke?sig=X",
            "NotifyWorkflows",
        ),
        (ChannelKind.PAGERDUTY, "a" * 32, "NotifyPagerDuty"),
        (ChannelKind.APPRISE, "tgram://123456789:abcdefg_hijklmnop/12315544/", "NotifyTelegram"),
    ],
)
def test_the_addresses_that_services_hand_out_are_understood(
    kind: ChannelKind, address: str, service: str
) -> None:
    assert type(apprise_service(kind, address)).__name__ == service


async def test_what_does_not_exist_is_named(alerting: Alerting) -> None:
    nothing = "nothing"
    calls: dict[str, Awaitable[object]] = {
        "ALERT_NOT_FOUND": alerting.alerts.GetAlert(
            alert_service_pb2.GetAlertRequest(alert_id=nothing)
        ),
        "CHANNEL_NOT_FOUND": alerting.channels.GetNotificationChannel(
            channel_service_pb2.GetNotificationChannelRequest(channel_id=nothing)
        ),
        "EVENT_SUBSCRIPTION_NOT_FOUND": alerting.channels.DeleteEventSubscription(
            channel_service_pb2.DeleteEventSubscriptionRequest(subscription_id=nothing)
        ),
        "DELIVERY_NOT_FOUND": alerting.deliveries.GetDelivery(
            delivery_service_pb2.GetDeliveryRequest(delivery_id=nothing)
        ),
    }

    for reason, call in calls.items():
        assert (await refused(call)).reason == reason


async def test_only_a_webhook_has_a_secret_to_rotate(alerting: Alerting) -> None:
    channel_id = await alerting.channel(
        kind=model.CHANNEL_KIND_EMAIL, email_addresses=["ada@example.com"]
    )
    request = channel_service_pb2.RotateChannelSecretRequest(channel_id=channel_id)

    assert (await refused(alerting.channels.RotateChannelSecret(request))).reason == (
        "CHANNEL_DOES_NOT_SIGN"
    )


async def test_channels_and_subscriptions_are_listed_and_end_together(alerting: Alerting) -> None:
    channel_id = await alerting.webhook(PUBLIC, display_name="B")
    await alerting.webhook(PUBLIC, display_name="A", disabled=True)
    subscription_id = await alerting.subscribe(channel_id, "alert.*", text="severity = CRITICAL")
    listed = channel_service_pb2.ListNotificationChannelsRequest
    changed = model.EventSubscription(subscription_id=subscription_id, event_types=["alert.opened"])

    everything = await alerting.channels.ListNotificationChannels(listed())
    enabled = await alerting.channels.ListNotificationChannels(listed(filter="enabled = true"))
    update = channel_service_pb2.UpdateEventSubscriptionRequest(subscription=changed)
    kept = (await alerting.channels.UpdateEventSubscription(update)).event_subscription
    delete = channel_service_pb2.DeleteNotificationChannelRequest(channel_id=channel_id)
    await alerting.channels.DeleteNotificationChannel(delete)
    after = await alerting.channels.ListEventSubscriptions(
        channel_service_pb2.ListEventSubscriptionsRequest()
    )

    assert [each.display_name for each in everything.channels] == ["A", "B"]
    assert [each.display_name for each in enabled.channels] == ["B"]
    assert (kept.filter, list(kept.event_types)) == ("severity = CRITICAL", ["alert.opened"])
    assert list(after.subscriptions) == []


@pytest.mark.parametrize(
    ("pattern", "event_type", "expected"),
    [
        ("alert.opened", "alert.opened", True),
        ("alert.*", "alert.opened", True),
        ("*", "cost.recorded", True),
        ("alert.*", "alerting.opened", False),
        ("alert", "alert.opened", False),
    ],
)
def test_event_types_match_by_noun(pattern: str, event_type: str, *, expected: bool) -> None:
    assert matches(pattern, event_type) is expected

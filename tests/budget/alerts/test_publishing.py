"""What other services tell, what a test message shows, and how a secret is changed."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

from finops.budget.v1 import budget_model_pb2, channel_service_pb2, delivery_service_pb2
from finops.budget.v1 import notification_model_pb2 as model
from standardwebhooks import Webhook

from tests.budget.alerts.alerting import SECRET, Alerting
from tests.budget.alerts.receiving import Mailbox, http_receiver
from tests.budget.alerts.test_delivering import publish


async def test_a_notification_of_one_key_is_sent_once(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        first = await publish(alerting, channel_id, deduplication_key="invoice-7")
        second = await publish(alerting, channel_id, deduplication_key="invoice-7")
        await alerting.work()

    assert first == second
    assert len(receiver.requests) == 1


async def test_a_mail_carries_its_attachments_and_its_message_id(
    alerting: Alerting, mailbox: Mailbox
) -> None:
    attachment = model.Attachment(
        filename="report.pdf", content_type="application/pdf", content=b"%PDF-1.7"
    )
    notification = model.Notification(
        event_type="report.ready",
        title="Report",
        text_body="<All> is well.",
        attachments=[attachment],
        link="https://finops.example.com/reports/7",
    )
    request = delivery_service_pb2.PublishNotificationRequest(
        notification=notification, email_addresses=["ada@example.com"]
    )

    (delivery_id,) = (await alerting.publishing.PublishNotification(request)).delivery_ids
    await alerting.work()

    (mail,) = mailbox.mails
    assert mail["Message-ID"] == f"<msg_{delivery_id}@example.com>"
    parts = {part.get_content_type(): part.get_payload(decode=True) for part in mail.walk()}
    assert parts["application/pdf"] == b"%PDF-1.7"
    assert b"https://finops.example.com/reports/7" in parts["text/plain"]
    assert b"&lt;All&gt;" in parts["text/html"]


async def test_a_test_message_is_sent_now_and_its_answer_shown(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url, headers={"x-team": "ops"})
        request = channel_service_pb2.TestChannelRequest(channel_id=channel_id, message="Hello")
        delivery = (await alerting.channels.TestChannel(request)).delivery

    assert delivery.state == model.DELIVERY_STATE_DELIVERED
    assert delivery.attempts[0].response_excerpt == "ok"
    assert receiver.requests[0].headers["x-team"] == "ops"
    assert json.loads(receiver.requests[0].body)["data"] == {"message": "Hello"}
    test = await alerting.channels.TestChannel(request)
    assert test.delivery.state == model.DELIVERY_STATE_DEAD


async def test_a_rotated_secret_signs_beside_the_old_one_until_that_expires(
    alerting: Alerting,
) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        rotate = channel_service_pb2.RotateChannelSecretRequest(channel_id=channel_id)
        rotated = await alerting.channels.RotateChannelSecret(rotate)
        await publish(alerting, channel_id)
        await alerting.work()
        alerting.clock.advance(timedelta(hours=25))
        await publish(alerting, channel_id)
        await alerting.work()

    def signature(number: int, secret: str, at_shift: timedelta) -> str:
        request = receiver.requests[number]
        at = alerting.clock.now() - at_shift
        return Webhook(secret).sign(request.headers["webhook-id"], at, request.body.decode())

    both = receiver.requests[0].headers["webhook-signature"].split(" ")
    day = timedelta(hours=25)
    assert both == [signature(0, rotated.secret, day), signature(0, SECRET, day)]
    assert receiver.requests[1].headers["webhook-signature"] == signature(
        1, rotated.secret, timedelta(0)
    )
    assert len(base64.b64decode(rotated.secret.removeprefix("whsec_"))) == 32


async def test_a_channel_gets_only_what_is_severe_enough(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        severity = budget_model_pb2.ALERT_SEVERITY_CRITICAL
        channel_id = await alerting.webhook(receiver.url, severity_min=severity)
        quiet = await publish(alerting, channel_id)
        loud = await publish(alerting, channel_id, severity=severity)
        await alerting.work()

    assert quiet == []
    assert [r.headers["webhook-id"] for r in receiver.requests] == [f"msg_{loud[0]}"]

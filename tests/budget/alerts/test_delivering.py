"""Every notification arrives at least once, whatever the receiver does, and never inside."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from finops.budget.v1 import (
    channel_service_pb2,
    delivery_service_pb2,
)
from finops.budget.v1 import notification_model_pb2 as model

from cli.stack.ports import free_port
from services.budget.service.delivering import LEASE
from tests.budget.alerts.alerting import Alerting
from tests.budget.alerts.receiving import OK, Mailbox, http_receiver
from tests.support.server import refused

SECONDS = timedelta(seconds=1)


async def publish(alerting: Alerting, channel_id: str, **fields: Any) -> list[str]:
    """Publishes a notification to a channel, and returns the ids of its deliveries."""
    notification = model.Notification(**{"event_type": "report.ready", "title": "Ready"} | fields)
    request = delivery_service_pb2.PublishNotificationRequest(
        notification=notification, channel_ids=[channel_id]
    )
    return list((await alerting.publishing.PublishNotification(request)).delivery_ids)


async def work_for(alerting: Alerting, minutes: float, *, step: timedelta = 20 * SECONDS) -> None:
    """Lets time go by, and the worker do what becomes due."""
    end = alerting.clock.now() + timedelta(minutes=minutes)
    while alerting.clock.now() < end:
        await alerting.work()
        alerting.clock.advance(step)
    await alerting.work()


async def test_what_was_queued_while_the_receiver_was_down_for_ten_minutes_arrives(
    alerting: Alerting,
) -> None:
    port = free_port()
    channel_id = await alerting.webhook(f"http://127.0.0.1:{port}/hook")
    sent = [await publish(alerting, channel_id, title=f"Report {n}") for n in range(5)]

    await work_for(alerting, 10)
    down = await alerting.sent()
    async with http_receiver(port=port) as receiver:
        await work_for(alerting, 12)

    assert {each.state for each in down} == {model.DELIVERY_STATE_QUEUED}
    assert min(each.attempt_count for each in down) >= 4
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert sorted(ids) == sorted(f"msg_{each}" for (each,) in sent)


async def test_a_receiver_that_fails_at_random_gets_everything_and_repeats_carry_the_same_id(
    alerting: Alerting,
) -> None:
    dice = random.Random(7)
    taken: Counter[str] = Counter()

    async def answer(number: int) -> bytes:
        taken[receiver.requests[number].headers["webhook-id"]] += 1
        return dice.choice([OK, b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", b""])

    async with http_receiver(answer) as receiver:
        channel_id = await alerting.webhook(receiver.url)
        sent = [(await publish(alerting, channel_id))[0] for _ in range(12)]
        await work_for(alerting, 90, step=60 * SECONDS)

    deliveries = await alerting.sent()
    assert {each.state for each in deliveries} == {model.DELIVERY_STATE_DELIVERED}
    assert set(taken) == {f"msg_{each}" for each in sent}
    assert {f"msg_{each.delivery_id}": each.attempt_count for each in deliveries} == taken
    assert max(taken.values()) > 1
    bodies = {(request.headers["webhook-id"], request.body) for request in receiver.requests}
    assert len(bodies) == len(sent)


async def test_a_slow_receiver_times_out_and_gets_it_once_it_is_quick(alerting: Alerting) -> None:
    webhooks(alerting)._answer_seconds = 0.5
    late = asyncio.Event()

    async def answer(number: int) -> bytes:
        if number == 0:
            await late.wait()
        return OK

    async with http_receiver(answer) as receiver:
        channel_id = await alerting.webhook(receiver.url)
        (delivery_id,) = await publish(alerting, channel_id)
        await work_for(alerting, 1)
        late.set()
        await work_for(alerting, 30, step=300 * SECONDS)

    delivery = await alerting.delivery(delivery_id)
    assert delivery.state == model.DELIVERY_STATE_DELIVERED
    assert delivery.attempts[0].error == "no answer within 0.5 seconds"
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


async def test_a_redirect_to_an_inside_address_is_not_followed(alerting: Alerting) -> None:
    async with http_receiver(host="127.0.0.2") as inside:

        async def answer(number: int) -> bytes:
            target = f"http://127.0.0.2:{inside.port}/admin"
            moved = f"HTTP/1.1 307 Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"
            return moved.encode() if number < 2 else OK

        async with http_receiver(answer) as receiver:
            channel_id = await alerting.webhook(receiver.url)
            (delivery_id,) = await publish(alerting, channel_id)
            await work_for(alerting, 2)

    delivery = await alerting.delivery(delivery_id)
    assert inside.requests == []
    assert [attempt.http_status for attempt in delivery.attempts] == [307, 307, 200]
    assert delivery.attempts[0].error == "answered 307; redirects are not followed"
    assert delivery.state == model.DELIVERY_STATE_DELIVERED


async def test_a_name_that_resolves_to_something_else_later_leads_nowhere_else(
    alerting: Alerting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the address that was checked is the one that is connected to."""
    answers: list[str] = []

    def resolve(_host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        answers.append("93.184.216.34" if not answers else "127.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[-1], port))]

    async with http_receiver(host="127.0.0.2") as inside:
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", resolve)
            channel_id = await alerting.webhook(f"http://rebind.example:{inside.port}/hook")
            (delivery_id,) = await publish(alerting, channel_id)
            await alerting.work()

    (attempt,) = (await alerting.delivery(delivery_id)).attempts
    assert answers == ["93.184.216.34", "127.0.0.2"]
    assert "rebind.example is inside this network" in attempt.error
    assert inside.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.2/",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://2130706434/",
        "http://0/",
    ],
)
async def test_an_inside_address_is_refused_when_the_channel_is_made(
    alerting: Alerting, address: str
) -> None:
    refusal = await refused(alerting.webhook(address))

    assert refusal.reason == "ADDRESS_REFUSED"
    assert "FINOPS_EGRESS_ALLOW" in refusal.message


async def test_apprise_cannot_reach_inside_either(alerting: Alerting) -> None:
    async with http_receiver(host="127.0.0.2") as inside, http_receiver() as receiver:

        async def redirect(_: int) -> bytes:
            target = f"http://127.0.0.2:{inside.port}/"
            return f"HTTP/1.1 307 Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n".encode()

        kind = model.CHANNEL_KIND_APPRISE
        address = f"json://127.0.0.1:{receiver.port}/"
        channel_id = await alerting.channel(kind=kind, address=address)
        (first,) = await publish(alerting, channel_id)
        await alerting.work()
        receiver.answer = redirect
        (second,) = await publish(alerting, channel_id)
        await alerting.work()
        direct = await refused(
            alerting.channel(kind=kind, address=f"json://127.0.0.2:{inside.port}/")
        )

    assert (await alerting.delivery(first)).state == model.DELIVERY_STATE_DELIVERED
    assert (await alerting.delivery(second)).state == model.DELIVERY_STATE_QUEUED
    assert json.loads(receiver.requests[0].body)["title"] == "Ready"
    assert direct.reason == "ADDRESS_REFUSED"
    assert inside.requests == []


async def test_a_worker_that_dies_with_a_delivery_leaves_it_to_another(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        (delivery_id,) = await publish(alerting, channel_id)
        claimed = await alerting.built.alert_work._deliverer.claim(10)
        await alerting.work()
        before = len(receiver.requests)
        alerting.clock.advance(LEASE + SECONDS)
        alerting.built.alert_work._deliverer._in_hand.clear()
        await alerting.work()

    assert delivery_id in [each.delivery_id for each in claimed]
    assert (before, len(receiver.requests)) == (0, 1)
    assert (await alerting.delivery(delivery_id)).state == model.DELIVERY_STATE_DELIVERED


async def test_workers_side_by_side_send_each_once(alerting: Alerting) -> None:
    """flexprice/flexprice#2155: alerts sent twice made two invoices."""
    async with http_receiver() as receiver:
        channels = [await alerting.webhook(receiver.url) for _ in range(4)]
        for channel_id in channels * 3:
            await publish(alerting, channel_id)
        await asyncio.gather(*(alerting.built.alert_work._deliverer.deliver() for _ in range(4)))
        await alerting.work()

    ids = Counter(request.headers["webhook-id"] for request in receiver.requests)
    assert len(ids) == 12
    assert set(ids.values()) == {1}


async def test_what_never_arrives_becomes_a_dead_letter_an_alert_and_a_replay_under_its_first_id(
    alerting: Alerting, mailbox: Mailbox
) -> None:
    async def fail(_: int) -> bytes:
        return b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"

    async with http_receiver(fail) as receiver:
        channel_id = await alerting.webhook(receiver.url)
        mails = await alerting.channel(
            kind=model.CHANNEL_KIND_EMAIL, email_addresses=["ops@example.com"]
        )
        await alerting.subscribe(mails, "alert.*")
        (delivery_id,) = await publish(alerting, channel_id)
        for _ in range(13):
            await alerting.work()
            alerting.clock.advance(timedelta(days=2))
        dead = await alerting.delivery(delivery_id)
        await alerting.work()
        (failure,) = await alerting.listed("kind = DELIVERY_FAILURE")

        receiver.answer = None
        request = delivery_service_pb2.ReplayDeliveryRequest(delivery_id=delivery_id)
        await alerting.deliveries.ReplayDelivery(request)
        again = await refused(alerting.deliveries.ReplayDelivery(request))
        await alerting.work()

    replayed = await alerting.delivery(delivery_id)
    assert dead.state == model.DELIVERY_STATE_DEAD
    assert dead.attempt_count == 12
    assert "503" in failure.message
    assert [mail["Subject"] for mail in mailbox.mails] == [
        "[WARNING] Operations: notifications do not arrive"
    ]
    assert again.reason == "DELIVERY_NOT_ENDED"
    assert replayed.state == model.DELIVERY_STATE_DELIVERED
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


async def test_what_no_sender_foresaw_is_an_attempt_that_failed(alerting: Alerting) -> None:
    # A URL that the standard library takes, and the HTTP client does not.
    channel_id = await alerting.webhook(f"http://127.0.0.1:{free_port()}/a\x01b")
    (delivery_id,) = await publish(alerting, channel_id)

    await alerting.work()

    delivery = await alerting.delivery(delivery_id)
    assert delivery.state == model.DELIVERY_STATE_QUEUED
    assert [each.error for each in delivery.attempts] == ["failed by InvalidURL"]


async def test_a_receiver_that_is_gone_for_good_is_not_tried_again_and_dead_letters_replay_at_once(
    alerting: Alerting,
) -> None:
    async def gone(_: int) -> bytes:
        return b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"

    async with http_receiver(gone) as receiver:
        channel_id = await alerting.webhook(receiver.url)
        for _ in range(3):
            await publish(alerting, channel_id)
        await alerting.work()
        dead = await alerting.sent("state = DEAD")
        receiver.answer = None
        request = delivery_service_pb2.ReplayDeliveriesRequest(
            filter=f'channel_id = "{channel_id}"'
        )
        answer = await alerting.deliveries.ReplayDeliveries(request)
        await alerting.work()

    assert len(dead) == answer.replayed_count == 3
    assert len(await alerting.sent("state = DELIVERED")) == 3
    health = await health_of(alerting, channel_id)
    assert (health.dead_count, health.consecutive_failures) == (0, 0)
    assert health.last_error == "answered 410"


async def test_retry_after_is_followed_and_a_large_answer_is_cut(alerting: Alerting) -> None:
    async def answer(number: int) -> bytes:
        if number == 0:
            return b"HTTP/1.1 429 Slow\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 2_000_000

    async with http_receiver(answer) as receiver:
        channel_id = await alerting.webhook(receiver.url)
        (delivery_id,) = await publish(alerting, channel_id)
        await alerting.work()
        waiting = await alerting.delivery(delivery_id)
        alerting.clock.advance(121 * SECONDS)
        await alerting.work()

    wait = waiting.next_attempt_time.ToDatetime() - alerting.clock.now().replace(tzinfo=None)
    assert wait >= -SECONDS
    last = (await alerting.delivery(delivery_id)).attempts[-1]
    assert last.response_excerpt == "x" * 1000
    assert len(last.response_digest) == 64


async def test_a_disabled_channel_keeps_what_is_due_and_a_deleted_one_ends_it(
    alerting: Alerting,
) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        other = await alerting.webhook(receiver.url)
        await set_disabled(alerting, channel_id, disabled=True)
        (kept,) = await publish(alerting, channel_id)
        (ended,) = await publish(alerting, other)
        delete = channel_service_pb2.DeleteNotificationChannelRequest(channel_id=other)
        await alerting.channels.DeleteNotificationChannel(delete)
        await alerting.work()
        silent = len(receiver.requests)
        await set_disabled(alerting, channel_id, disabled=False)
        await work_for(alerting, 2)

    assert silent == 0
    delivered = await alerting.delivery(kept)
    assert (delivered.state, delivered.attempt_count) == (model.DELIVERY_STATE_DELIVERED, 1)
    dead = await alerting.delivery(ended)
    assert dead.state == model.DELIVERY_STATE_DEAD
    assert dead.attempts[0].error == "the channel was deleted"


def webhooks(alerting: Alerting) -> Any:
    return alerting.built.alert_work._deliverer._senders.webhooks


async def set_disabled(alerting: Alerting, channel_id: str, *, disabled: bool) -> None:
    request = channel_service_pb2.UpdateNotificationChannelRequest(
        channel=model.NotificationChannel(channel_id=channel_id, disabled=disabled)
    )
    request.update_mask.paths.append("disabled")
    await alerting.channels.UpdateNotificationChannel(request)


async def health_of(alerting: Alerting, channel_id: str) -> model.ChannelHealth:
    request = channel_service_pb2.GetNotificationChannelRequest(channel_id=channel_id)
    answer = await alerting.channels.GetNotificationChannel(request)
    return answer.notification_channel.health

"""`finops alerts channels`: the ways to reach people and programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from finops.budget.v1.channel_service_pb2 import (
    CreateEventSubscriptionRequest,
    CreateNotificationChannelRequest,
    ListNotificationChannelsRequest,
    RotateChannelSecretRequest,
    TestChannelRequest,
)
from finops.budget.v1.notification_model_pb2 import (
    ChannelKind,
    Delivery,
    DeliveryState,
    EventSubscription,
    NotificationChannel,
)

from cli.connection import open_connection
from cli.errors import CommandError
from cli.options import DEFAULT_DATA_DIR, DataDir, Filter, Limit, OutputFormat, Tenant, Url
from cli.output import Format, Output
from cli.times import utc_text

app = typer.Typer(help="Keeps the ways to reach people and programs.", no_args_is_help=True)
ChannelId = Annotated[str, typer.Argument(help="Id of the channel.", show_default=False)]


class Kind(StrEnum):
    """How a channel sends."""

    EMAIL = "email"
    SLACK = "slack"
    TEAMS = "teams"
    PAGERDUTY = "pagerduty"
    WEBHOOK = "webhook"
    APPRISE = "apprise"


@app.command("create")
def create_channel(
    name: Annotated[str, typer.Argument(help="Name for people.", show_default=False)],
    *,
    kind: Annotated[Kind, typer.Option("--kind", help="How it sends.", show_default=False)],
    address: Annotated[
        str,
        typer.Option(
            "--address",
            envvar="FINOPS_CHANNEL_ADDRESS",
            help="Webhook URL, integration key or Apprise URL; stored encrypted.",
        ),
    ] = "",
    email: Annotated[
        list[str] | None, typer.Option("--email", help="Receiver of mails; may be repeated.")
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option("--event", help="Event type to send, such as alert.*; may be repeated."),
    ] = None,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Creates a channel, and subscribes it to events where some are named."""
    channel = NotificationChannel(
        display_name=name,
        kind=ChannelKind.Value(f"CHANNEL_KIND_{kind.name}"),
        address=address,
        email_addresses=email or [],
    )
    with open_connection(data_dir, url, tenant) as connection:
        request = CreateNotificationChannelRequest(tenant_id=connection.tenant, channel=channel)
        stub = connection.client.channels
        made = stub.CreateNotificationChannel(request).notification_channel
        if events:
            subscription = EventSubscription(channel_id=made.channel_id, event_types=events)
            stub.CreateEventSubscription(
                CreateEventSubscriptionRequest(
                    tenant_id=connection.tenant, subscription=subscription
                )
            )
    shown = {"channel_id": made.channel_id, "name": made.display_name, "kind": kind.value}
    Output(form).record(shown | {"address": made.address_hint, "events": ", ".join(events or [])})


@app.command("list")
def list_channels(
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists channels and how they do."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListNotificationChannelsRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.channels.ListNotificationChannels
        found = connection.collect(call, request, lambda page: page.channels, limit=limit)
    columns = ("channel_id", "name", "kind", "receiver", "queued", "dead", "last_error")
    rows = [
        (
            each.channel_id,
            each.display_name,
            ChannelKind.Name(each.kind).removeprefix("CHANNEL_KIND_").lower(),
            each.address_hint or ", ".join(each.email_addresses),
            each.health.queued_count,
            each.health.dead_count,
            each.health.last_error if each.health.consecutive_failures else "",
        )
        for each in found
    ]
    Output(form).rows(columns, rows)


@app.command("test")
def try_channel(
    channel_id: ChannelId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Sends a test message now and shows what the receiver answered."""
    with open_connection(data_dir, url, tenant) as connection:
        request = TestChannelRequest(tenant_id=connection.tenant, channel_id=channel_id)
        delivery = connection.client.channels.TestChannel(request).delivery
    attempt = delivery.attempts[0]
    Output(form).record(
        {
            "delivery_id": delivery.delivery_id,
            "state": delivery_state(delivery),
            "status": attempt.http_status or "",
            "answer": attempt.response_excerpt,
            "error": attempt.error,
        }
    )
    if delivery.state != DeliveryState.DELIVERY_STATE_DELIVERED:
        raise CommandError("the message did not arrive")


@app.command("rotate")
def rotate_secret(
    channel_id: ChannelId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Gives a webhook a new signing secret and shows it this once."""
    with open_connection(data_dir, url, tenant) as connection:
        request = RotateChannelSecretRequest(tenant_id=connection.tenant, channel_id=channel_id)
        made = connection.client.channels.RotateChannelSecret(request)
    expiry = utc_text(made.previous_expire_time)
    Output(form).record({"secret": made.secret, "old_secret_signs_until": expiry})


def delivery_state(delivery: Delivery) -> str:
    """Returns where a delivery is, as it is shown."""
    return DeliveryState.Name(delivery.state).removeprefix("DELIVERY_STATE_").lower()

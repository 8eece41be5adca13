"""`finops alerts`: what budgets alert about, who is told, and whether it arrived."""

from __future__ import annotations

from typing import Annotated

import typer
from finops.budget.v1 import alert_model_pb2 as models
from finops.budget.v1.alert_service_pb2 import (
    AcknowledgeAlertRequest,
    GetAlertRequest,
    ListAlertsRequest,
    ResolveAlertRequest,
    SnoozeAlertRequest,
)
from finops.budget.v1.budget_model_pb2 import AlertSeverity
from finops.budget.v1.delivery_service_pb2 import ListDeliveriesRequest, ReplayDeliveriesRequest

from cli import alert_channels
from cli.alert_channels import delivery_state
from cli.connection import open_connection
from cli.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    Filter,
    Limit,
    OutputFormat,
    Tenant,
    Url,
)
from cli.output import Format, Output
from cli.times import parse_instant, utc_text

app = typer.Typer(help="Shows alerts and says who is told of them.", no_args_is_help=True)
app.add_typer(alert_channels.app, name="channels")
AlertId = Annotated[str, typer.Argument(help="Id of the alert.", show_default=False)]
Note = Annotated[str, typer.Option("--note", help="What is done about it.", show_default=False)]


@app.command("list")
def list_alerts(
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists alerts, newest first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListAlertsRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.alerts.ListAlerts
        found = connection.collect(call, request, lambda page: page.alerts, limit=limit)
    columns = ("alert_id", "fired", "severity", "state", "about", "budget", "observed", "limit")
    rows = [
        (
            each.alert_id,
            utc_text(each.fire_time),
            _severity(each.severity),
            _state(each.state),
            _about(each),
            each.budget_display_name,
            _money(each, "observed"),
            _money(each, "limit"),
        )
        for each in found
    ]
    Output(form).rows(columns, rows)


@app.command()
def show(
    alert_id: AlertId,
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Shows an alert and everything that happened to it."""
    with open_connection(data_dir, url, tenant) as connection:
        request = GetAlertRequest(tenant_id=connection.tenant, alert_id=alert_id)
        alert = connection.client.alerts.GetAlert(request).alert
    output = Output(form)
    output.record(_fields(alert))
    rows = [
        (
            utc_text(step.transition_time),
            _state(step.to_state),
            step.actor,
            step.note,
            len(step.delivery_ids),
        )
        for step in alert.transitions
    ]
    output.rows(("time", "state", "by", "note", "notifications"), rows)


@app.command()
def ack(
    alert_id: AlertId,
    *,
    note: Note = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Says that you have an alert in hand; nobody else is told of it then."""
    with open_connection(data_dir, url, tenant) as connection:
        request = AcknowledgeAlertRequest(tenant_id=connection.tenant, alert_id=alert_id, note=note)
        alert = connection.client.alerts.AcknowledgeAlert(request).alert
    Output(form).record(_fields(alert))


@app.command()
def snooze(
    alert_id: AlertId,
    *,
    until: Annotated[str, typer.Option("--until", help="RFC 3339 or a date.", show_default=False)],
    note: Note = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Silences an alert until an instant."""
    instant = parse_instant(until, "--until")
    with open_connection(data_dir, url, tenant) as connection:
        request = SnoozeAlertRequest(
            tenant_id=connection.tenant, alert_id=alert_id, until_time=instant, note=note
        )
        alert = connection.client.alerts.SnoozeAlert(request).alert
    Output(form).record(_fields(alert))


@app.command()
def resolve(
    alert_id: AlertId,
    *,
    note: Note = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Closes an alert."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ResolveAlertRequest(tenant_id=connection.tenant, alert_id=alert_id, note=note)
        alert = connection.client.alerts.ResolveAlert(request).alert
    Output(form).record(_fields(alert))


@app.command()
def deliveries(
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists notifications and whether they arrived, newest first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListDeliveriesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.deliveries.ListDeliveries
        found = connection.collect(call, request, lambda page: page.deliveries, limit=limit)
    columns = ("delivery_id", "queued", "event", "receiver", "state", "attempts", "next")
    rows = [
        (
            each.delivery_id,
            utc_text(each.create_time),
            each.event_type,
            each.receiver_hint,
            delivery_state(each),
            each.attempt_count,
            utc_text(each.next_attempt_time) if each.HasField("next_attempt_time") else "",
        )
        for each in found
    ]
    Output(form).rows(columns, rows)


@app.command()
def replay(
    *,
    filter_text: Filter = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Sends dead letters again, under the ids that their receivers know."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ReplayDeliveriesRequest(tenant_id=connection.tenant, filter=filter_text)
        count = connection.client.deliveries.ReplayDeliveries(request).replayed_count
    Output(form).record({"replayed": count})


def _fields(alert: models.Alert) -> dict[str, object]:
    fields: dict[str, object] = {
        "alert_id": alert.alert_id,
        "message": alert.message,
        "severity": _severity(alert.severity),
        "state": _state(alert.state),
        "fired": utc_text(alert.fire_time),
    }
    if alert.acknowledged_by:
        fields["in_hand_of"] = alert.acknowledged_by
    if alert.HasField("snooze_end_time"):
        fields["silent_until"] = utc_text(alert.snooze_end_time)
    return fields


def _about(alert: models.Alert) -> str:
    kind = models.AlertKind.Name(alert.kind).removeprefix("ALERT_KIND_").lower().replace("_", " ")
    share = alert.threshold.threshold_ratio
    return f"{kind.removesuffix(' threshold')} {float(share):.0%}" if share else kind


def _money(alert: models.Alert, name: str) -> str:
    if not alert.HasField(name):  # type: ignore[arg-type] # one of two names
        return ""
    money = getattr(alert, name)
    return f"{money.amount} {money.currency_code}"


def _severity(value: AlertSeverity.ValueType) -> str:
    return AlertSeverity.Name(value).removeprefix("ALERT_SEVERITY_").lower()


def _state(value: models.AlertState.ValueType) -> str:
    return models.AlertState.Name(value).removeprefix("ALERT_STATE_").lower()

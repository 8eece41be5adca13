"""Provider settings, steps and webhooks between contract and domain."""

from __future__ import annotations

from finops.billing.v1 import provider_model_pb2 as models
from finops.billing.v1 import provider_service_pb2 as messages
from finops.billing.v1 import webhook_service_pb2 as webhooks

from services.billing.convert.values import from_amount, from_instant, from_period
from services.billing.domain.metered_route import MeteredInvoice, RouteProgress, event_name
from services.billing.domain.operation import Operation
from services.billing.domain.outage import ProviderOutage
from services.billing.domain.provider import ProviderKind, ProviderSettings, Secrets
from services.billing.domain.webhook import WebhookEvent
from services.billing.service.provider.providers import API_VERSION
from services.billing.service.provider.settings import SettingsChange, Tested
from services.kernel.listing import ListRequest, page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

_FIELDS = (
    *("kind", "live_mode", "api_key", "publishable_key", "webhook_secret"),
    *("previous_webhook_secret", "api_version"),
)
_SHOWN = ("endpoint_id", "api_key_hint", "webhook_secret_set", "update_time", "etag", "outage")
_KINDS = (ProviderKind.OFFLINE, ProviderKind.OFFLINE, ProviderKind.STRIPE)


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: service and RPC, as in `ProviderService/List…`."""
    return page_request(request, tenant_id=tenant_id, method=f"finops.billing.v1.{method}")


def to_change(request: messages.UpdateProviderSettingsRequest) -> SettingsChange:
    """Converts an update. Raises UnknownMaskPath."""
    found = request.provider_settings
    names = fields_to_update(found, request.update_mask, updatable=_FIELDS, ignored=_SHOWN)
    return SettingsChange(
        settings=ProviderSettings(
            tenant_id="",
            kind=_KINDS[found.kind],
            live_mode=found.live_mode,
            publishable_key=found.publishable_key,
            api_version=found.api_version,
        ),
        secrets=Secrets(
            **{
                name: getattr(found, name)
                for name in ("api_key", "webhook_secret", "previous_webhook_secret")
                if name in names
            }
        ),
        names=names,
        revision=int(found.etag) if found.etag.isdigit() else None,
    )


def from_settings(
    settings: ProviderSettings, outage: ProviderOutage | None = None
) -> models.ProviderSettings:
    """Converts settings; there is no secret in them. outage: of the provider, if there is one."""
    return models.ProviderSettings(
        kind=models.ProviderKind.Value(f"PROVIDER_KIND_{settings.kind.name}"),
        live_mode=settings.live_mode,
        publishable_key=settings.publishable_key,
        api_version=settings.api_version,
        endpoint_id=settings.endpoint_id,
        api_key_hint=settings.api_key_hint,
        webhook_secret_set=settings.webhook_secret_set,
        update_time=from_instant(settings.updated_at),
        etag=str(settings.revision),
        outage=None if outage is None else _from_outage(outage),
    )


def _from_outage(outage: ProviderOutage) -> models.ProviderOutage:
    return models.ProviderOutage(
        begin_time=from_instant(outage.began_at),
        probe_count=outage.probe_count,
        next_probe_time=from_instant(outage.next_probe_at),
        error=outage.error,
    )


def from_test(result: Tested) -> messages.TestProviderResponse:
    """Converts what a test found."""
    return messages.TestProviderResponse(
        reachable=result.is_reachable,
        accepted=result.is_accepted,
        api_version=API_VERSION,
        message=result.message,
    )


def from_operations(page: Page[Operation]) -> messages.ListProviderOperationsResponse:
    """Converts a page."""
    return messages.ListProviderOperationsResponse(
        operations=[
            models.ProviderOperation(
                operation_key=each.operation_key,
                state=models.ProviderOperationState.Value(
                    f"PROVIDER_OPERATION_STATE_{each.state.name}"
                ),
                attempt=each.attempt,
                invoice_id=each.invoice_id,
                provider_object_id=each.provider_object_id,
                http_status=each.http_status,
                provider_request_id=each.provider_request_id,
                error=each.error,
                first_send_time=from_instant(each.first_sent_at),
                next_attempt_time=from_instant(each.next_attempt_at),
            )
            for each in page.items
        ],
        next_page_token=page.next_page_token,
    )


def from_metered(page: Page[MeteredInvoice]) -> messages.ListMeteredInvoicesResponse:
    """Converts a page of the provider's own invoices."""
    return messages.ListMeteredInvoicesResponse(
        metered_invoices=[
            models.MeteredInvoice(
                provider_invoice_id=each.provider_invoice_id,
                subscription_id=each.subscription_id,
                account_id=each.account_id,
                number=each.number,
                state=models.MeteredInvoiceState.Value(f"METERED_INVOICE_STATE_{each.state.name}"),
                period=from_period(each.period),
                subtotal=from_amount(each.currency_code, each.subtotal),
                rated=from_amount(each.currency_code, each.rated),
                difference=from_amount(each.currency_code, each.rated - each.subtotal),
                total=from_amount(each.currency_code, each.total),
                amount_paid=from_amount(each.currency_code, each.amount_paid),
                hosted_url=each.hosted_url,
                create_time=from_instant(each.created_at),
                seen_time=from_instant(each.seen_at),
            )
            for each in page.items
        ],
        next_page_token=page.next_page_token,
    )


def from_routes(page: Page[RouteProgress]) -> messages.ListMeterRoutesResponse:
    """Converts a page of routes to the provider's meters."""
    return messages.ListMeterRoutesResponse(
        meter_routes=[_from_route(each) for each in page.items],
        next_page_token=page.next_page_token,
    )


def _from_route(each: RouteProgress) -> models.MeterRoute:
    route = each.route
    return models.MeterRoute(
        route_id=route.route_id,
        subscription_id=route.subscription_id,
        account_id=route.account_id,
        plan_id=route.plan_id,
        plan_version=route.plan_version,
        currency_code=route.currency_code,
        state=models.MeterRouteState.Value(f"METER_ROUTE_STATE_{route.state.name}"),
        start_time=from_instant(route.starts_at),
        end_time=from_instant(route.ends_at),
        provider_subscription_id=route.provider_subscription_id,
        told=[
            models.MeteredQuantity(
                charge_id=charge_id,
                event_name=event_name(route.plan_id, charge_id),
                quantity=str(quantity),
            )
            for charge_id, quantity in each.told.items()
        ],
        unsettled_count=each.unsettled,
        failed_count=each.failed,
        error=route.error,
    )


def from_event(event: WebhookEvent) -> models.WebhookEvent:
    """Converts an event; its body stays where it is."""
    return models.WebhookEvent(
        webhook_event_id=event.webhook_event_id,
        provider=event.provider,
        provider_event_id=event.provider_event_id,
        event_type=event.event_type,
        object_id=event.object_id,
        live_mode=event.live_mode,
        state=models.WebhookEventState.Value(f"WEBHOOK_EVENT_STATE_{event.state.name}"),
        attempt_count=event.attempt_count,
        error=event.error,
        provider_create_time=from_instant(event.provider_created_at),
        receive_time=from_instant(event.received_at),
        handle_time=from_instant(event.handled_at),
        next_attempt_time=from_instant(event.next_attempt_at),
    )


def from_events(page: Page[WebhookEvent]) -> webhooks.ListWebhookEventsResponse:
    """Converts a page."""
    return webhooks.ListWebhookEventsResponse(
        webhook_events=[from_event(event) for event in page.items],
        next_page_token=page.next_page_token,
    )


def signature_of(metadata: object) -> str:
    """Returns the signature that a webhook came with, "" without one."""
    for name, value in metadata or ():  # type: ignore[attr-defined] # pairs, whatever the stub
        if name == "stripe-signature":
            return str(value)
    return ""

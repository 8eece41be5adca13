"""Stripe, through its own SDK: one account, one key, one pinned API version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import stripe

from services.billing.domain.provider import (
    ProviderKind,
    PushedCredit,
    PushedInvoice,
    PushedLine,
    RemoteCharge,
    RemoteCredit,
    RemoteEvent,
    RemoteInvoice,
    RemoteMethod,
    RemoteOutcome,
    RemotePayment,
)
from services.billing.service.provider import stripe_objects as objects
from services.billing.service.provider.meter_port import UsageMeters
from services.billing.service.provider.port import (
    PortalSession,
    ProviderCheck,
    Refused,
    Setup,
)
from services.billing.service.provider.stripe_faults import asked
from services.billing.service.provider.stripe_meters import StripeMeters
from services.billing.service.provider.stripe_pages import key_of, pages, plain, seconds, was_gone

API_VERSION = str(stripe.api_version)
TIMEOUT_SECONDS = 10.0  # the SDK's own default, 80 s, would hold a worker for longer than its lease
RETRIES = 0  # steps are tried again by the step log, which survives a crash; the SDK's memory not
PAGE = 100
READ_BACK_PAGE = 20  # invoices come with lines, and the newest of a customer are enough
CLOCK_SLACK = timedelta(hours=1)  # between Stripe's clock and ours, generously
_PORTAL_LIFETIME = timedelta(minutes=5)  # how long an unused portal address works


class StripeProvider:
    """Sends integer amounts that were computed here; Stripe adds, taxes and prorates nothing."""

    kind = ProviderKind.STRIPE

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """base_url: another address than Stripe's, for tests."""
        self._http = stripe.HTTPXClient(timeout=timeout_seconds)
        addresses: Any = (
            {}
            if base_url is None
            else dict.fromkeys(("api", "connect", "files", "meter_events"), base_url)
        )
        self._client = stripe.StripeClient(
            api_key,
            base_addresses=addresses,
            http_client=self._http,
            max_network_retries=RETRIES,
            stripe_version=API_VERSION,
        )
        self._v1 = self._client.v1
        self.meters: UsageMeters | None = StripeMeters(self._client)

    async def has_subscription(self, provider_subscription_id: str) -> bool:
        """Tells whether the key's account has a subscription; an ended one counts."""
        try:
            await asked(self._v1.subscriptions.retrieve_async(provider_subscription_id))
        except Refused as fault:
            if was_gone(fault):
                return False
            raise
        return True

    async def create_customer(
        self, key: str, *, tenant_id: str, account_id: str, currency_code: str
    ) -> str:
        """Makes a customer that bears ids of ours and no person's name."""
        metadata = {
            objects.TENANT: tenant_id,
            objects.ACCOUNT: account_id,
            objects.CURRENCY: currency_code,
        }
        call = self._v1.customers.create_async({"metadata": metadata}, key_of(key))
        return (await asked(call)).id

    async def find_customer(
        self, *, tenant_id: str, account_id: str, currency_code: str, since: datetime
    ) -> str | None:
        """Lists what was made since; search is not read-after-write consistent."""
        params = {"created": {"gte": seconds(since - CLOCK_SLACK)}, "limit": PAGE}
        async for found in pages(self._v1.customers.list_async, params):
            metadata = found.get("metadata") or {}
            if (
                metadata.get(objects.TENANT) == tenant_id
                and metadata.get(objects.ACCOUNT) == account_id
                and metadata.get(objects.CURRENCY) == currency_code
            ):
                return str(found["id"])
        return None

    async def create_invoice(
        self, key: str, invoice: PushedInvoice, *, customer_id: str
    ) -> RemoteInvoice:
        """Makes an empty draft that nothing advances by itself."""
        params: Any = {
            "customer": customer_id,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "currency": invoice.currency_code.lower(),
            "collection_method": "charge_automatically",
            "metadata": {
                objects.TENANT: invoice.tenant_id,
                objects.INVOICE: invoice.invoice_id,
            },
        }
        if invoice.number and len(invoice.number) <= 26:  # noqa: PLR2004 - Stripe's own bound
            params["number"] = invoice.number
        if invoice.days_until_due is not None:
            params["collection_method"] = "send_invoice"
            params["days_until_due"] = invoice.days_until_due
        call = self._v1.invoices.create_async(params, key_of(key))
        return objects.invoice_of(plain(await asked(call)))

    async def find_invoice(
        self, invoice: PushedInvoice, *, customer_id: str, since: datetime
    ) -> RemoteInvoice | None:
        """Lists the customer's invoices since, and looks for ours."""
        params = {
            "customer": customer_id,
            "created": {"gte": seconds(since - CLOCK_SLACK)},
            "limit": READ_BACK_PAGE,
        }
        async for found in pages(self._v1.invoices.list_async, params):
            if (found.get("metadata") or {}).get(objects.INVOICE) == invoice.invoice_id:
                return objects.invoice_of(found)
        return None

    async def add_lines(
        self,
        key: str,
        provider_invoice_id: str,
        invoice: PushedInvoice,
        lines: Sequence[PushedLine],
    ) -> None:
        """Adds lines, all of them or none."""
        params: Any = {
            "lines": [
                objects.line_parameters(invoice.invoice_id, line, invoice.currency_code)
                for line in lines
            ]
        }
        await asked(self._v1.invoices.add_lines_async(provider_invoice_id, params, key_of(key)))

    async def fetch_draft(
        self, invoice: PushedInvoice, provider_invoice_id: str
    ) -> RemoteInvoice | None:
        """Fetches an invoice of ours, and every page of its lines."""
        del invoice
        found = await self._retrieve(provider_invoice_id)
        if found is None:
            return None

        async def page(params: Any) -> Any:
            return await self._v1.invoices.line_items.list_async(provider_invoice_id, params)

        lines = [line async for line in pages(page, {"limit": PAGE})]
        return objects.invoice_of(found, lines)

    async def fetch_invoice(self, provider_invoice_id: str) -> RemoteInvoice | None:
        """Fetches an invoice."""
        found = await self._retrieve(provider_invoice_id)
        return None if found is None else objects.invoice_of(found)

    async def _retrieve(self, provider_invoice_id: str) -> dict[str, Any] | None:
        try:
            return plain(await asked(self._v1.invoices.retrieve_async(provider_invoice_id)))
        except Refused as fault:
            if was_gone(fault):
                return None
            raise

    async def delete_draft(self, provider_invoice_id: str) -> None:
        """Deletes a draft."""
        try:
            await asked(self._v1.invoices.delete_async(provider_invoice_id))
        except Refused as fault:
            if not was_gone(fault):
                raise

    async def finalize(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Makes a draft payable; collecting is a step of its own."""
        call = self._v1.invoices.finalize_invoice_async(
            provider_invoice_id, {"auto_advance": False}, key_of(key)
        )
        return objects.invoice_of(plain(await asked(call)))

    async def collect(self, key: str, provider_invoice_id: str, *, method_id: str) -> RemoteInvoice:
        """Charges the invoice off session."""
        params: Any = {"off_session": True}
        if method_id:
            params["payment_method"] = method_id
        call = self._v1.invoices.pay_async(provider_invoice_id, params, key_of(key))
        return objects.invoice_of(plain(await asked(call)))

    async def settle(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Marks the invoice as paid elsewhere, so that nobody charges it."""
        call = self._v1.invoices.pay_async(
            provider_invoice_id, {"paid_out_of_band": True}, key_of(key)
        )
        return objects.invoice_of(plain(await asked(call)))

    async def void(self, key: str, provider_invoice_id: str) -> RemoteInvoice:
        """Voids the invoice."""
        call = self._v1.invoices.void_invoice_async(provider_invoice_id, {}, key_of(key))
        return objects.invoice_of(plain(await asked(call)))

    async def credit(self, key: str, credit: PushedCredit) -> RemoteCredit:
        """Makes the credit note; the parts of its settlement add up to its total."""
        total = objects.units(credit.total, credit.currency_code)
        params: Any = {
            "invoice": credit.provider_invoice_id,
            "amount": total,
            "memo": credit.reason[:5000],
            "metadata": {objects.CREDIT: credit.credit_note_id, objects.TENANT: credit.tenant_id},
        }
        if credit.settlement == "refund":
            params["refund_amount"] = total
        elif credit.settlement != "reduce_due":
            # Balances are ours: two of them would be two truths.
            params["out_of_band_amount"] = total
        call = self._v1.credit_notes.create_async(params, key_of(key))
        return objects.credit_of(plain(await asked(call)))

    async def find_credit(self, credit: PushedCredit) -> RemoteCredit | None:
        """Lists the invoice's credit notes, and looks for ours."""
        for found in await self.credits_of(credit.provider_invoice_id):
            if found.credit_note_id == credit.credit_note_id:
                return found
        return None

    async def credits_of(self, provider_invoice_id: str) -> Sequence[RemoteCredit]:
        """Lists the invoice's credit notes."""
        params = {"invoice": provider_invoice_id, "limit": PAGE}
        listed = pages(self._v1.credit_notes.list_async, params)
        return [objects.credit_of(found) async for found in listed]

    async def fetch_charge(self, charge_id: str) -> RemoteCharge | None:
        """Fetches the charge, its refunds, and its dispute where it has one."""
        try:
            charge = plain(await asked(self._v1.charges.retrieve_async(charge_id)))
        except Refused as fault:
            if was_gone(fault):
                return None
            raise
        refunds = [
            found
            async for found in pages(
                self._v1.refunds.list_async, {"charge": charge_id, "limit": PAGE}
            )
        ]
        dispute = None
        if charge.get("disputed"):
            # The SDK has no method that finds a charge's dispute.
            call = self._client.raw_request_async("get", f"/v1/charges/{charge_id}/dispute")
            dispute = dict((await asked(call)).data)
        return objects.charge_of(charge, refunds, dispute)

    async def payments_of(
        self, provider_invoice_id: str, *, is_detailed: bool = False
    ) -> Sequence[RemotePayment]:
        """Lists what was taken for the invoice, with a request for each charge's details."""
        params = {"invoice": provider_invoice_id, "status": "paid", "limit": PAGE}
        taken = [
            objects.payment_of(found)
            async for found in pages(self._v1.invoice_payments.list_async, params)
        ]
        if not is_detailed:
            return taken
        return [objects.detailed(each, await self._charge_of(each)) for each in taken]

    async def _charge_of(self, payment: RemotePayment) -> dict[str, Any]:
        charge_id = payment.provider_payment_id
        if charge_id.startswith("pi_"):
            intent = plain(await asked(self._v1.payment_intents.retrieve_async(charge_id)))
            charge_id = str(intent["latest_charge"])
        params: Any = {"expand": ["balance_transaction"]}
        return plain(await asked(self._v1.charges.retrieve_async(charge_id, params)))

    async def outcome_of(self, provider_invoice_id: str) -> RemoteOutcome | None:
        """Fetches the newest payment intent of the invoice, and what it says."""
        params = {"invoice": provider_invoice_id, "limit": PAGE}
        async for found in pages(self._v1.invoice_payments.list_async, params):
            intent_id = found["payment"].get("payment_intent")
            if intent_id:
                call = self._v1.payment_intents.retrieve_async(str(intent_id))
                return objects.outcome_of(plain(await asked(call)))
        return None

    async def begin_setup(self, *, customer_id: str) -> Setup:
        """Begins a setup for charges without the payer; Stripe offers the methods."""
        call = self._v1.setup_intents.create_async(
            {"customer": customer_id, "usage": "off_session"}
        )
        found = await asked(call)
        return Setup(found.id, found.client_secret or "")

    async def finished_setup(self, setup_id: str) -> tuple[str, str]:
        """Fetches the setup; the browser's word for it is not enough."""
        found = plain(await asked(self._v1.setup_intents.retrieve_async(setup_id)))
        if found["status"] != "succeeded" or not found.get("payment_method"):
            raise Refused(f"the setup is {found['status']}")
        return str(found.get("customer") or ""), str(found["payment_method"])

    async def attach(self, method_id: str, *, customer_id: str) -> RemoteMethod:
        """Attaches unless it is the customer's already; another customer's is refused."""
        found = plain(await asked(self._v1.payment_methods.retrieve_async(method_id)))
        if found.get("customer") == customer_id:
            return objects.method_of(found)
        call = self._v1.payment_methods.attach_async(method_id, {"customer": customer_id})
        return objects.method_of(plain(await asked(call)))

    async def make_default(self, method_id: str, *, customer_id: str) -> None:
        """Charges this method from now on."""
        params: Any = {"invoice_settings": {"default_payment_method": method_id}}
        await asked(self._v1.customers.update_async(customer_id, params))

    async def fetch_method(self, method_id: str) -> RemoteMethod | None:
        """Fetches a payment method."""
        try:
            found = await asked(self._v1.payment_methods.retrieve_async(method_id))
        except Refused as fault:
            if was_gone(fault):
                return None
            raise
        return objects.method_of(plain(found))

    async def detach(self, method_id: str) -> None:
        """Detaches unless it is nobody's already."""
        found = await self.fetch_method(method_id)
        if found is not None and found.customer_id:
            await asked(self._v1.payment_methods.detach_async(method_id))

    async def open_portal(self, *, customer_id: str, return_url: str) -> PortalSession:
        """Opens the customer portal."""
        call = self._v1.billing_portal.sessions.create_async(
            {"customer": customer_id, "return_url": return_url}
        )
        found = await asked(call)
        return PortalSession(found.url, objects.instant(found.created) + _PORTAL_LIFETIME)

    async def check(self) -> ProviderCheck:
        """Reads the newest event, which every key for billing may."""
        found = plain(await asked(self._v1.events.list_async({"limit": 1})))["data"]
        return ProviderCheck(API_VERSION, bool(found[0]["livemode"]) if found else None)

    async def events_since(self, since: datetime) -> AsyncIterator[RemoteEvent]:
        """Yields events, newest first; Stripe keeps them for 30 days."""
        params = {"created": {"gte": seconds(since)}, "limit": PAGE}
        async for found in pages(self._v1.events.list_async, params):
            yield objects.event_of(found)

    async def invoices_since(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[RemoteInvoice]:
        """Yields invoices made in that time."""
        created = {"gte": seconds(since), "lt": seconds(until) + 1}
        async for found in pages(self._v1.invoices.list_async, {"created": created, "limit": PAGE}):
            yield objects.invoice_of(found)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call] # the SDK types it not

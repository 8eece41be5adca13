"""Every request of the Stripe provider is one that Stripe's schema takes; no peer is needed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from services.billing.domain.provider import (
    DisputeState,
    PushedCredit,
    PushedInvoice,
    PushedLine,
    RemoteSettlement,
)
from services.billing.service.provider import stripe_objects
from services.billing.service.provider.port import (
    AnsweredBadly,
    Declined,
    KeyRejected,
    NoAnswer,
    ProviderFault,
    Refused,
    Throttled,
)
from services.billing.service.provider.stripe_provider import API_VERSION, StripeProvider
from services.kernel.period import Period
from tests.support.stripe.forms import parsed
from tests.support.stripe.schema import StripeSchema, stripe_schema
from tests.support.stripe.wire import WireAnswer, WireRequest, serving_wire

MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
INVOICE = {
    "id": "in_1",
    "object": "invoice",
    "status": "open",
    "currency": "eur",
    "total": 1190,
    "amount_paid": 0,
    "amount_remaining": 1190,
    "created": 1_770_000_000,
    "metadata": {},
}
METHOD = {"id": "pm_1", "object": "payment_method", "type": "card", "card": {"last4": "4242"}}
PAYMENT = {
    "id": "inpay_1",
    "object": "invoice_payment",
    "invoice": "in_1",
    "currency": "eur",
    "amount_paid": 1190,
    "created": 1_770_000_000,
    "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
}
ANSWERS: dict[str, Any] = {
    "PostCustomers": {"id": "cus_1", "object": "customer"},
    "PostCustomersCustomer": {"id": "cus_1", "object": "customer"},
    "GetCustomers": [],
    "GetInvoices": [INVOICE],
    "GetInvoicesInvoiceLines": [],
    "GetInvoicePayments": [PAYMENT],
    "GetPaymentIntentsIntent": {
        "id": "pi_1",
        "object": "payment_intent",
        "latest_charge": "ch_1",
        "status": "requires_action",
    },
    "GetChargesCharge": {
        "id": "ch_1",
        "object": "charge",
        "amount": 1190,
        "amount_refunded": 190,
        "currency": "eur",
        "disputed": True,
        "payment_intent": "pi_1",
        "balance_transaction": {
            "id": "txn_1",
            "object": "balance_transaction",
            "currency": "usd",
            "amount": 1300,
            "fee": 60,
            "net": 1240,
            "exchange_rate": 1.0924,
        },
    },
    "GetRefunds": [
        {
            "id": "re_1",
            "object": "refund",
            "amount": 190,
            "status": "failed",
            "created": 1_770_000_000,
        }
    ],
    "GetChargesChargeDispute": {"id": "du_1", "object": "dispute", "status": "under_review"},
    "GetCreditNotes": [],
    "PostCreditNotes": {"id": "cn_1", "object": "credit_note", "total": 100, "currency": "eur"},
    "PostSetupIntents": {"id": "seti_1", "object": "setup_intent", "client_secret": "s"},
    "GetSetupIntentsIntent": {
        "id": "seti_1",
        "object": "setup_intent",
        "status": "succeeded",
        "customer": "cus_1",
        "payment_method": "pm_1",
    },
    "GetPaymentMethodsPaymentMethod": METHOD,
    "PostPaymentMethodsPaymentMethodAttach": METHOD,
    "PostBillingPortalSessions": {
        "id": "bps_1",
        "object": "billing_portal.session",
        "url": "https://billing.example/1",
        "created": 1_770_000_000,
    },
    "GetEvents": [],
}


@dataclass
class Recorder:
    """Answers with the least that the SDK reads, and holds each request against the schema."""

    schema: StripeSchema
    asked: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    refusal: WireAnswer | None = None

    async def answer(self, request: WireRequest) -> WireAnswer:
        parts = urlsplit(request.target)
        is_read = request.method in ("GET", "DELETE")
        parameters = parsed(parts.query if is_read else request.body.decode())
        self.violations += self.schema.violations(request.method, parts.path, parameters)
        operation = self.schema.operation(request.method, parts.path)
        assert operation is not None, request.target
        self.asked.append(operation.operation_id)
        self.versions.add(request.headers["stripe-version"])
        if self.refusal is not None:
            return self.refusal
        found = ANSWERS.get(operation.operation_id, INVOICE)
        if isinstance(found, list):
            found = {"object": "list", "data": found, "has_more": False, "url": parts.path}
        return WireAnswer(200, json.dumps(found).encode())


@asynccontextmanager
async def recorded() -> AsyncIterator[tuple[StripeProvider, Recorder]]:
    recorder = Recorder(stripe_schema())
    async with serving_wire(recorder.answer) as url:
        provider = StripeProvider("sk_test_wire", base_url=url)
        yield provider, recorder
        await provider.close()


def invoice(**changed: Any) -> PushedInvoice:
    line = PushedLine(
        line_id="l-1",
        description="Tokens",
        amount=Decimal("10.00"),
        tax_amount=Decimal("1.90"),
        tax_name="VAT 19 %",
        tax_ratio=Decimal("0.19"),
        period=MARCH,
    )
    given: dict[str, Any] = {
        "tenant_id": "acme",
        "invoice_id": "i-1",
        "account_id": "a-1",
        "number": "INV-1",
        "currency_code": "EUR",
        "total": Decimal("11.90"),
        "tax_total": Decimal("1.90"),
        "days_until_due": None,
        "lines": [line],
    }
    return PushedInvoice(**(given | changed))


def credit(settlement: str) -> PushedCredit:
    return PushedCredit(
        tenant_id="acme",
        credit_note_id="cn-1",
        provider_invoice_id="in_1",
        currency_code="EUR",
        total=Decimal("1.00"),
        settlement=settlement,
        reason="Too much",
    )


class Watched:
    """A provider that remembers which of its methods were called."""

    def __init__(self, provider: StripeProvider) -> None:
        self._provider = provider
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._provider, name)


async def call_everything(provider: StripeProvider) -> None:
    since = MARCH.start
    ids = {"tenant_id": "acme", "account_id": "a-1", "currency_code": "EUR"}
    await provider.create_customer("k", **ids)
    await provider.find_customer(**ids, since=since)
    await provider.create_invoice("k", invoice(), customer_id="cus_1")
    await provider.create_invoice("k", invoice(days_until_due=30), customer_id="cus_1")
    await provider.find_invoice(invoice(), customer_id="cus_1", since=since)
    await provider.add_lines("k", "in_1", invoice(), invoice().lines)
    await provider.fetch_draft(invoice(), "in_1")
    await provider.fetch_invoice("in_1")
    await provider.delete_draft("in_1")
    await provider.finalize("k", "in_1")
    await provider.collect("k", "in_1", method_id="pm_1")
    await provider.settle("k", "in_1")
    await provider.void("k", "in_1")
    for settlement in ("refund", "balance", "out_of_band", "reduce_due"):
        await provider.credit("k", credit(settlement))
    await provider.find_credit(credit("refund"))
    await provider.credits_of("in_1")
    await provider.payments_of("in_1", is_detailed=True)
    await provider.fetch_charge("ch_1")
    await provider.outcome_of("in_1")
    await provider.begin_setup(customer_id="cus_1")
    await provider.finished_setup("seti_1")
    await provider.attach("pm_1", customer_id="cus_1")
    await provider.make_default("pm_1", customer_id="cus_1")
    await provider.fetch_method("pm_1")
    await provider.detach("pm_1")
    await provider.open_portal(customer_id="cus_1", return_url="https://example.com")
    await provider.check()
    assert [event async for event in provider.events_since(since)] == []
    assert [found async for found in provider.invoices_since(since, MARCH.end)] != []
    assert await provider.has_subscription("sub_1")


async def test_every_method_asks_only_what_the_schema_takes() -> None:
    async with recorded() as (provider, recorder):
        watched = Watched(provider)
        await call_everything(cast("StripeProvider", watched))

    public = {
        name
        for name, value in vars(StripeProvider).items()
        if callable(value) and not name.startswith("_")
    }
    assert watched.called == public - {"close"}
    assert recorder.violations == []
    assert recorder.versions == {API_VERSION}
    assert len(set(recorder.asked)) >= 20


@pytest.mark.parametrize(
    ("path", "parameters", "wrong"),
    [
        ("/v1/customers", {"emial": "x"}, "emial is not a parameter"),
        ("/v1/invoices", {"customer": "c", "collection_method": "later"}, "is one of"),
        ("/v1/invoiceitems", {"customer": "c", "amount": "12.5"}, "is a whole number"),
        ("/v1/invoices/in_1/add_lines", {}, "[lines] is required"),
        ("/v1/invoices/in_1/explode", {}, "there is no operation"),
    ],
)
def test_a_planted_wrong_request_is_seen(path: str, parameters: dict[str, Any], wrong: str) -> None:
    [problem] = stripe_schema().violations("POST", path, parameters)

    assert wrong in problem


async def test_a_planted_wrong_parameter_of_the_provider_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = stripe_objects.line_parameters

    def wrong(*given: Any) -> dict[str, Any]:
        return original(*given) | {"unit_amount": 5}

    async with recorded() as (provider, recorder):
        monkeypatch.setattr(stripe_objects, "line_parameters", wrong)
        await provider.add_lines("k", "in_1", invoice(), invoice().lines)

    assert recorder.violations == [
        "PostInvoicesInvoiceAddLines: lines[0][unit_amount] is not a parameter"
    ]


def error(status: int, **detail: str) -> WireAnswer:
    return WireAnswer(status, json.dumps({"error": {"message": "m", **detail}}).encode())


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (error(409, type="idempotency_error"), NoAnswer),
        (error(429, code="rate_limit"), Throttled),
        (error(429, code="lock_timeout"), AnsweredBadly),
        (error(500, type="api_error"), AnsweredBadly),
        (error(503, type="api_error"), AnsweredBadly),
        (error(400, type="invalid_request_error"), Refused),
        (error(401, type="invalid_request_error"), KeyRejected),
        (error(402, type="card_error", code="card_declined", decline_code="lost_card"), Declined),
        (WireAnswer(200, b"{" * 100, cut=50), NoAnswer),
    ],
)
async def test_each_answer_means_one_thing(
    answer: WireAnswer, meaning: type[ProviderFault]
) -> None:
    async with recorded() as (provider, recorder):
        recorder.refusal = answer
        with pytest.raises(ProviderFault) as caught:
            await provider.finalize("k", "in_1")

    assert type(caught.value) is meaning
    if isinstance(caught.value, Declined):
        assert caught.value.decline_code == "lost_card"
    assert len(recorder.asked) == 1


@pytest.mark.parametrize(
    ("amount", "code", "units"),
    [("11.90", "EUR", 1190), ("500", "JPY", 500), ("5.120", "KWD", 5120), ("5", "ISK", 500)],
)
def test_amounts_are_sent_in_the_units_of_stripe(amount: str, code: str, units: int) -> None:
    assert stripe_objects.units(Decimal(amount), code) == units
    assert stripe_objects.amount(units, code) == Decimal(amount)


async def test_a_charge_is_read_with_its_dispute_refunds_and_what_is_paid_out() -> None:
    async with recorded() as (provider, _):
        charge = await provider.fetch_charge("ch_1")
        [payment] = await provider.payments_of("in_1", is_detailed=True)

    assert charge is not None
    assert (charge.payment_ids, charge.dispute) == (["ch_1", "pi_1"], DisputeState.OPEN)
    assert [(one.amount, one.has_failed) for one in charge.refunds] == [(Decimal("1.90"), True)]
    assert payment.settlement == RemoteSettlement(
        provider_transaction_id="txn_1",
        currency_code="USD",
        gross=Decimal("13.00"),
        fee=Decimal("0.60"),
        exchange_rate=Decimal("1.0924"),
    )
    assert payment.fee is None  # it is in another currency than the payment

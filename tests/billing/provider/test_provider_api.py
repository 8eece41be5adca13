"""Settings, payments, payment methods and reconciliations as callers meet them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal

import grpc
import pytest
from finops.billing.v1 import payment_model_pb2 as payment_models
from finops.billing.v1 import provider_model_pb2 as models
from finops.billing.v1 import provider_service_pb2
from finops.billing.v1 import run_model_pb2 as run_models
from finops.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from finops.billing.v1.payment_model_pb2 import BankTransfer, Payment
from finops.billing.v1.payment_service_pb2 import (
    ImportPaymentsRequest,
    ListPaymentAttemptsRequest,
    ListPaymentsRequest,
    RecordPaymentRequest,
    RefundPaymentRequest,
)
from finops.billing.v1.payment_service_pb2_grpc import PaymentServiceStub
from finops.billing.v1.provider_service_pb2 import (
    GetProviderSettingsRequest,
    ListProviderOperationsRequest,
    UpdateProviderSettingsRequest,
)
from finops.billing.v1.provider_service_pb2_grpc import ProviderServiceStub
from finops.billing.v1.run_messages_pb2 import ReconcileRequest
from finops.billing.v1.run_service_pb2 import (
    GetReconciliationRequest,
    ListReconciliationsRequest,
    ResolveReconciliationDiffRequest,
)
from finops.billing.v1.run_service_pb2_grpc import RunServiceStub
from finops.billing.v1.subscription_messages_pb2 import (
    CreatePortalSessionRequest,
    DetachPaymentMethodRequest,
    ListPaymentMethodsRequest,
    SetPaymentMethodRequest,
)
from finops.common.v1.money_pb2 import Money
from google.api.httpbody_pb2 import HttpBody

from services.billing.service.provider.providers import Providers
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from tests.billing.conftest import Billing
from tests.billing.provider.seeding import Seeded, add_account, add_locked_invoice, work_of
from tests.billing.provider.test_webhooks import seller
from tests.support.database import ServiceDatabase, connection
from tests.support.server import refused

KEY = "sk_test_51Hx_a_key_of_the_tests_9f3a"
SIGNING = "whsec_a_signing_secret_of_the_tests"


async def put(billing: Billing, **fields: object) -> models.ProviderSettings:
    stub = ProviderServiceStub(seller(billing))
    settings = models.ProviderSettings(**fields)  # type: ignore[arg-type] # each of its own type
    request = UpdateProviderSettingsRequest(provider_settings=settings)
    return (await stub.UpdateProviderSettings(request)).provider_settings


async def test_secrets_go_in_and_never_come_out(
    billing: Billing, billing_service: ServiceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    stored = await put(
        billing,
        kind=models.PROVIDER_KIND_STRIPE,
        api_key=KEY,
        webhook_secret=SIGNING,
    )

    stub = ProviderServiceStub(seller(billing))
    shown = (await stub.GetProviderSettings(GetProviderSettingsRequest())).provider_settings
    assert (shown.api_key, shown.webhook_secret) == ("", "")
    assert shown.api_key_hint == "sk_test_…9f3a"
    assert shown.webhook_secret_set
    assert shown.endpoint_id == stored.endpoint_id != ""
    text = await dump(billing_service.owner_url) + caplog.text
    assert stored.endpoint_id in text
    for secret in (KEY, SIGNING):
        assert secret not in text
        assert secret.encode().hex() not in text


async def dump(owner_url: str) -> str:
    """Returns every row of every table of the service, bytes in hexadecimal."""
    async with connection(owner_url) as driver:
        tables = await driver.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'billing'"
        )
        rows = [
            await driver.fetchval(
                f"SELECT coalesce(string_agg(t::text, ' '), '') FROM billing.{name} t"
            )
            for (name,) in tables
        ]
    return " ".join(rows)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": models.PROVIDER_KIND_STRIPE},
        {"kind": models.PROVIDER_KIND_STRIPE, "api_key": "pk_test_public"},
        {"kind": models.PROVIDER_KIND_STRIPE, "api_key": "sk_live_in_test_mode"},
        {"kind": models.PROVIDER_KIND_STRIPE, "api_key": "sk_live_x", "live_mode": True},
        {"kind": models.PROVIDER_KIND_STRIPE, "api_key": KEY, "api_version": "2019-01-01"},
    ],
)
async def test_settings_that_contradict_each_other_are_refused(
    billing: Billing, fields: dict[str, object]
) -> None:
    refusal = await refused(put(billing, **fields))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "PROVIDER_SETTINGS_INVALID"


async def test_without_a_provider_the_offline_one_answers_and_has_no_pages(
    billing: Billing, billing_database: Database
) -> None:
    await add_account(billing_database, billing.tenant)
    provider = ProviderServiceStub(seller(billing))
    stub = BillingServiceStub(billing.channel())

    tested = await provider.TestProvider(provider_service_pb2.TestProviderRequest())
    refusal = await refused(
        stub.CreatePortalSession(CreatePortalSessionRequest(return_url="https://example.com"))
    )

    assert tested.accepted
    assert refusal.reason == "PROVIDER_REFUSED"


async def test_a_provider_that_does_not_answer_is_unavailable(
    billing: Billing, billing_database: Database, envelope: Envelope
) -> None:
    await add_account(billing_database, billing.tenant)
    await put(billing, kind=models.PROVIDER_KIND_STRIPE, api_key=KEY)
    providers = Providers(billing_database, envelope, base_url="http://127.0.0.1:9")
    work = work_of(billing_database, providers, envelope)

    with pytest.raises(Exception, match="does not answer") as caught:
        await work.methods.create_portal_session(billing.tenant, "", "https://example.com")
    await providers.close()

    assert getattr(caught.value, "reason", "") == "PROVIDER_UNAVAILABLE"


@pytest.fixture
async def opened(billing: Billing, billing_database: Database) -> Seeded:
    """An invoice that the offline provider has opened."""
    account_id = await add_account(billing_database, billing.tenant)
    seeded = await add_locked_invoice(billing_database, billing.tenant, account_id)
    await open_offline(billing_database, seeded)
    return seeded


async def open_offline(database: Database, seeded: Seeded) -> None:
    work = work_of(database, Providers(database, Envelope([])))
    await work.pushing.push(seeded.tenant_id, seeded.invoice_id)


def transfer(seeded: Seeded, amount: Decimal, reference: str) -> RecordPaymentRequest:
    return RecordPaymentRequest(
        payment=Payment(
            invoice_id=seeded.invoice_id,
            amount=Money(currency_code="EUR", amount=str(amount)),
            reference=reference,
        )
    )


async def test_a_transfer_counts_once_and_pays_the_invoice(
    billing: Billing, billing_database: Database, opened: Seeded
) -> None:
    stub = PaymentServiceStub(seller(billing))
    half = (opened.total / 2).quantize(Decimal("0.01"))

    await stub.RecordPayment(transfer(opened, half, "bank-1"))
    again = await stub.RecordPayment(transfer(opened, half, "bank-1"))
    other = await refused(stub.RecordPayment(transfer(opened, half / 2, "bank-1")))
    too_much = await refused(stub.RecordPayment(transfer(opened, opened.total, "bank-2")))
    await stub.RecordPayment(transfer(opened, opened.total - half, "bank-3"))

    assert again.payment.reference == "bank-1"
    assert other.reason == "PAYMENT_REFERENCE_REUSED"
    assert too_much.reason == "PAYMENT_EXCEEDS_INVOICE"
    listed = (await stub.ListPayments(ListPaymentsRequest())).payments
    assert sorted(payment.reference for payment in listed) == ["bank-1", "bank-3"]
    attempts = await stub.ListPaymentAttempts(ListPaymentAttemptsRequest())
    assert list(attempts.attempts) == []
    operations = await ProviderServiceStub(seller(billing)).ListProviderOperations(
        ListProviderOperationsRequest()
    )
    assert {each.state for each in operations.operations} == {
        models.PROVIDER_OPERATION_STATE_SUCCEEDED
    }
    async with billing_database.read(billing.tenant) as tx:
        row = await tx.driver.fetchrow(
            "SELECT invoice.state, open_balance FROM billing.invoice JOIN billing.account"
            " USING (tenant_id, account_id) WHERE invoice_id = $1",
            opened.invoice_id,
        )
    assert row is not None
    assert (row["state"], row["open_balance"]) == ("paid", 0)


CAMT = """<?xml version="1.0"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt>
<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><ValDt><Dt>2026-03-09</Dt></ValDt>
<AcctSvcrRef>BANK-77</AcctSvcrRef><NtryDtls><TxDtls><RmtInf><Ustrd>for {number} thanks</Ustrd>
</RmtInf></TxDtls></NtryDtls></Ntry>
<Ntry><Amt Ccy="EUR">5.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><ValDt><Dt>2026-03-09</Dt></ValDt>
<AcctSvcrRef>BANK-78</AcctSvcrRef></Ntry>
<Ntry><Amt Ccy="EUR">9.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><ValDt><Dt>2026-03-09</Dt></ValDt></Ntry>
</Stmt></BkToCstmrStmt></Document>"""


@pytest.mark.parametrize("kind", ["camt053", "csv"])
async def test_a_statement_pays_what_it_names_and_the_same_file_counts_once(
    billing: Billing, billing_database: Database, opened: Seeded, kind: str
) -> None:
    async with billing_database.read(billing.tenant) as tx:
        number = await tx.driver.fetchval(
            "SELECT number FROM billing.invoice WHERE invoice_id = $1", opened.invoice_id
        )
    text = CAMT.format(amount=opened.total, number=number)
    if kind == "csv":
        text = (
            "date,amount,currency,reference,text\n"
            f"2026-03-09,{opened.total},EUR,BANK-77,for {number}\n"
            "2026-03-09,5.00,EUR,BANK-78,unknown\n"
        )
    stub = PaymentServiceStub(seller(billing))
    request = ImportPaymentsRequest(content=HttpBody(data=text.encode()))

    first = (await stub.ImportPayments(request)).payment_import
    second = (await stub.ImportPayments(request)).payment_import

    assert (first.row_count, first.matched_count, len(first.problems)) == (2, 1, 1)
    assert first.problems[0].reference == "BANK-78"
    assert (second.matched_count, second.duplicate_count, len(second.problems)) == (0, 1, 1)


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"<Document", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", b"\xff\xfe"]
)
async def test_a_file_that_is_no_statement_is_refused(billing: Billing, content: bytes) -> None:
    stub = PaymentServiceStub(seller(billing))

    refusal = await refused(
        stub.ImportPayments(ImportPaymentsRequest(content=HttpBody(data=content)))
    )

    assert refusal.reason == "INVALID_STATEMENT"


async def test_a_refund_needs_its_credit_note_and_its_payment(
    billing: Billing, billing_database: Database, opened: Seeded
) -> None:
    stub = PaymentServiceStub(seller(billing))
    paid = (await stub.RecordPayment(transfer(opened, opened.total, "bank-9"))).payment
    async with billing_database.transaction(billing.tenant) as tx:
        await tx.driver.execute(
            "INSERT INTO billing.credit_note (tenant_id, credit_note_id, invoice_id, account_id,"
            " number, state, reason, settlement, currency_code, subtotal, tax_total, total,"
            " author, created_at) VALUES ($1, 'cn-1', $2, $3, 'CN-1', 'issued', 'x', 'refund',"
            " 'EUR', 1, 0, 1, 'ada', $4)",
            *(billing.tenant, opened.invoice_id, paid.account_id, datetime.now(UTC)),
        )
        await tx.driver.execute(
            "INSERT INTO billing.credit_note_line (tenant_id, credit_note_id, position, line_id,"
            " amount, tax_amount) VALUES ($1, 'cn-1', 1, 'line-1', 1, 0)",
            billing.tenant,
        )

    def request(payment_id: str, note: str, amount: str) -> RefundPaymentRequest:
        return RefundPaymentRequest(
            payment_id=payment_id,
            credit_note_id=note,
            amount=Money(currency_code="EUR", amount=amount),
        )

    missing = await refused(stub.RefundPayment(request("none", "cn-1", "1")))
    too_much = await refused(stub.RefundPayment(request(paid.payment_id, "cn-1", "2")))
    refund = (await stub.RefundPayment(request(paid.payment_id, "cn-1", "1"))).payment
    again = (await stub.RefundPayment(request(paid.payment_id, "cn-1", "1"))).payment

    assert missing.reason == "PAYMENT_NOT_FOUND"
    assert too_much.reason == "REFUND_EXCEEDS_PAYMENT"
    assert refund.kind == payment_models.PAYMENT_KIND_REFUND
    assert again.payment_id == refund.payment_id


async def test_a_bank_transfer_is_a_method_that_needs_no_provider(
    billing: Billing, billing_database: Database
) -> None:
    await add_account(billing_database, billing.tenant)
    stub = BillingServiceStub(billing.channel())
    request = SetPaymentMethodRequest(bank_transfer=BankTransfer(reference="PO 7"))

    method = (await stub.SetPaymentMethod(request)).payment_method
    listed = (await stub.ListPaymentMethods(ListPaymentMethodsRequest())).payment_methods
    detach = DetachPaymentMethodRequest(payment_method_id=method.payment_method_id)
    await stub.DetachPaymentMethod(detach)
    again = await refused(stub.DetachPaymentMethod(detach))

    assert method.is_default
    assert [each.payment_method_id for each in listed] == [method.payment_method_id]
    assert again.reason == "PAYMENT_METHOD_NOT_FOUND"


async def test_a_reconciliation_is_queued_shown_and_its_differences_closed_once(
    billing: Billing, billing_database: Database
) -> None:
    stub, runs = BillingServiceStub(seller(billing)), RunServiceStub(seller(billing))

    made = (await stub.Reconcile(ReconcileRequest(repair=True))).reconciliation
    found = await runs.GetReconciliation(
        GetReconciliationRequest(reconciliation_id=made.reconciliation_id)
    )
    listed = await runs.ListReconciliations(ListReconciliationsRequest())
    missing = await refused(
        runs.GetReconciliation(GetReconciliationRequest(reconciliation_id="none"))
    )

    assert found.reconciliation.state == run_models.RECONCILIATION_STATE_PENDING
    assert [each.reconciliation_id for each in listed.reconciliations] == [made.reconciliation_id]
    assert missing.reason == "RECONCILIATION_NOT_FOUND"

    async with billing_database.transaction(billing.tenant) as tx:
        await tx.driver.execute(
            "INSERT INTO billing.reconciliation_diff (tenant_id, diff_id, reconciliation_id,"
            " kind, state, ours, theirs, action, created_at)"
            " VALUES ($1, 'd-1', $2, 'total', 'open', '1', '2', 'Look.', now())",
            *(billing.tenant, made.reconciliation_id),
        )

    def resolve(diff_id: str) -> ResolveReconciliationDiffRequest:
        return ResolveReconciliationDiffRequest(
            diff_id=diff_id, resolution=run_models.DIFF_RESOLUTION_IGNORE, note="known"
        )

    closed = (await runs.ResolveReconciliationDiff(resolve("d-1"))).diff
    twice = await refused(runs.ResolveReconciliationDiff(resolve("d-1")))
    unknown = await refused(runs.ResolveReconciliationDiff(resolve("d-2")))

    assert closed.state == run_models.DIFF_STATE_RESOLVED
    assert closed.resolved_by == "ada"
    assert twice.reason == "RECONCILIATION_DIFF_CLOSED"
    assert unknown.reason == "RECONCILIATION_DIFF_NOT_FOUND"

"""A dump of the database after an account's whole life, and all logs, tell nothing of people."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import sys
from collections.abc import Iterator

import grpc
import pytest
import structlog
from finops.billing.v1 import (
    account_model_pb2,
    account_service_pb2,
    billing_service_pb2_grpc,
    invoice_messages_pb2,
    invoice_service_pb2,
    invoice_service_pb2_grpc,
    payment_service_pb2,
    payment_service_pb2_grpc,
)
from google.api.httpbody_pb2 import HttpBody
from pydantic import SecretStr

from services.billing.service.provider.providers import Providers
from services.billing.store.provider_settings import find_effective
from services.kernel.database import Database
from services.kernel.envelope import Envelope, MasterKeyMissing
from services.kernel.logs import configure_logs
from tests.billing.buying import desk_of, open_account, sell, stamp, subscribe
from tests.billing.conftest import NOW, Billing, settings_of
from tests.billing.provider.seeding import add_locked_invoice, work_of
from tests.billing.provider.test_webhooks import (
    SECRET,
    event_body,
    knock,
    seller,
    set_up,
    signed,
)
from tests.support.database import ServiceDatabase, connection
from tests.support.server import refused
from tests.support.waiting import eventually

API_KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
LEGAL, STREET, CITY = "Kanarienvogel Holding AG", "Zeisiggasse 17", "Finkenhausen"
TAX_ID, BANK, MAIL = "CHE-987.654.321", "CH93 0076 2011 6238 5295 7", "carla.canary@acme.example"
OTHER_MAIL, PAYER = "nora.new@acme.example", "paula.payer@acme.example"
CANARIES = (API_KEY, SECRET, LEGAL, STREET, CITY, TAX_ID, BANK, MAIL, OTHER_MAIL, PAYER)


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


def shapes(secret: str) -> set[str]:
    """Returns how a text would show: as it is, as bytes, escaped, and in base64."""
    raw = secret.encode()
    # What stands before it shifts base64 by up to two bytes; the middle is the same.
    coded = {base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)}
    return {secret, raw.hex(), json.dumps(secret)[1:-1], *coded}


def found_in(text: str) -> set[str]:
    return {secret for secret in CANARIES if any(shape in text for shape in shapes(secret))}


@pytest.fixture
def service_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Logs as the service does, at the level that tells most, to what the test reads."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logs("billing", "debug")
    yield written
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


async def open_and_change(billing: Billing) -> str:
    """Opens an account with all that is known of people, changes it, and returns its id."""
    desk = desk_of(billing)
    account = await open_account(
        desk,
        legal_name=LEGAL,
        address=account_model_pb2.Address(
            line1=STREET, city=CITY, postal_code="8001", country_code="CH"
        ),
        tax_ids=[account_model_pb2.TaxId(kind="ch_vat", value=TAX_ID)],
        contact_emails=[MAIL],
        bank_details=BANK,
    )
    account.contact_emails.append(OTHER_MAIL)
    change = account_service_pb2.UpdateBillingAccountRequest(account=account, request_id="r-1")
    change.update_mask.paths.append("contact_emails")
    for _ in range(2):
        shown = (await desk.accounts.UpdateBillingAccount(change)).account
    assert list(shown.contact_emails) == [MAIL, OTHER_MAIL]
    assert shown.bank_details == BANK
    await subscribe(desk, await sell(desk), start_time=stamp(NOW))
    return account.account_id


async def invoice_and_collect(billing: Billing, database: Database, account_id: str) -> None:
    """Opens an invoice, shows, mails and settles it, in part by hand and in part by statement."""
    seeded = await add_locked_invoice(database, billing.tenant, account_id)
    work = work_of(database, Providers(database, Envelope(settings_of().encryption_keys)))
    await work.pushing.push(billing.tenant, seeded.invoice_id)
    channel = seller(billing)
    document = await billing_service_pb2_grpc.BillingServiceStub(channel).GetInvoicePdf(
        invoice_messages_pb2.GetInvoicePdfRequest(invoice_id=seeded.invoice_id)
    )
    assert document.data.startswith(b"%PDF")
    # Nobody delivers mail here: what goes wrong is logged, and tells no address either.
    mail = invoice_service_pb2.SendInvoiceRequest(
        invoice_id=seeded.invoice_id, email_addresses=[PAYER], request_id="r-2"
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await invoice_service_pb2_grpc.InvoiceServiceStub(channel).SendInvoice(mail)
    payments = payment_service_pb2_grpc.PaymentServiceStub(channel)
    statement = f"date,amount,currency,reference,text\n2026-03-09,5,EUR,BANK-1,{LEGAL} {PAYER}\n"
    await payments.ImportPayments(
        payment_service_pb2.ImportPaymentsRequest(
            content=HttpBody(data=statement.encode()), request_id="r-3"
        )
    )


async def be_told(billing: Billing) -> None:
    """Takes webhooks that name people, one of them forged."""
    settings = await set_up(billing)
    body = event_body(data={"object": {"id": "in_1", "object": "invoice", "customer_email": PAYER}})
    await knock(billing, settings.endpoint_id, body, signed(body))
    await refused(knock(billing, settings.endpoint_id, body, "t=1,v1=forged"))


async def test_a_dump_and_the_logs_of_a_whole_life_show_no_secret_and_nobody(
    billing: Billing,
    billing_database: Database,
    billing_service: ServiceDatabase,
    service_logs: io.StringIO,
) -> None:
    account_id = await open_and_change(billing)
    await invoice_and_collect(billing, billing_database, account_id)
    await be_told(billing)

    structlog.get_logger().warning("asked with", api_key=API_KEY, text=f"by {SECRET}")
    logs = service_logs.getvalue()
    text = await dump(billing_service.owner_url)
    assert account_id in text
    assert found_in(text) == set()
    assert "asked with" in logs
    assert "Traceback" in logs
    assert found_in(logs) == set()


async def test_the_master_key_changes_while_secrets_are_read(
    billing: Billing, billing_database: Database
) -> None:
    await set_up(billing)
    old, new = settings_of().encryption_keys[0], SecretStr("5a" * 32)
    running = Providers(billing_database, Envelope([old, new]))
    ended, reads = asyncio.Event(), 0

    async def read() -> None:
        nonlocal reads
        while not ended.is_set():
            async with billing_database.read(billing.tenant) as tx:
                stored = await find_effective(tx, billing.tenant)
                assert stored is not None
                assert await running.api_key(tx, stored) == API_KEY
            reads += 1

    async def read_on() -> None:
        wanted = reads + 3

        async def is_read() -> bool:
            return reading.done() or reads >= wanted

        await eventually(is_read)

    reading = asyncio.create_task(read())
    try:
        await read_on()
        rewrapped = await Envelope([new, old]).rotate(billing_database)
        await read_on()
        ended.set()
        await reading
        async with billing_database.read(billing.tenant) as tx:
            stored = await find_effective(tx, billing.tenant)
            assert stored is not None
            alone = Providers(billing_database, Envelope([new]))
            assert await alone.api_key(tx, stored) == API_KEY
            with pytest.raises(MasterKeyMissing):
                await Providers(billing_database, Envelope([old])).api_key(tx, stored)
    finally:
        ended.set()
        # The other tests of this database have the old key alone.
        await Envelope([old, new]).rotate(billing_database)

    assert rewrapped >= 1


@pytest.mark.parametrize("shape", ["plain", "hex", "base64"])
def test_a_leak_would_be_seen_in_each_shape(shape: str) -> None:
    leak = f"a row of {MAIL}"
    raw = leak.encode()

    text = {"plain": leak, "hex": raw.hex(), "base64": base64.b64encode(raw).decode()}[shape]

    assert found_in(text) == {MAIL}

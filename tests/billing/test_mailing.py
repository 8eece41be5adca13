"""Who is told of an invoice: by mail or through channels, once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from services.billing.domain.account import AutomatedBilling, Particulars
from services.billing.domain.invoice_state import InvoiceState
from services.billing.errors import InvoiceStateForbids, NoRecipient
from services.billing.service.chargeback import WantedChargeback
from services.billing.service.documents import Documents
from services.billing.service.invoicing import Wanted
from services.billing.service.mailing import Mailing, Notice
from services.billing.service.moving import locked_invoice
from services.billing.store.accounts import set_automated
from services.kernel.jobs import Job
from tests.billing.invoicing_stage import Stage, per_unit, used
from tests.billing.test_chargeback import FEBRUARY, Costs, charged, cost, stage

__all__ = ["stage"]


class Outbox:
    """Keeps what would be delivered."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    async def publish(self, tenant_id: str, notice: Notice) -> None:
        assert tenant_id
        self.notices.append(notice)


async def test_an_issued_invoice_is_mailed_with_its_pdf(stage: Stage) -> None:
    account = await stage.account()
    await stage.subscribe(await stage.plan(per_unit("0.01")))
    await stage.use(used(FEBRUARY, "1000"))
    stage.clock.advance(timedelta(days=30))
    outbox = Outbox()
    documents = Documents(stage.database, stage.invoices, stage.accounts)
    mailing = Mailing(stage.database, documents, outbox, clock=stage.clock)
    with stage.caller():
        made = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
        with pytest.raises(InvoiceStateForbids):
            await mailing.send_invoice(stage.tenant, made.invoice_id, ["a@acme.example"])
    async with stage.database.transaction(stage.tenant) as tx:
        invoice = await locked_invoice(tx, stage.tenant, made.invoice_id)
        for state in (InvoiceState.PUSHING, InvoiceState.OPEN):
            invoice = await stage.moves.move(
                tx, invoice, state, actor="test", description="Told.", now=stage.clock.now()
            )

    with stage.caller():
        with pytest.raises(NoRecipient) as refusal:
            await mailing.send_invoice(stage.tenant, made.invoice_id, [])
        await stage.accounts.update_billing_account(
            stage.tenant,
            account.account_id,
            lambda one: replace(
                one, particulars=replace(one.particulars, contact_emails=("b@acme.example",))
            ),
        )
        await mailing.send_invoice(stage.tenant, made.invoice_id, [])

    [notice] = outbox.notices
    assert refusal.value.reason == "NO_RECIPIENT"
    assert notice.addresses == ["b@acme.example"]
    assert notice.attachment.startswith(b"%PDF")
    assert notice.title == f"Invoice {made.number}"


async def test_an_account_that_is_billed_by_itself_is_told_of_its_invoice_once_issued(
    stage: Stage,
) -> None:
    account = await stage.account(particulars=Particulars(contact_emails=("b@acme.example",)))
    await stage.subscribe(await stage.plan(per_unit("0.01")))
    await stage.use(used(FEBRUARY, "1000"))
    stage.clock.advance(timedelta(days=30))
    outbox = Outbox()
    documents = Documents(stage.database, stage.invoices, stage.accounts)
    mailing = Mailing(stage.database, documents, outbox, clock=stage.clock)
    with stage.caller():
        made = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
    job = Job(1, "mail_invoice", made.invoice_id.encode(), 1, stage.tenant)

    await mailing.run(job)
    unasked = len(outbox.notices)
    automated = AutomatedBilling(account_id=account.account_id, enabled=True)
    async with stage.database.transaction(stage.tenant) as tx:
        await set_automated(tx, stage.tenant, automated, stage.clock.now())
    await mailing.run(job)

    assert unasked == 0
    assert [notice.addresses for notice in outbox.notices] == [["b@acme.example"]]


async def test_whoever_follows_a_department_is_told_once_when_that_is_wanted(
    stage: Stage,
) -> None:
    await stage.account(particulars=Particulars(contact_emails=("tenant@acme.example",)))
    await stage.account(
        department_id="research", particulars=Particulars(contact_emails=("r@acme.example",))
    )
    stage.clock.advance(timedelta(days=30))
    costs = Costs(cost("research", "llm", "10"), cost("sales", "llm", "1"))
    outbox = Outbox()
    documents = Documents(stage.database, stage.invoices, stage.accounts)
    mailing = Mailing(stage.database, documents, outbox, clock=stage.clock)

    wanted = WantedChargeback(month="2026-02", send_notifications=True)
    _, invoices = await charged(stage, costs, wanted)
    async with stage.database.system_transaction() as tx:
        queued = await tx.driver.fetch(
            "SELECT payload FROM pgqueuer WHERE entrypoint = 'mail_invoice'"
            " AND headers->>'tenant' = $1",
            stage.tenant,
        )
    for row in (*queued, *queued):
        await mailing.run(Job(1, "mail_invoice", row["payload"], 1, stage.tenant))

    ids = {name: invoice.invoice_id for name, invoice in invoices.items()}
    assert len(queued) == 2
    told = {notice.key: notice for notice in outbox.notices}
    assert set(told) == {f"issued:{invoice_id}" for invoice_id in ids.values()}
    research, sales = (told[f"issued:{ids[name]}"] for name in ("research", "sales"))
    assert (research.event_type, research.addresses) == ("chargeback.issued", ["r@acme.example"])
    assert sales.addresses == []
    assert json.loads(sales.payload)["department_id"] == "sales"

"""Reconciliation finds each kind of drift, invents none, and repairs only what it may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.billing.domain.reconciliation import (
    Cause,
    Diff,
    DiffKind,
    DiffState,
    Reconciliation,
    Scope,
)
from services.billing.service.provider.providers import API_KEY, Providers
from services.billing.service.provider.reconciling import Wanted
from services.billing.service.provider.work import ProviderWork
from services.billing.store import events_read, webhook_events
from services.billing.store import reconciliations as rows
from services.billing.store.payments import list_payments
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.jobs import Job
from services.kernel.pagination import PageRequest, PageTokens
from tests.billing.provider.seeding import (
    Seeded,
    add_account,
    add_locked_invoice,
    use_stripe,
    work_of,
)
from tests.support.stripe.edge import StripeEdge

TOKENS = PageTokens(b"tokens")


@dataclass
class Stage:
    """Two paid invoices of a tenant at the peer, and what reconciles them."""

    database: Database
    edge: StripeEdge
    work: ProviderWork
    tenant: str
    seeded: list[Seeded]

    async def change(self, statement: str, *values: Any) -> None:
        async with self.database.system_transaction() as tx:
            await tx.driver.execute(statement, *values)

    async def there(self, index: int) -> str:
        async with self.database.read(self.tenant) as tx:
            found: str = await tx.driver.fetchval(
                "SELECT provider_invoice_id FROM billing.invoice WHERE invoice_id = $1",
                self.seeded[index].invoice_id,
            )
        return found

    async def reconcile(
        self, scope: Scope = Scope.FULL, *, repair: bool = False
    ) -> tuple[Reconciliation, list[Diff]]:
        reconciling = self.work.reconciling
        async with self.database.transaction(self.tenant) as tx:
            wanted = Wanted(scope, repair=repair)
            begun = await reconciling._begin(tx, self.tenant, wanted, Cause.REQUEST)
        payload = f'["{self.tenant}", "{begun.reconciliation_id}"]'.encode()
        await reconciling.run(Job(0, "", payload, 1, self.tenant))
        page = PageRequest(tenant_id=self.tenant, method="x")
        async with self.database.read(self.tenant) as tx:
            found = await rows.find(tx, self.tenant, begun.reconciliation_id)
            diffs = await rows.list_diffs(
                tx, page, TOKENS, reconciliation_id=begun.reconciliation_id
            )
        assert found is not None
        return found, list(diffs.items)


@pytest.fixture
async def stage(
    billing_database: Database, envelope: Envelope, edge: StripeEdge, tenant: str
) -> AsyncIterator[Stage]:
    edge.overlay.card = {"token": "tok_visa"}
    account_id = await add_account(billing_database, tenant)
    await use_stripe(billing_database, envelope, tenant)
    providers = Providers(billing_database, envelope, base_url=edge.url, requests_per_second=1e6)
    work = work_of(billing_database, providers, envelope)
    seeded = [
        await add_locked_invoice(billing_database, tenant, account_id, seed=number)
        for number in range(2)
    ]
    for invoice in seeded:
        await work.pushing.push(tenant, invoice.invoice_id)
        payload = f'{{"tenant_id": "{tenant}", "invoice_id": "{invoice.invoice_id}"}}'
        await work.collecting.run(Job(0, "", payload.encode(), 1, tenant))
    yield Stage(billing_database, edge, work, tenant, seeded)
    await providers.close()


async def test_where_nothing_drifted_nothing_is_found(stage: Stage) -> None:
    found, diffs = await stage.reconcile()

    assert (diffs, found.diff_count) == ([], 0)
    assert found.compared_count >= 2


async def test_what_is_further_along_there_is_followed_only_when_repair_is_wanted(
    stage: Stage,
) -> None:
    await stage.change(
        "UPDATE billing.invoice SET state = 'open', amount_paid = 0, paid_at = NULL"
        " WHERE invoice_id = $1",
        stage.seeded[0].invoice_id,
    )

    _, reported = await stage.reconcile()
    found, repaired = await stage.reconcile(Scope.LIGHT, repair=True)
    _, left = await stage.reconcile()

    assert [(diff.kind, diff.state) for diff in reported] == [(DiffKind.STATE, DiffState.OPEN)]
    assert [(diff.kind, diff.state) for diff in repaired] == [(DiffKind.STATE, DiffState.REPAIRED)]
    assert found.repaired_count == 1
    assert left == []


@pytest.mark.parametrize(
    ("table", "change", "kind"),
    [
        ("invoice", "subtotal = subtotal + 1, total = total + 1", DiffKind.TOTAL),
        ("invoice", "currency_code = 'CHF'", DiffKind.CURRENCY),
        ("invoice", "provider_invoice_id = 'in_gone'", DiffKind.MISSING_THERE),
        ("invoice", "amount_paid = amount_paid - 1", DiffKind.AMOUNT_PAID),
        ("payment", "provider_payment_id = 'ch_other', reference = 'x'", DiffKind.PAYMENT),
        ("payment", "amount = amount + 1", DiffKind.PAYMENT),
    ],
)
async def test_money_that_differs_is_found_and_left_to_a_person(
    stage: Stage, table: str, change: str, kind: DiffKind
) -> None:
    await stage.change(
        f"UPDATE billing.{table} SET {change} WHERE invoice_id = $1", stage.seeded[0].invoice_id
    )

    found, diffs = await stage.reconcile(repair=True)

    assert kind in {diff.kind for diff in diffs}
    assert {diff.state for diff in diffs} == {DiffState.OPEN}
    assert {diff.invoice_id for diff in diffs} == {stage.seeded[0].invoice_id}
    assert found.repaired_count == 0


async def test_what_is_paid_out_is_booked_with_its_fee_once(stage: Stage) -> None:
    await stage.reconcile()
    await stage.reconcile()

    page = PageRequest(tenant_id=stage.tenant, method="x")
    async with stage.database.read(stage.tenant) as tx:
        listed = (await list_payments(tx, page, TOKENS)).items
    assert len(listed) == 2
    for payment in listed:
        assert payment.settlement is not None
        assert payment.settlement.gross == payment.amount
        assert payment.settlement.net == payment.settlement.gross - payment.settlement.fee
        assert payment.fee == payment.settlement.fee.amount > 0


async def test_a_second_charge_is_found(stage: Stage) -> None:
    there = await stage.there(0)
    [charge] = [p for p in stage.edge.overlay.payments if p["invoice"] == there]
    stage.edge.overlay.payments.append(charge | {"id": "inpay_twice"})
    stage.edge.overlay.payments[-1]["payment"] = stage.edge.overlay.payments[1]["payment"]

    _, diffs = await stage.reconcile(repair=True)

    assert DiffKind.CHARGED_TWICE in {diff.kind for diff in diffs}


async def test_a_refund_that_was_made_there_is_found(stage: Stage) -> None:
    there = await stage.there(0)
    [taken] = [p for p in stage.edge.overlay.payments if p["invoice"] == there]
    await stage.edge._forward(
        "POST", "/v1/refunds", {"charge": taken["payment"]["charge"], "amount": "100"}
    )

    _, diffs = await stage.reconcile(repair=True)

    assert [diff.kind for diff in diffs] == [DiffKind.REFUND]


async def test_an_orphan_draft_is_deleted_and_an_unknown_invoice_reported(stage: Stage) -> None:
    metadata = {
        "finops_tenant_id": stage.tenant,
        "finops_invoice_id": stage.seeded[0].invoice_id,
    }
    _, known = await stage.edge._forward("GET", f"/v1/invoices/{await stage.there(0)}", {})
    made = []
    for _ in range(2):
        _, body = await stage.edge._forward(
            "POST", "/v1/invoices", {"customer": known["customer"], "currency": "eur"}
        )
        path = f"/v1/invoices/{body['id']}"
        await stage.edge._forward("POST", path, {"metadata": metadata})
        made.append(body["id"])
    await stage.edge._forward("POST", f"/v1/invoices/{made[1]}/finalize", {})

    _, diffs = await stage.reconcile(repair=True)

    assert {diff.kind for diff in diffs} == {DiffKind.MISSING_HERE}
    states = {diff.provider_object_id: diff.state for diff in diffs}
    assert states == {made[0]: DiffState.REPAIRED, made[1]: DiffState.OPEN}


async def test_an_hourly_reading_of_the_account_makes_up_for_lost_webhooks(stage: Stage) -> None:
    await stage.change(
        "UPDATE billing.invoice SET state = 'open', amount_paid = 0, paid_at = NULL"
        " WHERE tenant_id = $1",
        stage.tenant,
    )
    happened = await stage.edge.overlay.all_events()
    polling = stage.work.polling

    missed = [await polling.read_account(stage.tenant) for _ in range(2)]
    page = PageRequest(tenant_id=stage.tenant, method="x", page_size=1000)
    async with stage.database.read(stage.tenant) as tx:
        events = (await webhook_events.list_events(tx, page, TOKENS)).items
    for event in events:
        await stage.work.handling.handle(event)

    async with stage.database.read(stage.tenant) as tx:
        states = await tx.driver.fetch("SELECT state FROM billing.invoice")
    assert missed == [len(happened), 0]
    assert len(events) == len(happened) > 10
    assert [row["state"] for row in states] == ["paid", "paid"]


async def test_an_account_that_breaks_unexpectedly_holds_no_other_up(
    stage: Stage, envelope: Envelope
) -> None:
    broken = f"0-{stage.tenant}"  # read before the other
    await use_stripe(stage.database, envelope, broken)
    async with stage.database.transaction(broken) as tx:
        unreadable = await envelope.seal(tx, broken, b"\xff", API_KEY)
    await stage.change(
        "UPDATE billing.provider_settings SET api_key = $2 WHERE tenant_id = $1", broken, unreadable
    )

    with capture_logs() as said:
        await stage.work.polling.run(Job(0, "", b"", 1, ""))
    await stage.change("DELETE FROM billing.provider_settings WHERE tenant_id = $1", broken)

    async with stage.database.system_transaction() as tx:
        until = [await events_read.read_until(tx, each) for each in (broken, stage.tenant)]
    errors = [each["tenant"] for each in said if each["log_level"] == "error"]
    assert errors == [broken]
    assert until[0] is None
    assert until[1] is not None


async def test_a_nightly_comparison_of_a_tenant_reads_no_events_again(stage: Stage) -> None:
    async with stage.database.transaction(stage.tenant) as tx:
        wanted = Wanted(Scope.LIGHT, repair=True)
        begun = await stage.work.reconciling._begin(tx, stage.tenant, wanted, Cause.HOURLY)
    payload = f'["{stage.tenant}", "{begun.reconciliation_id}"]'.encode()

    await stage.work.reconciling.run(Job(0, "", payload, 1, stage.tenant))

    assert stage.edge.sent("GetEvents") == []

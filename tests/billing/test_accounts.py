"""Accounts and credit: who is billed, what nobody may read, and credit that adds up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from finops.billing.v1 import account_model_pb2 as models
from finops.billing.v1 import account_service_pb2 as messages
from finops.billing.v1 import billing_service_pb2, credit_model_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from services.billing.domain.invoice import AvailableCredit
from services.billing.service.credits import JOB as EXPIRE
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from tests.billing.buying import Desk, desk_of, money, open_account, sell, stamp, subscribe
from tests.billing.conftest import NOW, Billing
from tests.support.database import connection
from tests.support.server import refused

SECRETS = ("Rue de la Paix 7", "CHE-123.456.789", "ada@example.com", "CH93 0076 2011 6238 5295 7")


@pytest.fixture
async def desk(billing: Billing) -> Desk:
    return desk_of(billing)


def particulars() -> dict[str, object]:
    return {
        "legal_name": "Acme AG",
        "address": models.Address(line1=SECRETS[0], city="Genf", country_code="CH"),
        "tax_ids": [models.TaxId(kind="ch_vat", value=SECRETS[1])],
        "contact_emails": [SECRETS[2]],
        "bank_details": SECRETS[3],
    }


async def grant(desk: Desk, billing: Billing, amount: str, **fields: object) -> str:
    """Grants credit as the seller, and returns its id."""
    credit = credit_model_pb2.CreditGrant(
        amount=money(amount),
        display_name=f"Credit {amount}",
        **fields,  # type: ignore[arg-type]
    )
    request = messages.CreateCreditGrantRequest(tenant_id=billing.tenant, credit_grant=credit)
    return (await desk.seller.CreateCreditGrant(request)).credit_grant.credit_grant_id


async def test_what_is_known_of_people_comes_back_and_is_nowhere_in_clear(
    desk: Desk, owner_url: str
) -> None:
    made = await open_account(desk, **particulars())

    found = await desk.accounts.GetBillingAccount(
        messages.GetBillingAccountRequest(account_id=made.account_id)
    )
    listed = await desk.accounts.ListBillingAccounts(messages.ListBillingAccountsRequest())

    assert found.account == made
    assert found.account.address.line1 == SECRETS[0]
    assert list(listed.accounts) == [made]
    assert await tables_with(owner_url, SECRETS) == []


async def tables_with(owner_url: str, texts: tuple[str, ...]) -> list[str]:
    """Returns the tables in which any of the texts is readable, bytes included."""
    found = []
    async with connection(owner_url) as driver:
        for (name,) in await driver.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'billing'"
        ):
            rows = await driver.fetch(f"SELECT t::text AS row FROM billing.{name} AS t")
            whole = "".join(row["row"] for row in rows)
            if any(text in whole or text.encode().hex() in whole for text in texts):
                found.append(name)
    return found


async def test_a_text_in_clear_would_be_found(desk: Desk, owner_url: str) -> None:
    await open_account(desk, display_name="Visible Ltd")

    found = await tables_with(owner_url, ("Visible Ltd",))

    assert "account" in found


async def test_an_update_changes_only_what_it_names_and_only_what_was_read(desk: Desk) -> None:
    made = await open_account(desk, **particulars())
    wanted = models.BillingAccount(
        account_id=made.account_id, display_name="Acme Group", locale="de-CH", etag=made.etag
    )
    request = messages.UpdateBillingAccountRequest(account=wanted)

    changed = (await desk.accounts.UpdateBillingAccount(request)).account
    stale = await refused(desk.accounts.UpdateBillingAccount(request))
    cleared = await desk.accounts.UpdateBillingAccount(
        messages.UpdateBillingAccountRequest(
            account=models.BillingAccount(account_id=made.account_id),
            update_mask=FieldMask(paths=["tax_ids"]),
        )
    )

    assert (changed.display_name, changed.locale) == ("Acme Group", "de-CH")
    assert changed.address == made.address
    assert stale.reason == "BILLING_RESOURCE_CHANGED"
    assert not cleared.account.tax_ids
    assert cleared.account.address == made.address


async def test_a_tenant_has_one_account_of_its_own_and_one_a_department(desk: Desk) -> None:
    await open_account(desk)
    research = await open_account(desk, department_id="research")

    again = await refused(open_account(desk))
    twice = await refused(open_account(desk, department_id="research"))
    await desk.accounts.DeleteBillingAccount(
        messages.DeleteBillingAccountRequest(account_id=research.account_id)
    )
    anew = await open_account(desk, department_id="research")

    assert (again.reason, twice.reason) == ("ACCOUNT_EXISTS", "ACCOUNT_EXISTS")
    assert anew.account_id != research.account_id


async def test_an_account_in_use_keeps_its_currency_and_stays(desk: Desk) -> None:
    made = await open_account(desk)
    await subscribe(desk, await sell(desk))
    dollars = models.BillingAccount(account_id=made.account_id, currency_code="USD")

    other = await refused(
        desk.accounts.UpdateBillingAccount(messages.UpdateBillingAccountRequest(account=dollars))
    )
    closed = await refused(
        desk.accounts.DeleteBillingAccount(
            messages.DeleteBillingAccountRequest(account_id=made.account_id)
        )
    )

    assert (other.reason, closed.reason) == ("ACCOUNT_IN_USE", "ACCOUNT_IN_USE")


async def test_bad_accounts_are_refused_with_what_is_wrong(desk: Desk) -> None:
    cases: dict[str, dict[str, object]] = {
        "UNKNOWN_CURRENCY": {"currency_code": "XYZ"},
        "UNKNOWN_TIME_ZONE": {"time_zone": "Mars/Base"},
        "INVALID_ACCOUNT": {"dunning": models.DunningPolicy(attempt_days=[3, 1])},
    }

    for reason, fields in cases.items():
        assert (await refused(open_account(desk, **fields))).reason == reason


async def test_the_zone_is_the_tenants_where_none_is_named(desk: Desk) -> None:
    made = await open_account(desk, time_zone="")

    assert made.time_zone == "UTC"
    assert made.payment_terms_days == 30


async def test_credit_is_used_in_order_given_back_and_its_movements_add_up(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    made = await open_account(desk)
    late = await grant(desk, billing, "100", expire_time=stamp(NOW + timedelta(days=90)))
    soon = await grant(desk, billing, "50", expire_time=stamp(NOW + timedelta(days=5)))
    first = await grant(desk, billing, "10", priority=0, start_time=stamp(NOW))
    later = await grant(desk, billing, "7", start_time=stamp(NOW + timedelta(days=1)))
    last = await grant(desk, billing, "1", priority=5)
    credit = billing.service.credit
    tenant = billing.tenant

    async with billing_database.transaction(tenant) as tx:
        order = await credit.available(tx, tenant, made.account_id)
        await credit.use(tx, tenant, "inv-1", {soon: Decimal(50), late: Decimal("0.01")})
    async with billing_database.transaction(tenant) as tx:
        returned = await credit.give_back(tx, tenant, "inv-1", most=Decimal(20))
    moves = await desk.accounts.ListCreditTransactions(
        messages.ListCreditTransactionsRequest(order_by="create_time")
    )
    account = await desk.accounts.GetBillingAccount(
        messages.GetBillingAccountRequest(account_id=made.account_id)
    )

    assert ids(order) == [soon, late, first, last]
    assert later not in ids(order)
    assert returned == 20
    total = sum(Decimal(move.amount.amount) for move in moves.transactions)
    assert total == Decimal("137.99") == Decimal(account.account.credit_balance.amount)


def ids(available: list[AvailableCredit]) -> list[str]:
    return [each.credit_grant_id for each in available]


async def test_credit_lapses_and_a_person_can_end_it_once(desk: Desk, billing: Billing) -> None:
    await open_account(desk)
    lapsing = await grant(desk, billing, "50", expire_time=stamp(NOW + timedelta(days=5)))
    ended = await grant(desk, billing, "30")
    void = messages.VoidCreditGrantRequest(
        tenant_id=billing.tenant, credit_grant_id=ended, reason="by mistake"
    )

    gone = await desk.seller.VoidCreditGrant(void)
    again = await refused(desk.seller.VoidCreditGrant(void))
    void.credit_grant_id = "none"
    missing = await refused(desk.seller.VoidCreditGrant(void))
    billing.clock.advance(timedelta(days=6))
    job = Job(job_id=1, entrypoint=EXPIRE, payload=b"", attempt=1, tenant_id=None)
    await billing.service.credit.expire(job)
    await billing.service.credit.expire(job)

    assert gone.credit_grant.state == credit_model_pb2.CREDIT_GRANT_STATE_VOID
    assert (again.reason, missing.reason) == ("CREDIT_GRANT_ENDED", "CREDIT_GRANT_NOT_FOUND")
    moves = await desk.accounts.ListCreditTransactions(
        messages.ListCreditTransactionsRequest(filter=f'credit_grant_id = "{lapsing}"')
    )
    assert [move.amount.amount for move in moves.transactions] == ["-50", "50"]
    history = await desk.billing.ListBillingHistory(
        billing_service_pb2.ListBillingHistoryRequest(filter="kind = CREDIT")
    )
    assert len(history.entries) == 4


async def test_credit_of_another_currency_or_half_a_cent_is_refused(
    desk: Desk, billing: Billing
) -> None:
    await open_account(desk)
    dollars = credit_model_pb2.CreditGrant(amount=money("1", "USD"), display_name="Dollars")
    request = messages.CreateCreditGrantRequest(tenant_id=billing.tenant, credit_grant=dollars)

    other = await refused(desk.seller.CreateCreditGrant(request))
    half = await refused(grant(desk, billing, "0.005"))
    own = await refused(
        desk.accounts.CreateCreditGrant(messages.CreateCreditGrantRequest(credit_grant=dollars))
    )

    assert (other.reason, half.reason) == ("INVALID_CREDIT_GRANT", "INVALID_CREDIT_GRANT")
    assert own.reason == "PERMISSION_DENIED", "nobody credits themselves"


async def test_automated_billing_says_when_it_is_next_on_the_31st_too(
    desk: Desk, billing: Billing
) -> None:
    await open_account(desk)
    never = await desk.billing.GetAutomatedBilling(billing_service_pb2.GetAutomatedBillingRequest())
    billing.clock.advance(timedelta(days=-20))

    stored = await desk.billing.ConfigureAutomatedBilling(
        billing_service_pb2.ConfigureAutomatedBillingRequest(
            enabled=True, billing_day=31, auto_payment=False
        )
    )

    assert not never.automated_billing.HasField("next_billing_time")
    automated = stored.automated_billing
    assert automated.next_billing_time.ToJsonString() == "2026-02-28T00:00:00Z"
    assert (automated.include_usage, automated.auto_payment, automated.grace_hours) == (
        True,
        False,
        24,
    )
    found = await desk.billing.GetAutomatedBilling(billing_service_pb2.GetAutomatedBillingRequest())
    assert found.automated_billing == automated


async def test_an_account_made_twice_by_one_request_id_is_one_and_stored_sealed(
    desk: Desk, owner_url: str
) -> None:
    account = models.BillingAccount(display_name="Acme", currency_code="EUR", **particulars())  # type: ignore[arg-type]
    request = messages.CreateBillingAccountRequest(account=account, request_id=new_id())

    first = await desk.accounts.CreateBillingAccount(request)
    again = await desk.accounts.CreateBillingAccount(request)

    assert again == first
    assert await tables_with(owner_url, SECRETS) == []

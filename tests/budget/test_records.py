"""What the budget service keeps about persons: declared, exported, erased, removed in time."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta

import grpc
from finops.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2 as spend
from finops.budget.v1 import budget_service_pb2_grpc
from finops.budget.v1 import spend_messages_pb2 as asking
from finops.budget.v1 import spend_model_pb2 as spending
from finops.records.v1 import records_service_pb2 as messages

from services.budget.store.records import RECORDS
from services.kernel.database import Database
from services.kernel.ids import new_id
from tests.budget.conftest import NOW, Caller
from tests.budget.making import budget_of, create, money
from tests.support.database import ServiceDatabase, connection
from tests.support.records import erased, exported, records_stub, stale, tables_with, undeclared
from tests.support.server import LocalServer, refused


async def test_every_column_that_may_name_a_person_is_declared(
    budget_service: ServiceDatabase,
) -> None:
    async with connection(budget_service.owner_url) as driver:
        assert await undeclared(driver, RECORDS) == []
        assert await stale(driver, RECORDS) == []


async def test_a_person_is_exported_then_erased_from_every_table_and_the_chain_verifies(
    server: LocalServer, tenant: str, caller: Caller, budget_service: ServiceDatabase
) -> None:
    person, pseudonym = f"u{secrets.token_hex(6)}", f"erased-{secrets.token_hex(6)}"
    own = server.channel("org_admin", tenant=tenant, subject=person)
    budgets = budget_service_pb2_grpc.BudgetServiceStub(own)
    creation = spend.CreateBudgetRequest(
        budget=budget_of(scope=model.BudgetScope(user_id=person)),
        request_id=new_id(),
    )
    made = (await budgets.CreateBudget(creation)).budget
    decision = await budgets.AuthorizeSpend(
        asking.AuthorizeSpendRequest(
            subject=spending.SpendSubject(user_id=person, resource_type="llm", tags={"by": person}),
            amount=money("3"),
            request_id=new_id(),
        )
    )
    stub = records_stub(server, tenant)
    counted = await erased(stub, person, pseudonym, dry_run=True)

    records = await exported(stub, person)
    changed = await erased(stub, person, pseudonym)

    assert {name for name, _ in records} == {
        "budget.budget",
        "budget.version",
        "budget.authorization",
    }
    assert all(person in content and json.loads(content) for _, content in records)
    assert counted == changed
    assert counted["budget.stored_answer"] == 1
    assert await erased(stub, person, pseudonym) == {}
    async with connection(budget_service.owner_url) as driver:
        assert await tables_with(driver, "budget", person) == []
        assert "spend_authorization" in await tables_with(driver, "budget", pseudonym)
    found = (
        await caller.budgets.GetBudget(spend.GetBudgetRequest(budget_id=made.budget_id))
    ).budget
    assert (found.scope.user_id, found.amount.amount) == (pseudonym, "100")
    assert decision.spend_authorization.authorization_id
    log = audit_service_pb2_grpc.AuditServiceStub(server.channel("org_admin", tenant=tenant))
    verified = await log.VerifyAuditChain(audit_service_pb2.VerifyAuditChainRequest())
    assert verified.is_intact
    by_pseudonym = audit_service_pb2.ListAuditEntriesRequest(filter=f'actor = "{pseudonym}"')
    entries = (await log.ListAuditEntries(by_pseudonym)).entries
    assert [entry.action for entry in entries] == ["budgets.create"]


async def test_an_erased_person_s_budget_covers_them_no_more_and_the_pseudonym_s_spend_counts(
    server: LocalServer, tenant: str, caller: Caller
) -> None:
    person, pseudonym = f"u{secrets.token_hex(6)}", f"erased-{secrets.token_hex(6)}"
    await create(caller, scope=model.BudgetScope(user_id=person))

    async def covering(user_id: str) -> int:
        subject = spending.SpendSubject(user_id=user_id, resource_type="llm")
        answer = await caller.budgets.AuthorizeSpend(
            asking.AuthorizeSpendRequest(subject=subject, amount=money("1"))
        )
        return len(answer.spend_authorization.decision.checks)

    assert await covering(person) == 1
    await erased(records_stub(server, tenant), person, pseudonym)

    assert await covering(person) == 0
    assert await covering(pseudonym) == 1


async def test_retention_counts_then_removes_ended_records_that_nothing_holds(
    server: LocalServer, tenant: str, caller: Caller, budget_database: Database
) -> None:
    for user_id in ("ann", "ben", "open"):
        subject = spending.SpendSubject(user_id=user_id, resource_type="llm")
        answer = await caller.budgets.AuthorizeSpend(
            asking.AuthorizeSpendRequest(subject=subject, amount=money("1"))
        )
        if user_id != "open":
            await caller.budgets.ReleaseSpend(
                asking.ReleaseSpendRequest(
                    authorization_id=answer.spend_authorization.authorization_id
                )
            )
    stub = records_stub(server, tenant)
    request = messages.ApplyRetentionRequest(
        collection="budget.authorization",
        held_filters=['subject_id = "ann"'],
        dry_run=True,
    )
    request.before_time.FromDatetime(NOW)
    async with budget_database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE budget.spend_authorization SET ended_at = $2"
            " WHERE tenant_id = $1 AND ended_at IS NOT NULL",
            tenant,
            NOW - timedelta(days=2),
        )

    counted = (await stub.ApplyRetention(request)).count
    request.dry_run = False
    removed = (await stub.ApplyRetention(request)).count

    assert (counted.record_count, counted.held_count) == (1, 1)
    assert (removed.record_count, removed.held_count) == (1, 1)
    async with budget_database.read(tenant) as tx:
        rows = await tx.driver.fetch("SELECT user_id FROM budget.spend_authorization ORDER BY 1")
    assert [row["user_id"] for row in rows] == ["ann", "open"]


async def test_what_is_refused_says_why(server: LocalServer, tenant: str) -> None:
    stub = records_stub(server, tenant)

    async def applied(collection: str, days: int, held: str = "") -> str:
        request = messages.ApplyRetentionRequest(
            collection=collection, held_filters=[held] if held else []
        )
        request.before_time.FromDatetime(NOW - timedelta(days=days))
        return (await refused(stub.ApplyRetention(request))).reason

    assert await applied("budget.nothing", 1) == "UNKNOWN_RECORD_COLLECTION"
    assert await applied("budget.version", 1) == "RECORD_COLLECTION_KEPT"
    assert await applied("budget.ledger_entry", 1) == "RETENTION_TOO_SHORT"
    assert await applied("budget.alert", 1, "colour = 1") == "UNKNOWN_FILTER_FIELD"
    refusal = await refused(erased(stub, "ann", "not a pseudonym"))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_PSEUDONYM",
    )


async def test_collections_are_listed_in_pages(server: LocalServer, tenant: str) -> None:
    stub = records_stub(server, tenant)
    names, token = [], ""

    while True:
        answer = await stub.ListCollections(
            messages.ListCollectionsRequest(page_size=4, page_token=token, filter="personal = true")
        )
        names += [each.collection for each in answer.collections]
        token = answer.next_page_token
        if not token:
            break

    assert names == sorted(each.name for each in RECORDS.collections if each.personal)

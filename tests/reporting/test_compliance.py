"""Audit entries, chains and reports over real services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from finops.budget.v1 import budget_model_pb2, budget_service_pb2, budget_service_pb2_grpc
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import compliance_model_pb2 as model
from finops.reporting.v1 import compliance_service_pb2_grpc
from finops.usage.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    department_messages_pb2,
    directory_model_pb2,
    directory_service_pb2_grpc,
)

from services.kernel.client import PeerUnavailable
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database
from services.reporting.convert.compliance import evidence_hash
from services.reporting.convert.compliance_peers import StubAuditPeer
from services.reporting.errors import AuditQuestionRefused
from services.reporting.service import compliance
from tests.reporting.compliance import Office, office_of
from tests.support.database import connection
from tests.support.server import LocalServer, refused, service_token_of


@pytest.fixture
async def office(
    reporting_database: Database,
    usage_server: LocalServer,
    budget_server: LocalServer,
    tenant: str,
) -> AsyncIterator[Office]:
    """An auditor over the real usage and budget services."""
    services = {"usage": usage_server, "budget": budget_server}
    async with office_of(
        reporting_database,
        usage_server,
        services,
        tenant=tenant,
        clock=SystemClock(),
        is_working=False,
    ) as found:
        yield found


@dataclass(frozen=True, slots=True)
class Changing:
    """Persons who change things in both services."""

    tenant: str
    usage: LocalServer
    budget: LocalServer

    async def department(self, name: str, *, by: str) -> None:
        channel = self.usage.channel("org_admin", tenant=self.tenant, subject=by)
        stub: Any = directory_service_pb2_grpc.DirectoryServiceStub(channel)
        await stub.CreateDepartment(
            department_messages_pb2.CreateDepartmentRequest(
                department=directory_model_pb2.Department(department_id=name, display_name=name)
            )
        )

    async def budget_of(self, amount: str, *, by: str) -> str:
        channel = self.budget.channel("org_admin", tenant=self.tenant, subject=by)
        stub: Any = budget_service_pb2_grpc.BudgetServiceStub(channel)
        answer = await stub.CreateBudget(
            budget_service_pb2.CreateBudgetRequest(
                budget=budget_model_pb2.Budget(
                    display_name="All",
                    amount=Money(currency_code="USD", amount=amount),
                    scope=budget_model_pb2.BudgetScope(),
                    cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                )
            )
        )
        budget_id: str = answer.budget.budget_id
        return budget_id


@pytest.fixture
def changing(tenant: str, usage_server: LocalServer, budget_server: LocalServer) -> Changing:
    return Changing(tenant, usage_server, budget_server)


async def pages_of(office: Office, **question: Any) -> list[list[model.ServiceAuditEntry]]:
    pages = []
    request = messages.ListAuditEntriesRequest(**question)
    while True:
        answer = await office.compliance.ListAuditEntries(request)
        pages.append(list(answer.entries))
        request.page_token = answer.next_page_token
        if not request.page_token:
            return pages


def names(pages: list[list[model.ServiceAuditEntry]]) -> list[str]:
    return [f"{each.service}/{each.entry.sequence}" for page in pages for each in page]


async def test_entries_of_all_services_come_in_one_order_page_by_page(
    office: Office, changing: Changing
) -> None:
    for place in range(4):
        await changing.department(f"d{place}", by="ada")
        await changing.budget_of(f"{place + 1}", by="grace")

    down = await pages_of(office, page_size=3)
    up = await pages_of(office, page_size=3, order_by="create_time")

    assert [len(page) for page in down] == [3, 3, 2]
    expected = [f"{name}/{place}" for place in (4, 3, 2, 1) for name in ("budget", "usage")]
    assert names(down) == expected
    assert names(up) == expected[::-1]


async def test_pages_are_stable_while_entries_are_added(office: Office, changing: Changing) -> None:
    await changing.department("d1", by="ada")
    await changing.department("d2", by="ada")
    first = await office.compliance.ListAuditEntries(messages.ListAuditEntriesRequest(page_size=1))
    await changing.budget_of("10", by="grace")
    await changing.department("d3", by="ada")

    second = await office.compliance.ListAuditEntries(
        messages.ListAuditEntriesRequest(page_size=1, page_token=first.next_page_token)
    )

    assert [each.entry.sequence for each in (*first.entries, *second.entries)] == [2, 1]
    assert second.next_page_token == ""


async def test_a_filter_chooses_services_actors_and_actions(
    office: Office, changing: Changing
) -> None:
    await changing.department("d1", by="ada")
    budget_id = await changing.budget_of("10", by="grace")

    async def found(filter_: str) -> list[str]:
        return names(await pages_of(office, filter=filter_))

    assert await found("service = budget") == ["budget/1"]
    assert await found('NOT service = "bud*"') == ["usage/1"]
    assert await found("actor = ada OR actor = grace") == ["budget/1", "usage/1"]
    assert await found("service = usage AND actor = grace") == []
    assert await found('action = "departments.*"') == ["usage/1"]
    assert await found(f"resource:{budget_id}") == ["budget/1"]
    bad = await refused(pages_of(office, filter="color = red"))
    assert bad.reason == "UNKNOWN_FILTER_FIELD"


async def test_a_period_bounds_the_entries(office: Office, changing: Changing) -> None:
    await changing.department("d1", by="ada")
    now = datetime.now(UTC)

    inside = await pages_of(office, start=(now - timedelta(minutes=5)).isoformat())
    before = await pages_of(office, end=(now - timedelta(minutes=5)).isoformat())
    wrong = await refused(pages_of(office, start="yesterday"))

    assert names(inside) == ["usage/1"]
    assert names(before) == []
    assert wrong.reason == "INVALID_FORECAST_INSTANT"


async def test_verification_names_the_service_and_its_first_broken_entry(
    office: Office, changing: Changing, tenant: str, owner_url: str
) -> None:
    for place in range(3):
        await changing.department(f"d{place}", by="ada")
        await changing.budget_of(f"{place + 1}", by="grace")
    whole = await office.compliance.VerifyAuditChain(messages.VerifyAuditChainRequest())
    async with connection(owner_url) as driver, driver.transaction():
        await driver.execute("ALTER TABLE budget.audit_entry DISABLE TRIGGER audit_refuse")
        await driver.execute(
            "UPDATE budget.audit_entry SET actor = 'nobody' WHERE tenant_id = $1 AND sequence = 2",
            tenant,
        )
        await driver.execute("ALTER TABLE budget.audit_entry ENABLE TRIGGER audit_refuse")

    broken = await office.compliance.VerifyAuditChain(messages.VerifyAuditChainRequest())
    only = await office.compliance.VerifyAuditChain(
        messages.VerifyAuditChainRequest(services=["usage"])
    )
    unknown = await refused(
        office.compliance.VerifyAuditChain(messages.VerifyAuditChainRequest(services=["moon"]))
    )

    assert whole.is_intact
    assert {each.service: each.entries for each in whole.chains} == {
        "budget": 3,
        "reporting": 0,
        "usage": 3,
    }
    assert not broken.is_intact
    by_name = {each.service: each for each in broken.chains}
    assert by_name["budget"].first_broken_sequence == 2
    assert by_name["budget"].finding
    assert by_name["usage"].is_intact
    assert len(by_name["usage"].head_hash) == 64
    assert only.is_intact
    assert [each.service for each in only.chains] == ["usage"]
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_SERVICE")


async def test_a_service_that_is_down_is_said_to_be(
    reporting_database: Database, usage_server: LocalServer, budget_server: LocalServer, tenant: str
) -> None:
    services = {"usage": usage_server, "budget": _Down(budget_server)}
    async with office_of(
        reporting_database,
        usage_server,
        services,  # type: ignore[arg-type] # it only opens channels
        tenant=tenant,
        clock=SystemClock(),
        is_working=False,
    ) as office:
        found = await office.compliance.VerifyAuditChain(messages.VerifyAuditChainRequest())
        with pytest.raises(PeerUnavailable):
            await pages_of(office)

    by_name = {each.service: each for each in found.chains}
    assert not found.is_intact
    assert not by_name["budget"].is_reachable
    assert by_name["usage"].is_reachable


@dataclass(frozen=True, slots=True)
class _Down:
    """Opens channels to a port where nobody listens."""

    server: LocalServer

    def channel_with(self, credential: str) -> grpc.aio.Channel:
        found = self.server.channel_with(credential)
        found.target = "127.0.0.1:1"
        return found


async def test_a_sox_report_names_changes_exceptions_and_access_with_evidence(
    office: Office, changing: Changing, usage_server: LocalServer, tenant: str
) -> None:
    await changing.department("d1", by="ada")
    await changing.department("d2", by="ada")
    budget_id = await changing.budget_of("10", by="grace")
    keys: Any = api_key_service_pb2_grpc.ApiKeyServiceStub(
        usage_server.channel("org_admin", tenant=tenant, subject="ada")
    )
    made = await keys.CreateApiKey(
        api_key_service_pb2.CreateApiKeyRequest(display_name="loader", roles=["analyst"])
    )
    today = datetime.now(UTC).date()

    request = messages.GetComplianceReportRequest(
        kind="sox",
        start=(today - timedelta(days=1)).isoformat(),
        end=(today + timedelta(days=2)).isoformat(),
    )
    report = (await office.compliance.GetComplianceReport(request)).report
    again = (await office.compliance.GetComplianceReport(request)).report

    changes = {(each.service, each.resource_kind, each.actor): each for each in report.changes}
    assert changes["usage", "department", "ada"].change_count == 2
    assert changes["budget", "budget", "grace"].resources == [f"budgets/{budget_id}"]
    assert changes["usage", "api_key", "ada"].change_count == 1
    assert "filter=service" in changes["usage", "department", "ada"].query
    access = {each.actor: list(each.roles) for each in report.access}
    assert access == {"ada": [], "grace": [], f"api_key:{made.api_key.key_id}": ["analyst"]}
    assert all(chain.is_intact for chain in report.chains)
    assert report.evidence_hash == evidence_hash(report) == again.evidence_hash
    report.changes[0].change_count += 1
    assert report.evidence_hash != evidence_hash(report)


async def test_a_report_is_about_the_last_full_quarter_by_default(
    reporting_database: Database, usage_server: LocalServer, tenant: str, clock: ManualClock
) -> None:
    async with office_of(
        reporting_database,
        usage_server,
        {"usage": usage_server},
        tenant=tenant,
        clock=clock,
        is_working=False,
    ) as office:
        answer = await office.compliance.GetComplianceReport(
            messages.GetComplianceReportRequest(kind="sox")
        )

    assert answer.report.period.start_time.ToDatetime() == datetime(2026, 1, 1)  # noqa: DTZ001 - as protobuf gives it
    assert answer.report.period.end_time.ToDatetime() == datetime(2026, 4, 1)  # noqa: DTZ001 - as above


async def test_a_viewer_sees_neither_log_nor_report(office: Office, tenant: str) -> None:
    stub: Any = compliance_service_pb2_grpc.ComplianceServiceStub(
        office.server.channel("viewer", tenant=tenant)
    )
    calls = (
        stub.ListAuditEntries(messages.ListAuditEntriesRequest()),
        stub.VerifyAuditChain(messages.VerifyAuditChainRequest()),
        stub.GetComplianceReport(messages.GetComplianceReportRequest(kind="sox")),
    )

    for call in calls:
        assert (await refused(call)).code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_report_over_more_entries_than_it_reads_is_refused(
    office: Office, changing: Changing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compliance, "ENTRIES_MAX", 0)
    await changing.department("d1", by="ada")
    today = datetime.now(UTC).date().isoformat()
    tomorrow = (datetime.now(UTC).date() + timedelta(days=1)).isoformat()

    request = messages.GetComplianceReportRequest(kind="sox", start=today, end=tomorrow)
    refusal = await refused(office.compliance.GetComplianceReport(request))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "COMPLIANCE_REPORT_TOO_LARGE",
    )


async def test_what_a_peer_refuses_of_its_log_is_said_in_its_words(
    budget_server: LocalServer, tenant: str
) -> None:
    peer = StubAuditPeer(
        "budget", budget_server.channel_with(service_token_of("reporting", tenant=""))
    )

    with pytest.raises(AuditQuestionRefused, match="color") as caught:
        await peer.entries(tenant, filter_="color = red", is_newest_first=True, limit=1)

    assert caught.value.reason == "AUDIT_QUESTION_REFUSED"

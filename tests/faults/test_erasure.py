"""A person is erased while others use the suite and a service is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from finops.budget.v1 import budget_model_pb2, budget_service_pb2, spend_messages_pb2
from finops.budget.v1.spend_model_pb2 import SpendSubject
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import compliance_model_pb2 as model
from finops.usage.v1 import department_messages_pb2, directory_model_pb2, directory_service_pb2
from finops.usage.v1.cost_model_pb2 import (
    ArchiveUsageRequest,
    QueryCostsRequest,
    ReconcileUsageRequest,
)
from finops.usage.v1.usage_model_pb2 import UsageCost, UsageEvent
from finops.usage.v1.usage_service_pb2 import RecordUsageRequest
from finops_sdk import AsyncClient

from cli.connection import local_targets, local_token
from cli.stack.keys import load_keys
from cli.tokens import sign_token
from services.kernel.ids import new_id
from services.kernel.money import add_exactly
from tests.faults import load as loading
from tests.faults.load import PATIENCE_SECONDS, Load
from tests.faults.traces import traces_of
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.fault

SERVICES = ("usage", "budget", "billing", "optimizer", "reporting")
BATCH = 200


@pytest.fixture
async def load(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Load]:
    """A load of 20 users that leaves the machine room for everything else that happens here."""
    monkeypatch.setattr(loading, "PACE_SECONDS", 0.25)
    async with loading.running_load(stack, f"erasure-{new_id()}") as running:
        yield running


class Person:
    """Somebody with an id, a name and a mail that stand nowhere else, who works with the suite."""

    def __init__(self, stack: RunningStack, tenant: str) -> None:
        mark = new_id()
        self.user_id = f"grace-{mark}"
        self.name = f"Grace {mark} Hopper"
        self.mail = f"grace.{mark}@example.org"
        self.costs: list[Decimal] = []
        keys = load_keys(stack.data_dir)
        assert keys is not None
        token = sign_token(
            keys,
            tenant=tenant,
            subject=self.user_id,
            roles=["org_admin"],
            now=datetime.now(UTC),
            life=timedelta(hours=1),
        )
        self.client = AsyncClient(local_targets(stack.state), token, timeout_seconds=180)

    @property
    def texts(self) -> tuple[str, str, str]:
        return self.user_id, self.name, self.mail

    async def use(self, *, days_ago: int = 1, events: int = BATCH) -> None:
        """Sends events with the person's id, also among the tags."""
        start = datetime.now(UTC) - timedelta(days=days_ago)
        request = RecordUsageRequest()
        for place in range(events):
            amount = Decimal(f"0.{len(self.costs) + 1:018d}")
            self.costs.append(amount)
            event = UsageEvent(
                event_id=new_id(),
                source="person",
                resource_type="llm",
                quantity="1",
                unit="call",
                user_id=self.user_id,
                project=f"project-{place % 5}",
                cost=UsageCost(currency_code="USD", billed=f"{amount:f}"),
            )
            event.tags["owner"] = self.user_id
            event.start_time.FromDatetime(start)
            request.events.append(event)
        await self.client.usage.RecordUsage(request)

    async def leave_traces(self) -> None:
        """Does what puts a person into every kind of record: names, limits, changes, a log."""
        directory, budgets = self.client.directory, self.client.budgets
        await directory.CreateUser(
            directory_service_pb2.CreateUserRequest(
                user=directory_model_pb2.User(
                    user_id=self.user_id, display_name=self.name, email=self.mail
                )
            )
        )
        await directory.CreateDepartment(
            department_messages_pb2.CreateDepartmentRequest(
                department=directory_model_pb2.Department(
                    department_id=f"d-{new_id()}", display_name="Research"
                )
            )
        )
        money = Money(currency_code="USD", amount="1000000")
        await budgets.CreateBudget(
            budget_service_pb2.CreateBudgetRequest(
                budget=budget_model_pb2.Budget(
                    display_name="Of one person",
                    scope=budget_model_pb2.BudgetScope(user_id=self.user_id),
                    cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                    amount=money,
                )
            )
        )
        small = Money(currency_code="USD", amount="1")
        await budgets.AuthorizeSpend(
            spend_messages_pb2.AuthorizeSpendRequest(
                subject=SpendSubject(user_id=self.user_id, resource_type="llm"), amount=small
            )
        )


async def test_an_erased_person_is_found_nowhere_and_every_total_stays(
    stack: RunningStack, load: Load, *, is_full: bool
) -> None:
    person = Person(stack, load.tenant)
    await person.leave_traces()
    for days_ago in (1, 2, 100):
        await person.use(days_ago=days_ago)
    await _archive(stack)
    assert len(await traces_of(stack, person.texts)) > 3, "the search finds nobody"
    left = asyncio.Event()
    using = asyncio.create_task(_keep_using(person, left))
    await load.progress(20_000 if is_full else 4_000)

    left.set()
    await using
    compliance = load.client.compliance
    answer = await compliance.EraseSubject(
        messages.EraseSubjectRequest(subject_id=person.user_id, reason="request 1")
    )
    case_id = answer.subject_case.subject_case_id
    await _until_begun(compliance, case_id)
    for victim in SERVICES[:4] if is_full else ("budget",):
        os.kill(stack.state.processes[victim].pid, signal.SIGKILL)
        await load.progress(1_000)
    case = await _ended(compliance, case_id)
    await load.finish()

    assert case.state == model.SUBJECT_CASE_STATE_SUCCEEDED, case.error
    assert {each.collection.partition(".")[0] for each in case.counts} >= {"usage", "budget"}
    await _assert_totals(load, person, case.pseudonym)
    chains = await compliance.VerifyAuditChain(messages.VerifyAuditChainRequest(), timeout=180)
    assert {each.service for each in chains.chains} == set(SERVICES)
    assert chains.is_intact, chains
    assert await traces_of(stack, person.texts) == []
    await person.client.close()


async def _keep_using(person: Person, left: asyncio.Event) -> None:
    while not left.is_set():
        await person.use(events=20)


async def _archive(stack: RunningStack) -> None:
    """Moves the months before the last two out of the database."""
    before = datetime.now(UTC).date().replace(day=1) - timedelta(days=40)
    token = local_token(stack.data_dir, "*")
    async with AsyncClient(local_targets(stack.state), token, timeout_seconds=180) as client:
        await client.usage.ArchiveUsage(ArchiveUsageRequest(before=before.strftime("%Y-%m-01")))


async def _until_begun(compliance: Any, case_id: str) -> None:
    """Waits until at least one service has erased."""

    async def look() -> bool:
        request = messages.GetSubjectCaseRequest(subject_case_id=case_id)
        case = (await compliance.GetSubjectCase(request)).subject_case
        assert not case.error, case.error
        return "erased" in case.progress.message or case.HasField("end_time")

    await eventually(look, seconds=PATIENCE_SECONDS)


async def _ended(compliance: Any, case_id: str) -> model.SubjectCase:
    async def look() -> model.SubjectCase | None:
        request = messages.GetSubjectCaseRequest(subject_case_id=case_id)
        case: model.SubjectCase = (await compliance.GetSubjectCase(request)).subject_case
        return case if case.HasField("end_time") else None

    found = await eventually(look, seconds=2 * PATIENCE_SECONDS)
    assert found is not None
    return found


async def _assert_totals(load: Load, person: Person, pseudonym: str) -> None:
    """Asserts that what was sent is what is counted, and that the pseudonym has the person's."""
    usage = load.client.usage
    compared = await usage.ReconcileUsage(ReconcileUsageRequest())
    assert list(compared.drifts) == []
    today = datetime.now(UTC).date()
    question = QueryCostsRequest(
        group_by=["user"],
        start=(today - timedelta(days=120)).isoformat(),
        end=(today + timedelta(days=2)).isoformat(),
        page_size=1_000,
    )
    answer = await usage.QueryCosts(question)
    by_user = {row.group["user"]: Decimal(row.cost.amount) for row in answer.rows}
    assert by_user[pseudonym] == add_exactly(person.costs)
    assert len(by_user) == 21
    (total,) = answer.totals
    assert Decimal(total.cost.amount) == add_exactly([*load.costs, *person.costs])
    assert total.events == load.sent + len(person.costs)

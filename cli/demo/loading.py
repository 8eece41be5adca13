"""Loads the demo company into a running suite, through its public interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date
from itertools import islice

import grpc
from finops.billing.v1 import account_service_pb2, subscription_messages_pb2
from finops.budget.v1.budget_service_pb2 import CreateBudgetRequest
from finops.usage.v1 import (
    allocation_service_pb2,
    department_messages_pb2,
    directory_service_pb2,
    peak_schedule_messages_pb2,
    pricing_model_pb2,
    pricing_service_pb2,
    usage_service_pb2,
)
from finops.usage.v1.usage_model_pb2 import RECORD_STATUS_ACCEPTED, RECORD_STATUS_DUPLICATE
from finops_sdk import ApiError, AsyncClient, deliver

from cli.demo import billing, company
from cli.demo.budgets import missing_budgets
from cli.demo.savings import find_savings
from cli.demo.workload import events
from cli.errors import CommandError

_BATCH = 2_000
_STORED = (RECORD_STATUS_ACCEPTED, RECORD_STATUS_DUPLICATE)
Advance = Callable[[int], None]


async def load_demo(client: AsyncClient, today: date, advance: Advance) -> int:
    """Loads people, prices, a year of events up to `today` and all that stands on them.

    Returns the events stored.

    Loading again changes nothing, on a later day too: the year ends when the demo was first loaded.
    advance: takes the events sent so far. The caller is a platform admin, because a tenant is
    created.
    """
    await _load_directory(client)
    today = await _first_loaded(client) or today
    await _load_prices(client, today)
    stored = 0
    async for answer in deliver(client.usage.StreamUsage, _batches(today), window=4):
        stored += len(answer.statuses)
        if any(status not in _STORED for status in answer.statuses):
            raise CommandError(f"The demo was refused: {answer.problems[:1]}")
        advance(stored)
    for budget in await missing_budgets(client):
        request = CreateBudgetRequest(tenant_id=company.TENANT, budget=budget)
        await _once(client.budgets.CreateBudget(request))
    await _load_billing(client, today)
    await find_savings(client)
    return stored


async def _load_billing(client: AsyncClient, today: date) -> None:
    await _once(
        client.accounts.CreateBillingAccount(
            account_service_pb2.CreateBillingAccountRequest(
                tenant_id=company.TENANT, account=billing.account()
            )
        )
    )
    try:
        await client.billing.GetSubscription(
            subscription_messages_pb2.GetSubscriptionRequest(tenant_id=company.TENANT)
        )
    except ApiError as error:
        if error.reason != "SUBSCRIPTION_NOT_FOUND":
            raise
        await client.billing.CreateSubscription(
            subscription_messages_pb2.CreateSubscriptionRequest(
                tenant_id=company.TENANT, subscription=billing.subscription(today)
            )
        )
        await client.billing.ConfigureAutomatedBilling(billing.automated())


async def _batches(today: date) -> AsyncIterator[usage_service_pb2.StreamUsageRequest]:
    source = events(today)
    sequence = 0
    while batch := list(islice(source, _BATCH)):
        sequence += 1
        yield usage_service_pb2.StreamUsageRequest(
            sequence=sequence, tenant_id=company.TENANT, events=batch
        )


async def _first_loaded(client: AsyncClient) -> date | None:
    """Returns the day on which the demo's tenant was created, where the service says it."""
    request = directory_service_pb2.GetTenantRequest(tenant_id=company.TENANT)
    tenant = (await client.directory.GetTenant(request)).tenant
    if not tenant.HasField("create_time"):
        return None
    return tenant.create_time.ToDatetime(tzinfo=UTC).astimezone(company.ZONE).date()


async def _load_directory(client: AsyncClient) -> None:
    directory = client.directory
    await _once(
        directory.CreateTenant(
            directory_service_pb2.CreateTenantRequest(tenant=company.TENANT_RECORD)
        )
    )
    for department in company.departments():
        await _once(
            directory.CreateDepartment(
                department_messages_pb2.CreateDepartmentRequest(
                    tenant_id=company.TENANT, department=department
                )
            )
        )
    for user in company.users():
        await _once(
            directory.CreateUser(
                directory_service_pb2.CreateUserRequest(tenant_id=company.TENANT, user=user)
            )
        )


async def _load_prices(client: AsyncClient, today: date) -> None:
    pricing = client.pricing
    book = pricing_model_pb2.PriceBook(
        price_book_id=company.BOOK, display_name="Demo prices (generated)"
    )
    await _once(
        pricing.CreatePriceBook(
            pricing_service_pb2.CreatePriceBookRequest(tenant_id=company.TENANT, price_book=book)
        )
    )
    await _once(
        pricing.CreatePeakSchedule(
            peak_schedule_messages_pb2.CreatePeakScheduleRequest(
                tenant_id=company.TENANT, peak_schedule=company.peak_schedule()
            )
        )
    )
    for price in company.prices(today):
        await _once(
            pricing.CreatePrice(
                pricing_service_pb2.CreatePriceRequest(tenant_id=company.TENANT, price=price)
            )
        )
    await _once(
        client.allocation.CreateAllocationRule(
            allocation_service_pb2.CreateAllocationRuleRequest(
                tenant_id=company.TENANT, allocation_rule=company.allocation_rule()
            )
        )
    )


async def _once(creation: Awaitable[object]) -> None:
    """Awaits a creation; what an earlier, interrupted load created stays as it is."""
    try:
        await creation
    except ApiError as error:
        if error.code is not grpc.StatusCode.ALREADY_EXISTS and error.reason != "PRICE_OVERLAP":
            raise

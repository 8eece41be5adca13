"""Asks the usage service through its stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import grpc
from finops.usage.v1 import (
    cost_model_pb2,
    department_messages_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)

from services.budget.convert.instants import to_instant
from services.budget.convert.usage_filter import scope_filter
from services.budget.domain.directory import Directory
from services.budget.domain.scope import SpendAttributes
from services.budget.domain.terms import BudgetTerms
from services.budget.errors import UsageRefused
from services.budget.service.usage import SpendAnswer, SpendEvent
from services.kernel.client import on_behalf_of
from services.kernel.money import parse_decimal
from services.kernel.period import Period

PAGE: Final = 1000  # the lists' own bound
DIRECTORY_PAGES_MAX: Final = 1000  # a million members; beyond it something repeats itself
_FAULTS: Final = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
QUERY_SECONDS: Final = 30.0  # a yearly budget over raw events takes a while on a busy machine


class StubUsageReader:
    """Reads directory, cost and events; implements `service.usage.UsageReader`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = usage_service_pb2_grpc.UsageServiceStub(channel)
        self._directory = directory_service_pb2_grpc.DirectoryServiceStub(channel)

    async def directory(self, tenant_id: str) -> Directory:
        """Returns the tenant's settings and trees; of a tenant that usage does not know, none."""
        with _asking(tenant_id):
            try:
                request = directory_service_pb2.GetTenantRequest(tenant_id=tenant_id)
                tenant = (await self._directory.GetTenant(request)).tenant
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return Directory()
                raise
            departments = await _all(self._departments, tenant_id)
            users = await _all(self._users, tenant_id)
        return Directory(
            time_zone=tenant.time_zone or "UTC",
            currency_code=tenant.currency_code or "USD",
            parents={each.department_id: each.parent_id for each in departments},
            departments={each.user_id: each.department_id for each in users},
            managers={each.user_id: each.manager_id for each in users},
        )

    async def _departments(self, tenant_id: str, token: str) -> tuple[list[Any], str]:
        request = department_messages_pb2.ListDepartmentsRequest(
            tenant_id=tenant_id, page_size=PAGE, page_token=token
        )
        answer = await self._directory.ListDepartments(request)
        return list(answer.departments), answer.next_page_token

    async def _users(self, tenant_id: str, token: str) -> tuple[list[Any], str]:
        request = directory_service_pb2.ListUsersRequest(
            tenant_id=tenant_id, page_size=PAGE, page_token=token
        )
        answer = await self._directory.ListUsers(request)
        return list(answer.users), answer.next_page_token

    async def horizon(self, tenant_id: str) -> str:
        """Returns a position of the cost feed before which nothing can appear any more."""
        request = cost_model_pb2.WatchCostsRequest(tenant_id=tenant_id, after_sequence="now")
        with _asking(tenant_id):
            answers: Any = aiter(self._usage.WatchCosts(request, timeout=QUERY_SECONDS))
            # The feed answers at once, if only with its position.
            first = await anext(answers)
            await answers.aclose()
        return str(first.sequence)

    async def spend(self, tenant_id: str, terms: BudgetTerms, period: Period) -> SpendAnswer:
        """Returns what the terms' scope cost in a period."""
        request = await self._question(tenant_id, terms, period)
        with _asking(tenant_id):
            answer = await self._usage.QueryCosts(request, timeout=QUERY_SECONDS)
        total = next(iter(answer.totals), None)
        return SpendAnswer(
            cost=Decimal(0) if total is None else parse_decimal(total.cost.amount),
            unpriced_events=0 if total is None else total.unpriced_events,
            sequence=answer.sequence,
            is_certain=answer.newest_sequence in ("", answer.sequence),
        )

    async def spend_series(
        self, tenant_id: str, terms: BudgetTerms, period: Period, *, by_hour: bool
    ) -> list[tuple[datetime, Decimal]]:
        """Returns the cost of each hour or day that had any, oldest first."""
        request = await self._question(tenant_id, terms, period)
        request.granularity = "hour" if by_hour else "day"
        request.order_by = "start_time"
        request.page_size = PAGE
        found: list[tuple[datetime, Decimal]] = []
        with _asking(tenant_id):
            while True:
                answer = await self._usage.QueryCosts(request, timeout=QUERY_SECONDS)
                found += [
                    (to_instant(row.start_time), parse_decimal(row.cost.amount))
                    for row in answer.rows
                ]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return found

    async def events(
        self, tenant_id: str, terms: BudgetTerms, period: Period
    ) -> AsyncIterator[SpendEvent]:
        """Yields the events of the terms' scope, oldest first."""
        directory = await self.directory(tenant_id)
        request = usage_service_pb2.ListUsageEventsRequest(
            tenant_id=tenant_id,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            filter=scope_filter(terms.scope, directory),
            order_by="start_time",
            page_size=PAGE,
        )
        while True:
            with _asking(tenant_id):
                answer = await self._usage.ListUsageEvents(request, timeout=QUERY_SECONDS)
            for stored in answer.events:
                if not stored.is_voided:
                    yield _event(stored, terms)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def _question(
        self, tenant_id: str, terms: BudgetTerms, period: Period
    ) -> cost_model_pb2.QueryCostsRequest:
        return cost_model_pb2.QueryCostsRequest(
            tenant_id=tenant_id,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            filter=scope_filter(terms.scope, await self.directory(tenant_id)),
            cost_type=terms.cost_type.value,
            currency=terms.amount.currency_code,
            allocated=terms.includes_allocated,
        )


@contextmanager
def _asking(tenant_id: str) -> Any:
    """Acts for the tenant, and says in this service's words what usage refused."""
    with on_behalf_of(tenant_id):
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if error.code() in _FAULTS:
                raise  # a fault of usage is not the caller's
            raise UsageRefused(
                f"The usage service refused: {error.details()}", code=error.code().name
            ) from error


async def _all(
    page: Callable[[str, str], Awaitable[tuple[list[Any], str]]], tenant_id: str
) -> list[Any]:
    found: list[Any] = []
    token = ""
    for _ in range(DIRECTORY_PAGES_MAX):
        items, token = await page(tenant_id, token)
        found += items
        if not token:
            break
    return found


def _event(stored: usage_model_pb2.StoredUsageEvent, terms: BudgetTerms) -> SpendEvent:
    event, cost = stored.event, stored.cost
    # A cost that is not given is equal to the billed one.
    amount = getattr(cost, terms.cost_type.value) or cost.billed or "0"
    return SpendEvent(
        event_id=event.event_id,
        at=to_instant(event.start_time),
        cost=parse_decimal(amount),
        currency_code=cost.currency_code or terms.amount.currency_code,
        is_unpriced=stored.is_unpriced,
        attributes=SpendAttributes(
            user_id=event.user_id,
            department_id=stored.resolved_department,
            project=event.project,
            resource_type=event.resource_type,
            resource_id=event.resource_id,
            service=event.service,
            provider=event.provider,
            region=event.region,
            tags=tuple(sorted(event.tags.items())),
        ),
    )

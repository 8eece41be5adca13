"""Reads what is exported from the lists of other services, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
from finops.billing.v1 import billing_service_pb2_grpc, invoice_messages_pb2, invoice_model_pb2
from finops.budget.v1 import (
    budget_model_pb2,
    budget_service_pb2,
    budget_service_pb2_grpc,
    budget_status_model_pb2,
)
from finops.optimizer.v1 import (
    optimizer_messages_pb2,
    optimizer_model_pb2,
    optimizer_service_pb2_grpc,
)
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.reporting.convert.asking import asking
from services.reporting.convert.export_peers import CostRows
from services.reporting.convert.instants import to_instant
from services.reporting.domain.exports import (
    BUDGET_COLUMNS,
    INVOICE_COLUMNS,
    RECOMMENDATION_COLUMNS,
    Column,
    Dataset,
    ExportQuestion,
)
from services.reporting.domain.figures import both
from services.reporting.errors import BudgetRefused, InvoicesRefused, OptimizerRefused
from services.reporting.service.exports.peers import Rows, RowSource, Value

PAGE: Final = 1_000  # the lists' own bound
QUERY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ExportPeers:
    """Channels to the services whose data can be exported; None where one is not connected."""

    usage: grpc.aio.Channel
    budget: grpc.aio.Channel | None = None
    billing: grpc.aio.Channel | None = None
    optimizer: grpc.aio.Channel | None = None

    def rows(self) -> dict[Dataset, RowSource]:
        """Returns the datasets that come as rows from the services that are there."""
        found: dict[Dataset, RowSource] = {Dataset.COSTS: CostRows(self.usage)}
        if self.budget is not None:
            found[Dataset.BUDGETS] = BudgetRows(self.budget)
        if self.billing is not None:
            found[Dataset.INVOICES] = InvoiceRows(self.billing)
        if self.optimizer is not None:
            found[Dataset.RECOMMENDATIONS] = RecommendationRows(self.optimizer)
        return found


class BudgetRows:
    """Reads how budgets stand; implements `service.exports.peers.RowSource`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the budget service, with this service's token on each call."""
        self._budgets = budget_service_pb2_grpc.BudgetServiceStub(channel)

    def columns(self, _: ExportQuestion) -> tuple[Column, ...]:
        """Returns definition, figures and outlook."""
        return BUDGET_COLUMNS

    async def pages(self, question: ExportQuestion) -> AsyncIterator[Rows]:
        """Yields the budgets by their names."""
        wish = question.wish
        request = budget_service_pb2.ListBudgetStatusesRequest(
            tenant_id=wish.tenant_id, filter=wish.filter, order_by="display_name", page_size=PAGE
        )
        while True:
            with asking(wish.tenant_id, BudgetRefused):
                answer = await self._budgets.ListBudgetStatuses(request, timeout=QUERY_SECONDS)
            yield [_budget_row(status) for status in answer.statuses]
            request.page_token = answer.next_page_token
            if not request.page_token:
                return


def _budget_row(status: budget_status_model_pb2.BudgetStatus) -> tuple[Value, ...]:
    totals, spend = status.totals, status.forecast.spend
    return (
        status.budget_id,
        status.display_name,
        status.version,
        _named(budget_model_pb2.BudgetEnforcement.Name(status.enforcement), "ENFORCEMENT"),
        _named(budget_model_pb2.BudgetState.Name(status.state), "STATE"),
        *_instants(status.period, "start_time", "end_time"),
        *_instants(status, "reset_time"),
        totals.limit.currency_code,
        *_amounts(totals, "amount", "rolled_over", "increased", "limit", "spent", "held"),
        *_amounts(totals, "remaining"),
        totals.utilization_ratio or None,
        totals.unpriced_event_count,
        *_amounts(status.burn_rate, "day", "week"),
        *_instants(status, "runway_time"),
        *_amounts(spend, "expected", "lower", "upper"),
        *_instants(status, "as_of_time"),
    )


class InvoiceRows:
    """Reads invoices; implements `service.exports.peers.RowSource`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the billing service, with this service's token on each call."""
        self._invoices = billing_service_pb2_grpc.BillingServiceStub(channel)

    def columns(self, _: ExportQuestion) -> tuple[Column, ...]:
        """Returns an invoice's head and sums."""
        return INVOICE_COLUMNS

    async def pages(self, question: ExportQuestion) -> AsyncIterator[Rows]:
        """Yields the invoices whose billed period begins in the question's."""
        wish, period = question.wish, question.required_period
        within = (
            f'period_start_time >= "{period.start.isoformat()}"'
            f' AND period_start_time < "{period.end.isoformat()}"'
        )
        request = invoice_messages_pb2.ListInvoicesRequest(
            tenant_id=wish.tenant_id, filter=both(wish.filter, within), page_size=PAGE
        )
        while True:
            with asking(wish.tenant_id, InvoicesRefused):
                answer = await self._invoices.ListInvoices(request, timeout=QUERY_SECONDS)
            yield [_invoice_row(invoice) for invoice in answer.invoices]
            request.page_token = answer.next_page_token
            if not request.page_token:
                return


def _invoice_row(invoice: invoice_model_pb2.Invoice) -> tuple[Value, ...]:
    return (
        invoice.invoice_id,
        invoice.number,
        _named(invoice_model_pb2.InvoiceKind.Name(invoice.kind), "KIND"),
        _named(invoice_model_pb2.InvoiceState.Name(invoice.state), "STATE"),
        invoice.account_id,
        invoice.department_id,
        invoice.subscription_id,
        *_instants(invoice.period, "start_time", "end_time"),
        invoice.currency_code,
        *_amounts(invoice, "subtotal", "discount_total", "credit_total", "tax_total", "total"),
        *_amounts(invoice, "amount_paid", "amount_credited", "amount_due"),
        invoice.line_count,
        invoice.unpriced_event_count,
        invoice.plan_id,
        *_instants(invoice, "create_time", "issue_time", "due_time", "pay_time"),
    )


class RecommendationRows:
    """Reads recommendations; implements `service.exports.peers.RowSource`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the optimizer service, with this service's token on each call."""
        self._optimizer = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)

    def columns(self, _: ExportQuestion) -> tuple[Column, ...]:
        """Returns what a recommendation says in single values."""
        return RECOMMENDATION_COLUMNS

    async def pages(self, question: ExportQuestion) -> AsyncIterator[Rows]:
        """Yields the recommendations by rank."""
        wish = question.wish
        request = optimizer_messages_pb2.ListRecommendationsRequest(
            tenant_id=wish.tenant_id, filter=wish.filter, page_size=PAGE
        )
        while True:
            with asking(wish.tenant_id, OptimizerRefused):
                answer = await self._optimizer.ListRecommendations(request, timeout=QUERY_SECONDS)
            yield [_recommendation_row(each) for each in answer.recommendations]
            request.page_token = answer.next_page_token
            if not request.page_token:
                return


def _recommendation_row(found: optimizer_model_pb2.Recommendation) -> tuple[Value, ...]:
    saving, scope = found.monthly_saving, found.scope
    return (
        found.recommendation_id,
        found.rank,
        _named(optimizer_model_pb2.RecommendationKind.Name(found.kind), "KIND"),
        _named(optimizer_model_pb2.RecommendationState.Name(found.state), "STATE"),
        found.title,
        found.summary,
        saving.expected.currency_code,
        *_amounts(saving, "expected", "lower", "upper"),
        *_amounts(found, "monthly_cost", "one_time_cost"),
        found.payback_days or None,
        found.monthly_kg_co2e or None,
        found.confidence_ratio or None,
        _named(optimizer_model_pb2.Effort.Name(found.effort), "EFFORT"),
        _named(optimizer_model_pb2.Risk.Name(found.risk), "RISK"),
        found.owner,
        scope.resource_type,
        scope.service,
        scope.provider,
        scope.region,
        scope.department_id,
        scope.project,
        scope.resource_count,
        *_instants(found, "create_time", "update_time"),
    )


def _instants(message: Message, *names: str) -> list[Value]:
    """Returns instants of a message, None where absent."""
    found: list[Value] = []
    for name in names:
        stamp: Timestamp = getattr(message, name)
        found.append(to_instant(stamp) if message.HasField(name) else None)
    return found


def _amounts(message: Any, *names: str) -> list[Value]:
    """Returns amounts of a message as they are written, None where absent."""
    return [getattr(message, name).amount or None for name in names]


def _named(name: str, enum: str) -> str:
    """Returns the last part of an enum value's name in lower case."""
    return name.rpartition(f"{enum}_")[2].lower()

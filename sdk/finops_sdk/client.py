"""The clients: one address, one token, the generated stub of every service."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
)
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio
from finops.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from finops.billing.v1.account_service_pb2_grpc import AccountServiceStub
from finops.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from finops.billing.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from finops.billing.v1.credit_note_service_pb2_grpc import CreditNoteServiceStub
from finops.billing.v1.invoice_service_pb2_grpc import InvoiceServiceStub
from finops.billing.v1.pricing_plan_service_pb2_grpc import PricingPlanServiceStub
from finops.billing.v1.provider_service_pb2_grpc import ProviderServiceStub
from finops.billing.v1.run_service_pb2_grpc import RunServiceStub
from finops.billing.v1.subscription_service_pb2_grpc import SubscriptionServiceStub
from finops.budget.v1.alert_policy_service_pb2_grpc import AlertPolicyServiceStub
from finops.budget.v1.alert_service_pb2_grpc import AlertServiceStub
from finops.budget.v1.budget_service_pb2_grpc import BudgetServiceStub
from finops.budget.v1.channel_service_pb2_grpc import ChannelServiceStub
from finops.budget.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from finops.budget.v1.ledger_service_pb2_grpc import LedgerServiceStub
from finops.budget.v1.spend_model_pb2 import SpendSubject
from finops.common.v1.money_pb2 import Money
from finops.optimizer.v1 import optimizer_service_pb2  # noqa: F401 - loads what the stub names
from finops.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from finops.optimizer.v1.resource_service_pb2_grpc import ResourceServiceStub
from finops.optimizer.v1.run_service_pb2_grpc import OptimizationRunServiceStub
from finops.records.v1.records_service_pb2_grpc import RecordsServiceStub
from finops.reporting.v1 import (  # noqa: F401 - loads what the stubs name
    anomaly_service_pb2,
    compliance_service_pb2,
    reporting_service_pb2,
    schedule_service_pb2,
)
from finops.reporting.v1.anomaly_service_pb2_grpc import AnomalySettingsServiceStub
from finops.reporting.v1.compliance_service_pb2_grpc import (
    ComplianceServiceStub,
    RetentionServiceStub,
)
from finops.reporting.v1.reporting_service_pb2_grpc import (
    AnomalyServiceStub,
    ForecastServiceStub,
    ReportingServiceStub,
)
from finops.reporting.v1.schedule_service_pb2_grpc import (
    ExportServiceStub,
    ReportScheduleServiceStub,
)
from finops.usage.v1.allocation_service_pb2_grpc import AllocationServiceStub
from finops.usage.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from finops.usage.v1.directory_service_pb2_grpc import DirectoryServiceStub
from finops.usage.v1.pricing_service_pb2_grpc import PricingServiceStub
from finops.usage.v1.usage_service_pb2_grpc import UsageServiceStub
from google.protobuf.message import Message

from finops_sdk.channel import AsyncChannel, Retry
from finops_sdk.grpc_transport import GrpcTransport
from finops_sdk.rest_transport import RestTransport
from finops_sdk.spend import AsyncSpend, Spend, asking
from finops_sdk.transport import Token, Transport

_TIMEOUT_SECONDS = 30.0
Result = TypeVar("Result")


def connect(
    address: str | Mapping[str, str],
    token: str | Token | None = None,
    *,
    certificate_authority: Path | None = None,
) -> Transport:
    """Returns the transport for an address.

    address: `http(s)://host[:port]` of the gateway (REST); `host:port`, `grpc://…` or `grpcs://…`
    (gRPC); or `{service: gRPC address}`. token: a JWT or an API key, or a function that returns a
    fresh one.
    """
    current: Token = token if callable(token) else lambda: token
    if isinstance(address, str):
        if address.startswith(("http://", "https://")):
            return RestTransport(address, current)
        address = {"*": address}
    return GrpcTransport(address, current, certificate_authority=certificate_authority)


class AsyncClient:
    """Calls the suite from asyncio code.

    `async with AsyncClient("http://127.0.0.1:8080", token) as client:` and then for example
    `await client.usage.QueryCosts(request)`. Each attribute is the generated stub of one service:
    its methods, messages and types. Calls have a deadline (`timeout=` in seconds, else the
    client's), are repeated where that is safe, and raise ApiError.
    """

    def __init__(
        self,
        address: str | Mapping[str, str] | None = None,
        token: str | Token | None = None,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        retry: Retry | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Takes an address as `connect` does, by default FINOPS_URL with FINOPS_TOKEN."""
        if transport is None:
            address = address or os.environ.get("FINOPS_URL")
            if address is None:
                raise ValueError("Give the address of the suite, or set FINOPS_URL")
            transport = connect(address, token or os.environ.get("FINOPS_TOKEN"))
        self._transport = transport
        channel = AsyncChannel(transport, timeout_seconds=timeout_seconds, retry=retry or Retry())
        opened = cast("grpc.aio.Channel", channel)
        self.usage = UsageServiceStub(opened)
        self.directory = DirectoryServiceStub(opened)
        self.pricing = PricingServiceStub(opened)
        self.allocation = AllocationServiceStub(opened)
        self.api_keys = ApiKeyServiceStub(opened)
        self.audit = AuditServiceStub(opened)
        self.budgets = BudgetServiceStub(opened)
        self.alerts = AlertServiceStub(opened)
        self.alert_policies = AlertPolicyServiceStub(opened)
        self.channels = ChannelServiceStub(opened)
        self.deliveries = DeliveryServiceStub(opened)
        self.ledger = LedgerServiceStub(opened)
        self.accounts = AccountServiceStub(opened)
        self.billing = BillingServiceStub(opened)
        self.catalogue = CatalogueServiceStub(opened)
        self.credit_notes = CreditNoteServiceStub(opened)
        self.invoices = InvoiceServiceStub(opened)
        self.plans = PricingPlanServiceStub(opened)
        self.providers = ProviderServiceStub(opened)
        self.runs = RunServiceStub(opened)
        self.subscriptions = SubscriptionServiceStub(opened)
        self.optimizer = OptimizerServiceStub(opened)
        self.resources = ResourceServiceStub(opened)
        self.optimization_runs = OptimizationRunServiceStub(opened)
        self.forecasts = ForecastServiceStub(opened)
        self.anomalies = AnomalyServiceStub(opened)
        self.anomaly_settings = AnomalySettingsServiceStub(opened)
        self.reporting = ReportingServiceStub(opened)
        self.report_schedules = ReportScheduleServiceStub(opened)
        self.exports = ExportServiceStub(opened)
        self.compliance = ComplianceServiceStub(opened)
        self.retention = RetentionServiceStub(opened)
        self.records = RecordsServiceStub(opened)

    def spend(
        self,
        subject: SpendSubject,
        *,
        amount: Money | None = None,
        usage: Mapping[str, str] | None = None,
        usage_max: Mapping[str, str] | None = None,
        hold_for: timedelta | None = None,
    ) -> AsyncSpend:
        """Returns a block, or decorator, of work that begins only when budgets admit it.

        amount: to hold; else it is estimated from quantities by meter, or from history.
        usage_max: bounds of the quantities. hold_for: default 15 minutes.
        """
        return AsyncSpend(self.budgets, asking(subject, amount, usage, usage_max, hold_for))

    async def close(self) -> None:
        """Lets go of connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class Client:
    """Calls the suite from code without asyncio; otherwise as AsyncClient.

    `asynchronous` is the client beneath, for `pages`, `resume` and `deliver` with `iterate`:
    `client.iterate(pages(client.asynchronous.pricing.ListPrices, request))`.
    Its event loop runs in a thread of its own, so that it may be shared between threads.
    """

    def __init__(
        self,
        address: str | Mapping[str, str] | None = None,
        token: str | Token | None = None,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        retry: Retry | None = None,
    ) -> None:
        """Takes what AsyncClient takes."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="finops", daemon=True)
        self._thread.start()

        async def open_client() -> AsyncClient:
            return AsyncClient(address, token, timeout_seconds=timeout_seconds, retry=retry)

        try:
            self.asynchronous = self.run(open_client())
        except BaseException:
            self._end_loop()
            raise
        channel = AsyncChannel(
            self.asynchronous._transport,  # noqa: SLF001 - the same module
            timeout_seconds=timeout_seconds,
            retry=retry or Retry(),
        )
        opened = cast("grpc.Channel", _BlockingChannel(channel, self))
        self.usage = UsageServiceStub(opened)
        self.directory = DirectoryServiceStub(opened)
        self.pricing = PricingServiceStub(opened)
        self.allocation = AllocationServiceStub(opened)
        self.api_keys = ApiKeyServiceStub(opened)
        self.audit = AuditServiceStub(opened)
        self.budgets = BudgetServiceStub(opened)
        self.alerts = AlertServiceStub(opened)
        self.alert_policies = AlertPolicyServiceStub(opened)
        self.channels = ChannelServiceStub(opened)
        self.deliveries = DeliveryServiceStub(opened)
        self.ledger = LedgerServiceStub(opened)
        self.accounts = AccountServiceStub(opened)
        self.billing = BillingServiceStub(opened)
        self.catalogue = CatalogueServiceStub(opened)
        self.credit_notes = CreditNoteServiceStub(opened)
        self.invoices = InvoiceServiceStub(opened)
        self.plans = PricingPlanServiceStub(opened)
        self.providers = ProviderServiceStub(opened)
        self.runs = RunServiceStub(opened)
        self.subscriptions = SubscriptionServiceStub(opened)
        self.optimizer = OptimizerServiceStub(opened)
        self.resources = ResourceServiceStub(opened)
        self.optimization_runs = OptimizationRunServiceStub(opened)
        self.forecasts = ForecastServiceStub(opened)
        self.anomalies = AnomalyServiceStub(opened)
        self.anomaly_settings = AnomalySettingsServiceStub(opened)
        self.reporting = ReportingServiceStub(opened)
        self.report_schedules = ReportScheduleServiceStub(opened)
        self.exports = ExportServiceStub(opened)
        self.compliance = ComplianceServiceStub(opened)
        self.retention = RetentionServiceStub(opened)
        self.records = RecordsServiceStub(opened)

    def spend(
        self,
        subject: SpendSubject,
        *,
        amount: Money | None = None,
        usage: Mapping[str, str] | None = None,
        usage_max: Mapping[str, str] | None = None,
        hold_for: timedelta | None = None,
    ) -> Spend:
        """Returns a block, or decorator, of work; as AsyncClient.spend."""
        spend = self.asynchronous.spend(
            subject, amount=amount, usage=usage, usage_max=usage_max, hold_for=hold_for
        )
        return Spend(self, spend)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine on the client's loop and returns its result. Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[Result]) -> Iterator[Result]:
        """Yields what an asynchronous iterator of the client yields."""

        async def following() -> list[Result]:
            async for item in source:
                return [item]
            return []

        async def end() -> None:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

        try:
            while item := self.run(following()):
                yield item[0]
        finally:
            self.run(end())

    def close(self) -> None:
        """Lets go of connections and ends the thread."""
        self.run(self.asynchronous.close())
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _BlockingChannel:
    """Looks to a generated stub like a `grpc.Channel`."""

    def __init__(self, channel: AsyncChannel, client: Client) -> None:
        self._channel = channel
        self._client = client

    def unary_unary(self, path: str, *_: Any, **__: Any) -> Callable[..., Message]:
        """Returns the callable of a method that takes one message and gives one."""
        send = self._channel.unary_unary(path)

        async def settled(answer: Awaitable[Message]) -> Message:
            return await answer

        def call(request: Message, *, timeout: float | None = None) -> Message:
            return self._client.run(settled(send(request, timeout=timeout)))

        return call

    def unary_stream(self, path: str, *_: Any, **__: Any) -> Callable[..., Iterator[Message]]:
        """Returns the callable of a method that takes one message and gives many."""
        send = self._channel.unary_stream(path)

        def call(request: Message, *, timeout: float | None = None) -> Iterator[Message]:
            return self._client.iterate(send(request, timeout=timeout))

        return call

    def stream_stream(self, path: str, *_: Any, **__: Any) -> Callable[..., Iterator[Message]]:
        """Returns the callable of a method that takes many messages and gives many."""
        send = self._channel.stream_stream(path)

        def call(requests: Iterator[Message], *, timeout: float | None = None) -> Iterator[Message]:
            return self._client.iterate(send(_asynchronous(requests), timeout=timeout))

        return call


async def _asynchronous(requests: Iterator[Message]) -> AsyncIterator[Message]:
    while True:
        request = await asyncio.to_thread(next, requests, None)  # the source may block
        if request is None:
            return
        yield request

"""PaymentService, and what BillingService does with payment methods and reconciliations."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import payment_service_pb2 as messages
from finops.billing.v1 import (
    payment_service_pb2_grpc,
    run_messages_pb2,
    run_service_pb2,
)
from finops.billing.v1 import subscription_messages_pb2 as method_messages

from services.billing.api.tenant import as_tenant
from services.billing.convert import payments as convert
from services.billing.convert import reconciliations as convert_found
from services.billing.convert.provider import to_page
from services.billing.convert.values import to_money
from services.billing.service.provider.methods import PaymentMethods
from services.billing.service.provider.payments import Payments
from services.billing.service.provider.reconciling import Reconciling

Context = grpc.aio.ServicerContext[Any, Any]


class PaymentServicer(payment_service_pb2_grpc.PaymentServiceServicer):
    """Serves PaymentService."""

    def __init__(self, *, payments: Payments, methods: PaymentMethods) -> None:
        """Takes the use cases."""
        self._payments = payments
        self._methods = methods

    async def CreatePaymentMethodSetup(
        self, request: messages.CreatePaymentMethodSetupRequest, _: Context
    ) -> messages.CreatePaymentMethodSetupResponse:
        """Begins to store a payment method."""
        tenant_id = as_tenant(request.tenant_id)
        made = await self._methods.create_payment_method_setup(tenant_id, request.account_id)
        return convert.from_setup(*made)

    async def RecordPayment(
        self, request: messages.RecordPaymentRequest, _: Context
    ) -> messages.RecordPaymentResponse:
        """Records a transfer."""
        transfer = convert.to_transfer(request.payment)
        payment = await self._payments.record_payment(as_tenant(request.tenant_id), transfer)
        return messages.RecordPaymentResponse(payment=convert.from_payment(payment))

    async def ImportPayments(
        self, request: messages.ImportPaymentsRequest, _: Context
    ) -> messages.ImportPaymentsResponse:
        """Reads a statement."""
        tenant_id, content = as_tenant(request.tenant_id), request.content.data
        result = await self._payments.import_payments(tenant_id, content, request.kind)
        return messages.ImportPaymentsResponse(payment_import=convert.from_import(result))

    async def ListPayments(
        self, request: messages.ListPaymentsRequest, _: Context
    ) -> messages.ListPaymentsResponse:
        """Lists payments."""
        tenant_id = as_tenant(request.tenant_id)
        page = to_page(request, tenant_id, "PaymentService/ListPayments")
        return convert.from_payments(await self._payments.list_payments(page))

    async def RefundPayment(
        self, request: messages.RefundPaymentRequest, _: Context
    ) -> messages.RefundPaymentResponse:
        """Gives a payment back."""
        amount = to_money(request.amount) if request.HasField("amount") else None
        payment = await self._payments.refund_payment(
            as_tenant(request.tenant_id), request.payment_id, request.credit_note_id, amount
        )
        return messages.RefundPaymentResponse(payment=convert.from_payment(payment))

    async def ListPaymentAttempts(
        self, request: messages.ListPaymentAttemptsRequest, _: Context
    ) -> messages.ListPaymentAttemptsResponse:
        """Lists attempts."""
        tenant_id = as_tenant(request.tenant_id)
        page = to_page(request, tenant_id, "PaymentService/ListPaymentAttempts")
        return convert.from_attempts(await self._payments.list_payment_attempts(page))


class PaymentMethodMethods:
    """The methods of BillingService about payment methods."""

    _methods: PaymentMethods

    async def SetPaymentMethod(
        self, request: method_messages.SetPaymentMethodRequest, _: Context
    ) -> method_messages.SetPaymentMethodResponse:
        """Stores a payment method."""
        source, tenant_id = convert.to_source(request), as_tenant(request.tenant_id)
        method = await self._methods.set_payment_method(
            tenant_id, request.account_id, source, keeps_default=request.keep_default
        )
        found = convert.from_method(method, self._methods.now())
        return method_messages.SetPaymentMethodResponse(payment_method=found)

    async def ListPaymentMethods(
        self, request: method_messages.ListPaymentMethodsRequest, _: Context
    ) -> method_messages.ListPaymentMethodsResponse:
        """Lists payment methods."""
        method = f"BillingService/ListPaymentMethods/{request.account_id}"
        page = to_page(request, as_tenant(request.tenant_id), method)
        found = await self._methods.list_payment_methods(page, account_id=request.account_id)
        return convert.from_methods(found, self._methods.now())

    async def DetachPaymentMethod(
        self, request: method_messages.DetachPaymentMethodRequest, _: Context
    ) -> method_messages.DetachPaymentMethodResponse:
        """Forgets a payment method."""
        tenant_id = as_tenant(request.tenant_id)
        await self._methods.detach_payment_method(tenant_id, request.payment_method_id)
        return method_messages.DetachPaymentMethodResponse()

    async def CreatePortalSession(
        self, request: method_messages.CreatePortalSessionRequest, _: Context
    ) -> method_messages.CreatePortalSessionResponse:
        """Opens the provider's page."""
        session = await self._methods.create_portal_session(
            as_tenant(request.tenant_id), request.account_id, request.return_url
        )
        return convert.from_portal(session)


class ReconcileMethods:
    """The methods of BillingService about reconciliations."""

    _reconciling: Reconciling

    async def Reconcile(
        self, request: run_messages_pb2.ReconcileRequest, _: Context
    ) -> run_messages_pb2.ReconcileResponse:
        """Begins a comparison."""
        wanted, tenant_id = convert_found.to_wanted(request), as_tenant(request.tenant_id)
        found = await self._reconciling.reconcile(tenant_id, wanted)
        wire = convert_found.from_reconciliation(found)
        return run_messages_pb2.ReconcileResponse(reconciliation=wire)

    async def ListReconciliationDiffs(
        self, request: run_messages_pb2.ListReconciliationDiffsRequest, _: Context
    ) -> run_messages_pb2.ListReconciliationDiffsResponse:
        """Lists differences."""
        wanted = request.reconciliation_id
        method = f"BillingService/ListReconciliationDiffs/{wanted}"
        page = to_page(request, as_tenant(request.tenant_id), method)
        found = await self._reconciling.list_reconciliation_diffs(page, reconciliation_id=wanted)
        return convert_found.from_diffs(found)


class ReconciliationMethods:
    """The methods of RunService that follow reconciliations."""

    _reconciling: Reconciling

    async def GetReconciliation(
        self, request: run_service_pb2.GetReconciliationRequest, _: Context
    ) -> run_service_pb2.GetReconciliationResponse:
        """Returns a reconciliation."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._reconciling.get_reconciliation(tenant_id, request.reconciliation_id)
        wire = convert_found.from_reconciliation(found)
        return run_service_pb2.GetReconciliationResponse(reconciliation=wire)

    async def ListReconciliations(
        self, request: run_service_pb2.ListReconciliationsRequest, _: Context
    ) -> run_service_pb2.ListReconciliationsResponse:
        """Lists reconciliations."""
        tenant_id = as_tenant(request.tenant_id)
        page = to_page(request, tenant_id, "RunService/ListReconciliations")
        return convert_found.from_reconciliations(
            await self._reconciling.list_reconciliations(page)
        )

    async def ResolveReconciliationDiff(
        self, request: run_service_pb2.ResolveReconciliationDiffRequest, _: Context
    ) -> run_service_pb2.ResolveReconciliationDiffResponse:
        """Closes a difference."""
        resolution, tenant_id = convert_found.to_resolution(request), as_tenant(request.tenant_id)
        diff = await self._reconciling.resolve_reconciliation_diff(
            tenant_id, request.diff_id, resolution, request.note
        )
        return run_service_pb2.ResolveReconciliationDiffResponse(diff=convert_found.from_diff(diff))

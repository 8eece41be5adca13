"""BillingService: its methods are those of several modules, put together here."""

from __future__ import annotations

from finops.billing.v1 import billing_service_pb2_grpc

from services.billing.api.invoice_methods import InvoiceMethods
from services.billing.api.invoices import InvoiceUseCases
from services.billing.api.payments import PaymentMethodMethods, ReconcileMethods
from services.billing.api.subscriptions import SubscriptionMethods
from services.billing.api.summary import SummaryMethods
from services.billing.service.changing import SubscriptionChanges
from services.billing.service.crediting import CreditNotes
from services.billing.service.paying import Paying
from services.billing.service.plans import Plans
from services.billing.service.provider.methods import PaymentMethods
from services.billing.service.provider.reconciling import Reconciling
from services.billing.service.running import BillingRuns
from services.billing.service.subscriptions import Subscriptions
from services.billing.service.summary import Summaries


class BillingServicer(
    SummaryMethods,
    SubscriptionMethods,
    InvoiceMethods,
    PaymentMethodMethods,
    ReconcileMethods,
    billing_service_pb2_grpc.BillingServiceServicer,
):
    """Serves BillingService."""

    def __init__(
        self,
        *,
        plans: Plans,
        subscriptions: Subscriptions,
        changes: SubscriptionChanges,
        summaries: Summaries,
        invoicing: InvoiceUseCases,
        credit_notes: CreditNotes,
        runs: BillingRuns,
        paying: Paying,
        methods: PaymentMethods,
        reconciling: Reconciling,
    ) -> None:
        """Takes the use cases of each module's methods."""
        self._plans = plans
        self._subscriptions = subscriptions
        self._changes = changes
        self._summaries = summaries
        self._invoicing = invoicing
        self._credit_notes = credit_notes
        self._runs = runs
        self._paying = paying
        self._methods = methods
        self._reconciling = reconciling

"""RunService: its methods are those of several modules, put together here."""

from __future__ import annotations

from finops.billing.v1 import run_service_pb2_grpc

from services.billing.api.payments import ReconciliationMethods
from services.billing.api.runs import BillingRunMethods
from services.billing.service.provider.reconciling import Reconciling
from services.billing.service.running import BillingRuns


class RunServicer(
    BillingRunMethods, ReconciliationMethods, run_service_pb2_grpc.RunServiceServicer
):
    """Serves RunService."""

    def __init__(self, *, runs: BillingRuns, reconciling: Reconciling) -> None:
        """Takes the use cases of each module's methods."""
        self._runs = runs
        self._reconciling = reconciling

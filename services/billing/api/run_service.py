"""RunService: its methods are those of several modules, put together here."""

from __future__ import annotations

from finops.billing.v1 import run_service_pb2_grpc

from services.billing.api.runs import BillingRunMethods
from services.billing.service.running import BillingRuns


class RunServicer(BillingRunMethods, run_service_pb2_grpc.RunServiceServicer):
    """Serves RunService."""

    def __init__(self, *, runs: BillingRuns) -> None:
        """Takes the use cases of each module's methods."""
        self._runs = runs

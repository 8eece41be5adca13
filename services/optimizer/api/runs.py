"""OptimizationRunService: runs over many tenants, and detectors."""

from __future__ import annotations

from typing import Any

import grpc
from finops.optimizer.v1 import run_service_pb2 as messages
from finops.optimizer.v1 import run_service_pb2_grpc

from services.optimizer.api.tenant import as_tenant
from services.optimizer.convert import runs as convert
from services.optimizer.service.detecting import Detectors
from services.optimizer.service.runs import Runs

Context = grpc.aio.ServicerContext[Any, Any]


class OptimizationRunServicer(run_service_pb2_grpc.OptimizationRunServiceServicer):
    """Serves OptimizationRunService."""

    def __init__(self, *, runs: Runs, detectors: Detectors) -> None:
        """Takes the use cases."""
        self._runs = runs
        self._detectors = detectors

    async def RunOptimization(
        self, request: messages.RunOptimizationRequest, _: Context
    ) -> messages.RunOptimizationResponse:
        """Starts a run over many tenants."""
        tenant_ids, detector_ids = list(request.tenant_ids), list(request.detector_ids)
        run = await self._runs.run_optimization(tenant_ids, detector_ids=detector_ids)
        return messages.RunOptimizationResponse(run=convert.from_run(run))

    async def GetOptimizationRun(
        self, request: messages.GetOptimizationRunRequest, _: Context
    ) -> messages.GetOptimizationRunResponse:
        """Gets a run."""
        tenant_id = as_tenant(request.tenant_id)
        run = await self._runs.get_optimization_run(tenant_id, request.run_id)
        return messages.GetOptimizationRunResponse(run=convert.from_run(run))

    async def ListOptimizationRuns(
        self, request: messages.ListOptimizationRunsRequest, _: Context
    ) -> messages.ListOptimizationRunsResponse:
        """Lists runs."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListOptimizationRuns")
        return convert.from_runs(await self._runs.list_optimization_runs(page))

    async def CancelOptimizationRun(
        self, request: messages.CancelOptimizationRunRequest, _: Context
    ) -> messages.CancelOptimizationRunResponse:
        """Stops a run."""
        tenant_id = as_tenant(request.tenant_id)
        run = await self._runs.cancel_optimization_run(tenant_id, request.run_id)
        return messages.CancelOptimizationRunResponse(run=convert.from_run(run))

    async def ListDetectors(
        self, request: messages.ListDetectorsRequest, _: Context
    ) -> messages.ListDetectorsResponse:
        """Lists detectors."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListDetectors")
        return convert.from_detectors(await self._detectors.list_detectors(page))

    async def UpdateDetector(
        self, request: messages.UpdateDetectorRequest, _: Context
    ) -> messages.UpdateDetectorResponse:
        """Changes a detector's settings."""
        tenant_id, change = as_tenant(request.tenant_id), convert.to_change(request)
        detector = request.detector
        found = await self._detectors.update_detector(
            tenant_id,
            detector.detector_id,
            change,
            currency_code=detector.monthly_saving_min.currency_code,
            etag=detector.etag,
        )
        return messages.UpdateDetectorResponse(detector=convert.from_detector(found))

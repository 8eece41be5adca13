"""Runs and detectors between contract and domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from finops.common.v1.progress_pb2 import Progress
from finops.optimizer.v1 import optimizer_messages_pb2, optimizer_model_pb2, run_model_pb2
from finops.optimizer.v1 import run_service_pb2 as messages

from services.kernel.listing import ListRequest, page_request
from services.kernel.money import parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update
from services.optimizer.convert.recommendations import from_recommendation
from services.optimizer.convert.values import (
    from_amount,
    from_figure,
    from_instant,
    from_optional,
    from_period,
)
from services.optimizer.domain.detectors import PROFILES
from services.optimizer.domain.lifecycle import Recommendation
from services.optimizer.domain.run import Run
from services.optimizer.domain.settings_of_detector import SCHEDULE_DEFAULT, DetectorSettings
from services.optimizer.service.detecting import ShownDetector

_SERVICE = "finops.optimizer.v1.OptimizationRunService"
WAIT_SECONDS = 10.0
_UPDATABLE = (
    *("disabled", "headroom_ratio", "monthly_saving_min", "confidence_ratio_min"),
    *("history_days_min", "excluded_resource_ids", "schedule"),
)
_SHOWN = ("detector_id", "kinds", "description", "dismissed_count", "etag")


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")


def to_wait(request: optimizer_messages_pb2.GenerateRecommendationsRequest) -> float:
    """Returns for how many seconds a caller waits."""
    if not request.HasField("wait"):
        return WAIT_SECONDS
    return request.wait.ToTimedelta().total_seconds()


def from_generated(
    run: Run, found: Sequence[Recommendation]
) -> optimizer_messages_pb2.GenerateRecommendationsResponse:
    """Converts a run and what it found."""
    return optimizer_messages_pb2.GenerateRecommendationsResponse(
        run=from_run(run), recommendations=[from_recommendation(one) for one in found]
    )


def from_run(run: Run) -> run_model_pb2.OptimizationRun:
    """Converts a run."""
    progress = Progress(
        done_units=run.done_count,
        total_units=run.tenant_count,
        message=f"{run.done_count} of {run.tenant_count} tenants are done",
        update_time=from_instant(run.updated_at),
    )
    return run_model_pb2.OptimizationRun(
        run_id=run.run_id,
        state=run_model_pb2.RunState.ValueType(int(run.state)),
        trigger=run_model_pb2.RunTrigger.ValueType(int(run.trigger)),
        progress=progress,
        period=from_period(run.period),
        event_count=run.event_count,
        found_count=run.found_count,
        refreshed_count=run.refreshed_count,
        expired_count=run.expired_count,
        failed_count=run.failed_count,
        error=run.error,
        create_time=from_instant(run.created_at),
        end_time=from_optional(run.ended_at),
    )


def from_runs(page: Page[Run]) -> messages.ListOptimizationRunsResponse:
    """Converts a page of runs."""
    return messages.ListOptimizationRunsResponse(
        runs=[from_run(run) for run in page.items], next_page_token=page.next_page_token
    )


def from_detectors(page: Page[ShownDetector]) -> messages.ListDetectorsResponse:
    """Converts a page of detectors."""
    return messages.ListDetectorsResponse(
        detectors=[from_detector(one) for one in page.items],
        next_page_token=page.next_page_token,
    )


def from_detector(one: ShownDetector) -> run_model_pb2.Detector:
    """Converts a detector with its settings."""
    settings = one.settings
    return run_model_pb2.Detector(
        detector_id=one.profile.detector_id,
        kinds=[
            optimizer_model_pb2.RecommendationKind.ValueType(int(kind))
            for kind in one.profile.kinds
        ],
        description=one.profile.description,
        disabled=settings.is_disabled,
        headroom_ratio=from_figure(settings.headroom),
        monthly_saving_min=from_amount(settings.saving_min, one.currency_code),
        confidence_ratio_min=from_figure(settings.confidence_min),
        history_days_min=settings.history_days_min,
        excluded_resource_ids=settings.excluded_resource_ids,
        schedule=settings.schedule,
        dismissed_count=one.dismissed,
        etag=one.etag,
    )


def to_change(
    request: messages.UpdateDetectorRequest,
) -> Callable[[DetectorSettings], DetectorSettings]:
    """Converts what is to change; a field that is named and empty gets its default.

    Raises UnknownMaskPath.
    """
    message = request.detector
    fields = fields_to_update(message, request.update_mask, updatable=_UPDATABLE, ignored=_SHOWN)

    def change(known: DetectorSettings) -> DetectorSettings:
        defaults = PROFILES[known.detector_id].defaults()
        values: dict[str, Any] = {
            "disabled": ("is_disabled", message.disabled),
            "headroom_ratio": (
                "headroom",
                parse_decimal(message.headroom_ratio)
                if message.headroom_ratio
                else defaults.headroom,
            ),
            "monthly_saving_min": (
                "saving_min",
                parse_decimal(message.monthly_saving_min.amount)
                if message.HasField("monthly_saving_min")
                else defaults.saving_min,
            ),
            "confidence_ratio_min": (
                "confidence_min",
                parse_decimal(message.confidence_ratio_min)
                if message.confidence_ratio_min
                else defaults.confidence_min,
            ),
            "history_days_min": (
                "history_days_min",
                message.history_days_min or defaults.history_days_min,
            ),
            "excluded_resource_ids": (
                "excluded_resource_ids",
                tuple(message.excluded_resource_ids),
            ),
            "schedule": ("schedule", message.schedule or SCHEDULE_DEFAULT),
        }
        return replace(known, **dict(values[field] for field in fields))

    return change

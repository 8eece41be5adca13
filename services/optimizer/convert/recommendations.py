"""Recommendations between contract and domain."""

from __future__ import annotations

from decimal import Decimal

from finops.optimizer.v1 import detail_model_pb2, optimizer_messages_pb2, optimizer_model_pb2
from google.protobuf.json_format import ParseDict

from services.kernel.listing import page_request
from services.kernel.money import EXACT
from services.kernel.pagination import PageRequest
from services.kernel.update_mask import fields_to_update
from services.optimizer.convert.savings import from_measurement
from services.optimizer.convert.values import (
    from_amount,
    from_estimate,
    from_figure,
    from_instant,
    from_optional,
    from_period,
    to_instant,
)
from services.optimizer.domain.finding import Evidence, Scope
from services.optimizer.domain.lifecycle import (
    Decision,
    DismissalReason,
    Recommendation,
    State,
    StateChange,
)
from services.optimizer.domain.statistics import MONTH_DAYS
from services.optimizer.service.recommending import Shown, ShownPage, Watched

_SERVICE = "finops.optimizer.v1.OptimizerService"
_UPDATABLE = (
    *("state", "owner", "notes", "snooze_end_time", "dismissal_reason", "completion_time"),
)


def to_page(
    request: optimizer_messages_pb2.ListRecommendationsRequest, tenant_id: str
) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/ListRecommendations")


def from_page(found: ShownPage) -> optimizer_messages_pb2.ListRecommendationsResponse:
    """Converts a page."""
    return optimizer_messages_pb2.ListRecommendationsResponse(
        recommendations=[from_shown(one) for one in found.page.items],
        next_page_token=found.page.next_page_token,
        joint_monthly_saving=from_estimate(found.joint, found.currency_code),
    )


def to_decision(request: optimizer_messages_pb2.UpdateRecommendationRequest) -> Decision:
    """Converts what is to change. Raises UnknownMaskPath."""
    message = request.recommendation
    shown = [field.name for field in message.DESCRIPTOR.fields if field.name not in _UPDATABLE]
    fields = fields_to_update(message, request.update_mask, updatable=_UPDATABLE, ignored=shown)
    is_snoozed = message.HasField("snooze_end_time")
    is_dated = "completion_time" in fields and message.HasField("completion_time")
    return Decision(
        state=State(message.state) if "state" in fields and message.state else None,
        owner=message.owner if "owner" in fields else None,
        notes=message.notes if "notes" in fields else None,
        sets_snooze="snooze_end_time" in fields,
        snoozed_until=to_instant(message.snooze_end_time) if is_snoozed else None,
        dismissal_reason=DismissalReason(message.dismissal_reason)
        if "dismissal_reason" in fields
        else None,
        completed_at=to_instant(message.completion_time) if is_dated else None,
        etag=message.etag,
        note=request.note,
    )


def from_shown(shown: Shown) -> optimizer_model_pb2.Recommendation:
    """Converts a recommendation as it is shown."""
    message = from_recommendation(shown.recommendation)
    message.overlapping_ids.extend(shown.overlapping)
    if shown.measurement is not None:
        message.measurement.CopyFrom(from_measurement(shown.measurement))
    message.events.extend(from_change(one) for one in shown.history)
    return message


def from_recommendation(one: Recommendation) -> optimizer_model_pb2.Recommendation:
    """Converts a recommendation by itself."""
    finding, code = one.finding, one.finding.currency_code
    detail = detail_model_pb2.RecommendationDetail()
    ParseDict(dict(finding.detail), detail)
    return optimizer_model_pb2.Recommendation(
        recommendation_id=one.recommendation_id,
        tenant_id=one.tenant_id,
        kind=optimizer_model_pb2.RecommendationKind.ValueType(int(finding.kind)),
        detector_id=finding.detector_id,
        title=finding.title,
        summary=finding.summary,
        scope=_scope(finding.scope),
        monthly_saving=from_estimate(finding.saving, code),
        monthly_cost=from_amount(finding.monthly_cost, code),
        one_time_cost=None
        if finding.one_time_cost is None
        else from_amount(finding.one_time_cost, code),
        payback_days=_payback(one),
        monthly_kg_co2e=from_figure(finding.monthly_kg_co2e),
        effort=optimizer_model_pb2.Effort.ValueType(int(finding.effort)),
        risk=optimizer_model_pb2.Risk.ValueType(int(finding.risk)),
        risk_note=finding.risk_note,
        confidence_ratio=from_figure(finding.confidence),
        rank=one.rank,
        evidence=[_evidence(each, one) for each in finding.evidence],
        detail=detail,
        steps=finding.steps,
        verification_steps=finding.verification_steps,
        rollback_steps=finding.rollback_steps,
        state=_state(one.state),
        owner=one.owner,
        notes=one.notes,
        snooze_end_time=from_optional(one.snoozed_until),
        dismissal_reason=optimizer_model_pb2.DismissalReason.ValueType(int(one.dismissal_reason)),
        completion_time=from_optional(one.completed_at),
        etag=one.etag,
        create_time=from_instant(one.created_at),
        update_time=from_instant(one.updated_at),
        expire_time=from_instant(one.expires_at),
    )


def from_change(change: StateChange) -> optimizer_model_pb2.RecommendationEvent:
    """Converts one step of a life."""
    return optimizer_model_pb2.RecommendationEvent(
        from_state=optimizer_model_pb2.RECOMMENDATION_STATE_UNSPECIFIED
        if change.before is None
        else _state(change.before),
        to_state=_state(change.after),
        actor=change.actor,
        note=change.note,
        event_time=from_instant(change.at),
    )


def from_watched(watched: Watched) -> optimizer_messages_pb2.WatchRecommendationsResponse:
    """Converts one change, or a heartbeat."""
    message = optimizer_messages_pb2.WatchRecommendationsResponse(sequence=str(watched.position))
    if watched.recommendation is not None:
        message.recommendation.CopyFrom(from_recommendation(watched.recommendation))
    if watched.change is not None:
        message.event.CopyFrom(from_change(watched.change))
    return message


def _state(state: State) -> optimizer_model_pb2.RecommendationState.ValueType:
    return optimizer_model_pb2.RecommendationState.ValueType(int(state))


def _payback(one: Recommendation) -> str:
    cost, saving = one.finding.one_time_cost, one.finding.saving.expected
    if not cost or saving <= 0:
        return ""
    return from_figure(EXACT.divide(cost * MONTH_DAYS, saving).quantize(Decimal("0.1")))


def _scope(scope: Scope) -> optimizer_model_pb2.ResourceScope:
    return optimizer_model_pb2.ResourceScope(
        resource_ids=scope.resource_ids,
        resource_count=scope.resource_count,
        resource_type=scope.resource_type,
        service=scope.service,
        provider=scope.provider,
        region=scope.region,
        department_id=scope.department,
        project=scope.project,
        user_ids=scope.user_ids,
    )


def _evidence(evidence: Evidence, one: Recommendation) -> optimizer_model_pb2.Evidence:
    return optimizer_model_pb2.Evidence(
        metric=evidence.metric,
        value=evidence.value,
        unit=evidence.unit,
        reference=evidence.reference,
        period=from_period(one.period),
        sample_count=evidence.sample_count,
        query=evidence.query,
    )

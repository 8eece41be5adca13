"""Anomalies between contract and domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from urllib.parse import urlencode

from finops.reporting.v1 import anomaly_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages

from services.kernel.feed_page import FeedPage
from services.kernel.listing import page_request
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.period import Period
from services.reporting.convert.instants import (
    from_amount,
    from_instant,
    from_optional,
    from_period,
)
from services.reporting.domain.anomaly.anomaly import Anomaly, Cause, Feedback

LIST = "finops.reporting.v1.AnomalyService/ListAnomalies"
COSTS_PATH = "/api/v1/finops/cost-attribution"
RATIO_DIGITS = Decimal("0.000001")


def to_page(request: messages.ListAnomaliesRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked for."""
    return page_request(request, tenant_id=tenant_id, method=LIST)


def to_feedback(request: messages.GiveFeedbackRequest) -> Feedback:
    """Converts a judgement."""
    return Feedback(request.feedback)


def from_page(page: Page[Anomaly]) -> messages.ListAnomaliesResponse:
    """Converts a page."""
    return messages.ListAnomaliesResponse(
        anomalies=[from_anomaly(each) for each in page.items],
        next_page_token=page.next_page_token,
    )


def from_changes(page: FeedPage[Anomaly]) -> Iterator[messages.WatchAnomaliesResponse]:
    """Converts a page of changes; one without any is a heartbeat."""
    for item in page.items:
        yield messages.WatchAnomaliesResponse(
            sequence=str(item.position), anomaly=from_anomaly(item.fact)
        )
    if not page.items:
        yield messages.WatchAnomaliesResponse(sequence=str(page.position))


def from_anomaly(anomaly: Anomaly, similar: Sequence[str] = ()) -> model.Anomaly:
    """Converts an anomaly. similar: ids of earlier ones like it."""
    code = anomaly.scope.currency_code
    return model.Anomaly(
        anomaly_id=anomaly.anomaly_id,
        tenant_id=anomaly.tenant_id,
        state=model.AnomalyState.ValueType(anomaly.state.value),
        severity=model.AnomalySeverity.ValueType(anomaly.severity.value),
        scope=anomaly.scope.named,
        measure="cost",
        direction=anomaly.direction,
        pattern=anomaly.pattern,
        message=_message(anomaly),
        period=from_period(Period(anomaly.start_at, anomaly.end_at)),
        observed=format_decimal(anomaly.observed),
        expected=format_decimal(anomaly.expected),
        expected_lower=format_decimal(anomaly.expected_lower),
        expected_upper=format_decimal(anomaly.expected_upper),
        impact=from_amount(code, anomaly.impact),
        score=format_decimal(anomaly.score),
        causes=[_from_cause(each, anomaly) for each in anomaly.causes],
        event_count=anomaly.event_count,
        feedback=model.AnomalyFeedback.ValueType(anomaly.feedback.value),
        feedback_actor=anomaly.feedback_actor,
        feedback_note=anomaly.feedback_note,
        similar_anomaly_ids=similar,
        query=_query(anomaly),
        detect_time=from_instant(anomaly.detected_at),
        close_time=from_optional(anomaly.closed_at),
    )


def _from_cause(cause: Cause, anomaly: Anomaly) -> model.RootCause:
    share = (cause.contribution / anomaly.impact).quantize(RATIO_DIGITS)
    amount = f"{cause.contribution:.2f} {anomaly.scope.currency_code}"
    return model.RootCause(
        dimensions={cause.dimension: cause.value},
        contribution=from_amount(anomaly.scope.currency_code, cause.contribution),
        contribution_ratio=format_decimal(share),
        effect="new" if cause.is_new else "volume",
        description=f"{cause.dimension} {cause.value} explains {amount}, {share:.0%} of it",
    )


def _message(anomaly: Anomaly) -> str:
    where = ", ".join(f"{name} {value}" for name, value in anomaly.scope.named.items())
    code = anomaly.scope.currency_code
    return (
        f"{where or 'Usage'} cost {anomaly.observed:.2f} {code} "
        f"where {anomaly.expected:.2f} was expected"
    )


def _query(anomaly: Anomaly) -> str:
    conditions = [f'{name} = "{value}"' for name, value in anomaly.scope.named.items()]
    parameters = {
        "start": anomaly.start_at.isoformat(),
        "end": anomaly.end_at.isoformat(),
        "granularity": "hour",
        "filter": " AND ".join(conditions),
    }
    return f"{COSTS_PATH}?{urlencode(parameters)}"

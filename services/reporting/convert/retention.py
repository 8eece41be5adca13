"""Collections, policies, holds and removals between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from finops.common.v1.progress_pb2 import Progress
from finops.records.v1.records_model_pb2 import CollectionCount
from finops.records.v1.records_model_pb2 import RecordCollection as CollectionMessage
from finops.reporting.v1 import compliance_model_pb2 as model
from finops.reporting.v1 import report_model_pb2
from finops.reporting.v1 import retention_messages_pb2 as messages

from services.kernel.listing import ListRequest, page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update
from services.reporting.convert.instants import from_instant, from_optional
from services.reporting.domain.retention import (
    LegalHold,
    RecordCollection,
    RetentionPolicy,
)
from services.reporting.domain.subjects import RecordCount, total
from services.reporting.service.retention_runs import KnownRun

SERVICE: Final = "finops.reporting.v1.RetentionService"
UPDATABLE: Final = ("retention_days", "filter")
_SHOWN: Final = ("policy_id", "collection", "etag", "create_time", "update_time")
_NEVER: Final = datetime.fromtimestamp(0, UTC)


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked for. method: the RPC's name."""
    return page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/{method}")


def to_change(
    request: messages.UpdateRetentionPolicyRequest,
) -> Callable[[RetentionPolicy], RetentionPolicy]:
    """Returns what an update makes of a policy. Raises UnknownMaskPath."""
    fields = fields_to_update(
        request.policy, request.update_mask, updatable=UPDATABLE, ignored=_SHOWN
    )
    given = {"retention_days": request.policy.retention_days, "filter": request.policy.filter}
    values: dict[str, Any] = {name: given[name] for name in fields}

    def change(known: RetentionPolicy) -> RetentionPolicy:
        return replace(known, **values)

    return change


def to_hold(message: model.LegalHold, tenant_id: str) -> LegalHold:
    """Converts a hold; its id, author and time are given to it later."""
    return LegalHold(
        tenant_id=tenant_id,
        legal_hold_id="",
        display_name=message.display_name,
        collections=tuple(message.collections),
        subject_id=message.subject_id,
        filter=message.filter,
        author="",
        created_at=_NEVER,
    )


def from_collections(page: Page[RecordCollection]) -> messages.ListRecordCollectionsResponse:
    """Converts a page."""
    return messages.ListRecordCollectionsResponse(
        collections=[
            CollectionMessage(
                collection=each.collection,
                service=each.service,
                description=each.description,
                personal=each.personal,
                erasable=each.erasable,
                retention_days=each.retention_days,
                retention_days_min=each.retention_days_min,
            )
            for each in page.items
        ],
        next_page_token=page.next_page_token,
    )


def from_policies(page: Page[RetentionPolicy]) -> messages.ListRetentionPoliciesResponse:
    """Converts a page."""
    return messages.ListRetentionPoliciesResponse(
        policies=[from_policy(each) for each in page.items], next_page_token=page.next_page_token
    )


def from_policy(policy: RetentionPolicy) -> model.RetentionPolicy:
    """Converts a policy."""
    return model.RetentionPolicy(
        policy_id=policy.policy_id,
        collection=policy.collection,
        retention_days=policy.retention_days,
        filter=policy.filter,
        etag=policy.etag,
        create_time=from_instant(policy.created_at),
        update_time=from_instant(policy.updated_at),
    )


def from_holds(page: Page[LegalHold]) -> messages.ListLegalHoldsResponse:
    """Converts a page."""
    return messages.ListLegalHoldsResponse(
        legal_holds=[from_hold(each) for each in page.items], next_page_token=page.next_page_token
    )


def from_hold(hold: LegalHold) -> model.LegalHold:
    """Converts a hold."""
    return model.LegalHold(
        legal_hold_id=hold.legal_hold_id,
        display_name=hold.display_name,
        collections=hold.collections,
        subject_id=hold.subject_id,
        filter=hold.filter,
        author=hold.author,
        released=hold.released,
        release_reason=hold.release_reason,
        create_time=from_instant(hold.created_at),
        release_time=from_optional(hold.released_at),
    )


def from_runs(page: Page[KnownRun]) -> messages.ListRetentionRunsResponse:
    """Converts a page."""
    return messages.ListRetentionRunsResponse(
        runs=[from_run(each) for each in page.items], next_page_token=page.next_page_token
    )


def from_run(known: KnownRun) -> model.RetentionRun:
    """Converts a removal; policies of one collection count together."""
    run, steps = known.run, known.steps
    counts = total(
        RecordCount(step.collection, step.record_count, step.held_count) for step in steps
    )
    return model.RetentionRun(
        run_id=run.run_id,
        state=report_model_pb2.JobState.ValueType(run.state),
        dry_run=run.dry_run,
        progress=Progress(
            done_units=sum(step.is_done for step in steps),
            total_units=len(steps),
            message=run.message,
            update_time=from_instant(run.updated_at),
        ),
        counts=[
            CollectionCount(
                collection=each.collection, record_count=each.records, held_count=each.held
            )
            for each in counts
        ],
        error=run.error,
        create_time=from_instant(run.created_at),
        end_time=from_optional(run.ended_at),
    )

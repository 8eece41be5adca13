"""Cases about persons between contract and domain."""

from __future__ import annotations

from typing import Final

from finops.common.v1.progress_pb2 import Progress
from finops.records.v1.records_model_pb2 import CollectionCount
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import compliance_model_pb2 as model

from services.kernel.caller import current_caller
from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest
from services.reporting.convert.instants import from_instant, from_optional
from services.reporting.domain.links import Links
from services.reporting.domain.subjects import (
    CaseKind,
    CaseState,
    Stage,
    SubjectCase,
    total,
)
from services.reporting.service.subjects import KnownCase

COLLECT: Final = "subjects.export"  # the permission of GetSubjectData
LIST: Final = "finops.reporting.v1.ComplianceService/ListSubjectCases"


def to_page(request: messages.ListSubjectCasesRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked for."""
    return page_request(request, tenant_id=tenant_id, method=LIST)


def from_page(page: Page[KnownCase], links: Links) -> messages.ListSubjectCasesResponse:
    """Converts a page."""
    return messages.ListSubjectCasesResponse(
        subject_cases=[from_case(each, links) for each in page.items],
        next_page_token=page.next_page_token,
    )


def from_case(known: KnownCase, links: Links) -> model.SubjectCase:
    """Converts a case. Its counts are what was changed, else what was found.

    It has a link while there is a file that the caller may fetch.
    """
    case, steps = known.case, known.steps
    is_over = case.state is CaseState.SUCCEEDED
    is_erased = is_over and case.kind is CaseKind.ERASURE and not case.dry_run
    counts = total(each for step in steps for each in (step.changed if is_erased else step.found))
    last = Stage.COUNTED if case.dry_run else Stage.CONFIRMED
    return model.SubjectCase(
        subject_case_id=case.subject_case_id,
        kind=model.SubjectCaseKind.ValueType(case.kind),
        state=model.SubjectCaseState.ValueType(case.state),
        pseudonym=case.pseudonym if is_erased else "",
        dry_run=case.dry_run,
        counts=[
            CollectionCount(
                collection=each.collection, record_count=each.records, held_count=each.held
            )
            for each in counts
        ],
        progress=Progress(
            done_units=sum(step.stage >= last for step in steps),
            total_units=len(steps),
            message=case.message,
            update_time=from_instant(case.updated_at),
        ),
        reason=case.reason,
        error=case.error,
        content_hash=case.content_hash,
        create_time=from_instant(case.created_at),
        end_time=from_optional(case.ended_at),
        expire_time=from_optional(case.expires_at),
        download_path=_path(case, links),
    )


def _path(case: SubjectCase, links: Links) -> str:
    is_there = case.state is CaseState.SUCCEEDED and bool(case.file_id)
    if not is_there or case.expires_at is None or not current_caller().may(COLLECT):
        return ""
    return links.path(case.tenant_id, case.file_id, case.expires_at, file_name=case.file_name)

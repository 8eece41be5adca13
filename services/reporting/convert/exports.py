"""Exports between contract and domain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from finops.common.v1.progress_pb2 import Progress
from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1 import schedule_service_pb2 as messages
from google.api.httpbody_pb2 import HttpBody

from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest
from services.reporting.convert.instants import from_instant, from_optional
from services.reporting.domain.exports import (
    MEDIA_TYPES,
    Dataset,
    Export,
    ExportFormat,
    ExportQuestion,
    ExportWish,
)
from services.reporting.domain.links import Links
from services.reporting.domain.report.report import JobState
from services.reporting.service.exports.exporting import file_name, may_read

LIST: Final = "finops.reporting.v1.ExportService/ListExports"
SAID: Final = {
    JobState.PENDING: "waits for a worker",
    JobState.RUNNING: "writes rows",
    JobState.SUCCEEDED: "is done",
    JobState.FAILED: "has failed",
    JobState.EXPIRED: "is past its time",
}


class Asked(Protocol):
    """What ExportRequest and ExportJob have alike."""

    dataset: str
    format: str
    start: str
    end: str
    granularity: str
    filter: str
    cost_type: str
    currency: str
    allocated: bool

    @property
    def group_by(self) -> Iterable[str]:
        """The dimensions."""
        ...


def to_wish(asked: Asked, tenant_id: str) -> ExportWish:
    """Converts what is asked for. Raises ExportOptionRefused."""
    return ExportWish(
        tenant_id=tenant_id,
        dataset=Dataset(asked.dataset or "costs"),
        format=ExportFormat(asked.format or "csv"),
        start=asked.start,
        end=asked.end,
        group_by=tuple(asked.group_by),
        granularity=asked.granularity,
        filter=asked.filter,
        cost_type=asked.cost_type,
        currency_code=asked.currency,
        is_allocated=asked.allocated,
    )


def from_content(content: bytes, wish: ExportWish) -> HttpBody:
    """Converts a piece of a file."""
    return HttpBody(content_type=MEDIA_TYPES[wish.format], data=content)


def to_page(request: messages.ListExportsRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked for."""
    return page_request(request, tenant_id=tenant_id, method=LIST)


def from_page(page: Page[Export], links: Links) -> messages.ListExportsResponse:
    """Converts a page."""
    return messages.ListExportsResponse(
        exports=[from_export(each, links) for each in page.items],
        next_page_token=page.next_page_token,
    )


def from_export(export: Export, links: Links) -> model.ExportJob:
    """Converts an export, with a link while there is a file that the caller may read."""
    wish = export.question.wish
    is_done = export.state is JobState.SUCCEEDED
    start, end = _ends(export.question)
    path = ""
    if is_done and may_read(wish):
        path = links.path(
            export.tenant_id,
            export.export_id,
            export.expires_at,
            file_name=file_name(export.question),
        )
    return model.ExportJob(
        export_id=export.export_id,
        dataset=wish.dataset,
        format=wish.format,
        start=start,
        end=end,
        group_by=wish.group_by,
        granularity=wish.granularity,
        filter=wish.filter,
        cost_type=wish.cost_type,
        currency=wish.currency_code,
        allocated=wish.is_allocated,
        state=model.JobState.ValueType(export.state.value),
        progress=_progress(export),
        error=export.error,
        row_count=export.done_rows if is_done else 0,
        byte_count=export.byte_count,
        content_hash=export.content_hash,
        download_path=path,
        create_time=from_instant(export.created_at),
        end_time=from_optional(export.ended_at),
        expire_time=from_instant(export.expires_at),
    )


def _ends(question: ExportQuestion) -> tuple[str, str]:
    """Returns the period as it was fixed when the export was asked for."""
    if question.period is None:
        return "", ""
    return question.period.start.isoformat(), question.period.end.isoformat()


def _progress(export: Export) -> Progress:
    message = SAID[export.state]
    if export.state is JobState.RUNNING and export.attempt > 1:
        message = f"{message} again, after attempt {export.attempt - 1} was broken off"
    progress = Progress(
        done_units=export.done_rows,
        total_units=max(export.total_rows, export.done_rows),
        message=message,
        update_time=from_instant(export.updated_at),
    )
    if export.expected_end_at is not None:
        progress.estimated_end_time.CopyFrom(from_instant(export.expected_end_at))
    return progress

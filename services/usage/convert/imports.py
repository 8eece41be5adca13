"""Imports between contract and domain."""

from __future__ import annotations

from finops.usage.v1 import usage_model_pb2, usage_service_pb2

from services.kernel.pagination import Page, PageRequest
from services.usage.convert.costs import from_instant
from services.usage.convert.usage import to_instant
from services.usage.domain.import_file import ImportFile, RefusedRow
from services.usage.service.importing import ImportPart

_SERVICE = "finops.usage.v1.UsageService"


def to_part(request: usage_service_pb2.ImportUsageRequest, tenant_id: str) -> ImportPart:
    """Converts one part of a file."""
    has_start = request.HasField("start_time")
    return ImportPart(
        tenant_id=tenant_id,
        content=request.content.data,
        import_id=request.import_id,
        offset=request.offset,
        total_bytes=request.total_bytes,
        kind=request.kind,
        file_name=request.file_name,
        model=request.model,
        trace_start_at=to_instant(request.start_time) if has_start else None,
        source=request.source,
    )


def from_import(item: ImportFile) -> usage_model_pb2.Import:
    """Converts an import."""
    return usage_model_pb2.Import(
        import_id=item.import_id,
        tenant_id=item.tenant_id,
        kind=item.kind,
        file_name=item.file_name,
        state=usage_model_pb2.Import.State.Name(item.state.value),  # type: ignore[arg-type]
        received_bytes=item.received_bytes,
        total_bytes=item.total_bytes,
        rows=item.rows,
        accepted=item.accepted,
        duplicate=item.duplicate,
        conflict=item.conflict,
        invalid=item.invalid,
        failure=item.failure,
        create_time=from_instant(item.created_at),
        update_time=from_instant(item.updated_at),
    )


def to_imports_page(request: usage_service_pb2.ListImportsRequest, tenant_id: str) -> PageRequest:
    """Returns which page of imports is asked."""
    return PageRequest(
        tenant_id=tenant_id,
        method=f"{_SERVICE}/ListImports",
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
    )


def from_imports(page: Page[ImportFile]) -> usage_service_pb2.ListImportsResponse:
    """Converts a page of imports."""
    return usage_service_pb2.ListImportsResponse(
        imports=[from_import(item) for item in page.items], next_page_token=page.next_page_token
    )


def to_rejects_page(
    request: usage_service_pb2.ListImportRejectsRequest, tenant_id: str
) -> PageRequest:
    """Returns which page of refused rows is asked."""
    return PageRequest(
        tenant_id=tenant_id,
        method=f"{_SERVICE}/ListImportRejects",
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
        arguments={"import_id": request.import_id},
    )


def from_rejects(page: Page[RefusedRow]) -> usage_service_pb2.ListImportRejectsResponse:
    """Converts a page of refused rows."""
    return usage_service_pb2.ListImportRejectsResponse(
        rejects=[
            usage_model_pb2.ImportReject(
                row_number=row.row_number,
                field=row.field,
                reject_reason=row.reason,
                excerpt=row.excerpt,
            )
            for row in page.items
        ],
        next_page_token=page.next_page_token,
    )

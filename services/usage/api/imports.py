"""The part of UsageService that imports files."""

from __future__ import annotations

from typing import Any

import grpc
from finops.usage.v1 import usage_service_pb2 as messages

from services.usage.api.tenant import as_tenant
from services.usage.convert import imports as convert
from services.usage.service.importing import Imports

Context = grpc.aio.ServicerContext[Any, Any]


class ImportMethods:
    """The RPCs about imports. `_imports` is set by the servicer that has them."""

    _imports: Imports

    async def ImportUsage(
        self, request: messages.ImportUsageRequest, _: Context
    ) -> messages.ImportUsageResponse:
        """Takes one part of a file."""
        part = convert.to_part(request, as_tenant(request.tenant_id))
        item = await self._imports.import_usage(part)
        return messages.ImportUsageResponse(**{"import": convert.from_import(item)})

    async def GetImport(
        self, request: messages.GetImportRequest, _: Context
    ) -> messages.GetImportResponse:
        """Gets an import."""
        tenant_id = as_tenant(request.tenant_id)
        item = await self._imports.get_import(tenant_id, request.import_id)
        return messages.GetImportResponse(**{"import": convert.from_import(item)})

    async def ListImports(
        self, request: messages.ListImportsRequest, _: Context
    ) -> messages.ListImportsResponse:
        """Lists imports."""
        page = convert.to_imports_page(request, as_tenant(request.tenant_id))
        return convert.from_imports(await self._imports.list_imports(page))

    async def CancelImport(
        self, request: messages.CancelImportRequest, _: Context
    ) -> messages.CancelImportResponse:
        """Stops an import."""
        tenant_id = as_tenant(request.tenant_id)
        item = await self._imports.cancel_import(tenant_id, request.import_id)
        return messages.CancelImportResponse(**{"import": convert.from_import(item)})

    async def ListImportRejects(
        self, request: messages.ListImportRejectsRequest, _: Context
    ) -> messages.ListImportRejectsResponse:
        """Lists refused rows."""
        page = convert.to_rejects_page(request, as_tenant(request.tenant_id))
        rows = await self._imports.list_import_rejects(page, request.import_id)
        return convert.from_rejects(rows)

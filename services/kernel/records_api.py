"""RecordsService, which every service serves over its own records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any, Final

import grpc
from finops.records.v1 import records_model_pb2, records_service_pb2, records_service_pb2_grpc

from services.kernel.caller import current_caller, require_tenant
from services.kernel.listing import page_request
from services.kernel.pagination import PageTokens
from services.kernel.records import Collection
from services.kernel.records_keeping import Count, RecordKeeping
from services.kernel.records_keys import KeyRotation
from services.kernel.records_list import list_collections

LIST_METHOD: Final = "finops.records.v1.RecordsService/ListCollections"
_Context = grpc.aio.ServicerContext[Any, Any]


class RecordsServicer(records_service_pb2_grpc.RecordsServiceServicer):
    """Serves RecordsService."""

    def __init__(
        self, keeping: RecordKeeping, rotation: KeyRotation, *, tokens: PageTokens
    ) -> None:
        """Takes the service's records and keys."""
        self._keeping = keeping
        self._rotation = rotation
        self._tokens = tokens

    async def ListCollections(  # noqa: N802 - the contract's name
        self, request: records_service_pb2.ListCollectionsRequest, _: _Context
    ) -> records_service_pb2.ListCollectionsResponse:
        """Lists what the service keeps, which is the same for every tenant."""
        page = page_request(request, tenant_id="", method=LIST_METHOD)
        found = list_collections(self._keeping.records.collections, page, self._tokens)
        return records_service_pb2.ListCollectionsResponse(
            collections=[self._collection(each) for each in found.items],
            next_page_token=found.next_page_token,
        )

    async def ExportSubjectRecords(  # noqa: N802 - the contract's name
        self, request: records_service_pb2.ExportSubjectRecordsRequest, _: _Context
    ) -> AsyncIterator[records_service_pb2.ExportSubjectRecordsResponse]:
        """Streams a person's records."""
        tenant_id = require_tenant(current_caller(), request.tenant_id)
        sequence = 0
        async for each in self._keeping.export_subject_records(tenant_id, request.subject_id):
            sequence += 1
            yield records_service_pb2.ExportSubjectRecordsResponse(
                collection=each.collection, record_json=each.content, sequence=f"{sequence:012d}"
            )

    async def EraseSubjectRecords(  # noqa: N802 - the contract's name
        self, request: records_service_pb2.EraseSubjectRecordsRequest, _: _Context
    ) -> records_service_pb2.EraseSubjectRecordsResponse:
        """Erases a person."""
        tenant_id = require_tenant(current_caller(), request.tenant_id)
        counts = await self._keeping.erase_subject_records(
            tenant_id, request.subject_id, request.pseudonym, dry_run=request.dry_run
        )
        return records_service_pb2.EraseSubjectRecordsResponse(counts=map(_count, counts))

    async def ApplyRetention(  # noqa: N802 - the contract's name
        self, request: records_service_pb2.ApplyRetentionRequest, _: _Context
    ) -> records_service_pb2.ApplyRetentionResponse:
        """Removes what is past its time."""
        tenant_id = require_tenant(current_caller(), request.tenant_id)
        before, holds = request.before_time.ToDatetime(tzinfo=UTC), list(request.held_filters)
        count = await self._keeping.apply_retention(
            tenant_id,
            request.collection,
            before,
            holds,
            filter_=request.filter,
            dry_run=request.dry_run,
        )
        return records_service_pb2.ApplyRetentionResponse(count=_count(count))

    async def RotateEncryptionKeys(  # noqa: N802 - the contract's name
        self, request: records_service_pb2.RotateEncryptionKeysRequest, _: _Context
    ) -> records_service_pb2.RotateEncryptionKeysResponse:
        """Renews the tenant's data key."""
        tenant_id = require_tenant(current_caller(), request.tenant_id)
        done = await self._rotation.rotate_encryption_keys(tenant_id, dry_run=request.dry_run)
        return records_service_pb2.RotateEncryptionKeysResponse(
            secret_count=done.secrets, key_id=done.key_id
        )

    def _collection(self, collection: Collection) -> records_model_pb2.RecordCollection:
        return records_model_pb2.RecordCollection(
            collection=collection.name,
            service=self._keeping.records.service,
            description=collection.description,
            personal=collection.personal,
            erasable=collection.personal,
            retention_days=collection.days,
            retention_days_min=collection.days_min,
        )


def _count(count: Count) -> records_model_pb2.CollectionCount:
    return records_model_pb2.CollectionCount(
        collection=count.collection, record_count=count.records, held_count=count.held
    )

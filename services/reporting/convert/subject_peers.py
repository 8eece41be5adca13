"""Asks services for their records through their stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import grpc
from finops.records.v1 import records_model_pb2, records_service_pb2, records_service_pb2_grpc
from finops.usage.v1 import directory_service_pb2, directory_service_pb2_grpc

from services.kernel.client import on_behalf_of
from services.reporting.convert.asking import asking
from services.reporting.convert.instants import from_instant
from services.reporting.domain.retention import RecordCollection
from services.reporting.domain.subjects import RecordCount
from services.reporting.errors import RecordsRefused
from services.reporting.service.compliance_peers import (
    KnownPerson,
    Removal,
    SubjectRecord,
)

ASK_SECONDS: Final = 30.0
# Many rows of many tables: what takes longer is repeated, and goes on from where it was.
CHANGE_SECONDS: Final = 600.0
EXPORT_SECONDS: Final = 3_600.0
PAGE: Final = 1_000


class StubRecordsPeer:
    """A service's records; implements `service.compliance_peers.RecordsPeer`."""

    def __init__(self, service: str, channel: grpc.aio.Channel) -> None:
        """channel: to that service, with this service's token on each call."""
        self.service = service
        self._stub = records_service_pb2_grpc.RecordsServiceStub(channel)

    async def collections(self, tenant_id: str) -> Sequence[RecordCollection]:
        """Reads all pages."""
        request = records_service_pb2.ListCollectionsRequest(page_size=PAGE)
        found: list[RecordCollection] = []
        with asking(tenant_id, RecordsRefused):
            while True:
                answer = await self._stub.ListCollections(request, timeout=ASK_SECONDS)
                found += [to_collection(each) for each in answer.collections]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    return found

    async def records(self, tenant_id: str, subject_id: str) -> AsyncIterator[SubjectRecord]:
        """Yields records as they come."""
        request = records_service_pb2.ExportSubjectRecordsRequest(
            tenant_id=tenant_id, subject_id=subject_id
        )
        with asking(tenant_id, RecordsRefused):
            async for each in self._stub.ExportSubjectRecords(request, timeout=EXPORT_SECONDS):
                yield SubjectRecord(each.collection, each.record_json)

    async def erase(
        self, tenant_id: str, subject_id: str, pseudonym: str, *, dry_run: bool, request_id: str
    ) -> Sequence[RecordCount]:
        """Has the service erase or count."""
        request = records_service_pb2.EraseSubjectRecordsRequest(
            tenant_id=tenant_id,
            subject_id=subject_id,
            pseudonym=pseudonym,
            dry_run=dry_run,
            request_id=request_id,
        )
        with asking(tenant_id, RecordsRefused):
            answer = await self._stub.EraseSubjectRecords(request, timeout=CHANGE_SECONDS)
        return to_counts(answer.counts)

    async def remove(self, removal: Removal) -> RecordCount:
        """Has the service remove or count."""
        request = records_service_pb2.ApplyRetentionRequest(
            tenant_id=removal.tenant_id,
            collection=removal.collection,
            before_time=from_instant(removal.before_at),
            held_filters=removal.held_filters,
            dry_run=removal.dry_run,
            filter=removal.filter,
            request_id=removal.request_id,
        )
        with asking(removal.tenant_id, RecordsRefused):
            answer = await self._stub.ApplyRetention(request, timeout=CHANGE_SECONDS)
        return _count(answer.count)


class StubPersonReader:
    """The usage service's directory; implements `service.compliance_peers.PersonReader`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._stub = directory_service_pb2_grpc.DirectoryServiceStub(channel)

    async def person(self, tenant_id: str, subject_id: str) -> KnownPerson:
        """Reads the person's mail address and name; a person may be in no directory."""
        request = directory_service_pb2.GetUserRequest(tenant_id=tenant_id, user_id=subject_id)
        with on_behalf_of(tenant_id):
            try:
                answer = await self._stub.GetUser(request, timeout=ASK_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                    return KnownPerson()
                raise
        return KnownPerson(answer.user.email, answer.user.display_name)


def to_collection(message: records_model_pb2.RecordCollection) -> RecordCollection:
    """Converts a kind of records."""
    return RecordCollection(
        collection=message.collection,
        service=message.service,
        description=message.description,
        personal=message.personal,
        erasable=message.erasable,
        retention_days=message.retention_days,
        retention_days_min=message.retention_days_min,
    )


def to_counts(
    messages: Iterable[records_model_pb2.CollectionCount],
) -> Sequence[RecordCount]:
    """Converts counts."""
    return [_count(each) for each in messages]


def _count(message: records_model_pb2.CollectionCount) -> RecordCount:
    return RecordCount(message.collection, message.record_count, message.held_count)

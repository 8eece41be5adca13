"""A small service that keeps records about persons, for what the real ones cannot be made to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from finops.records.v1 import records_model_pb2 as model
from finops.records.v1 import records_service_pb2 as messages
from finops.records.v1 import records_service_pb2_grpc

from services.kernel.filter import evaluate, parse_filter


@dataclass(slots=True)
class Record:
    """One record. tenant_id, person, ended_at: what the methods ask about."""

    tenant_id: str
    person: str
    ended_at: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    kind: str = ""


@dataclass(slots=True)
class RecordsShelf(records_service_pb2_grpc.RecordsServiceServicer):
    """Keeps records in memory. late: come in after the next erasure, as by a feed.

    failures: so many calls that change end UNAVAILABLE first. held: the filters named last.
    """

    # ruff: noqa: N802 - the contract's names
    service: str
    records: list[Record] = field(default_factory=list)
    late: list[Record] = field(default_factory=list)
    failures: int = 0
    calls: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    is_away: bool = False

    @property
    def collection(self) -> str:
        return f"{self.service}.note"

    async def ListCollections(
        self, _: messages.ListCollectionsRequest, __: Any
    ) -> messages.ListCollectionsResponse:
        note = model.RecordCollection(
            collection=self.collection,
            service=self.service,
            description="Notes about persons.",
            personal=True,
            erasable=True,
            retention_days=400,
            retention_days_min=30,
        )
        return messages.ListCollectionsResponse(collections=[note])

    async def ExportSubjectRecords(
        self, request: messages.ExportSubjectRecordsRequest, _: Any
    ) -> AsyncIterator[messages.ExportSubjectRecordsResponse]:
        for place, record in enumerate(self._of(request.tenant_id, request.subject_id)):
            yield messages.ExportSubjectRecordsResponse(
                collection=self.collection,
                record_json=json.dumps({"person": record.person, "kind": record.kind}),
                sequence=str(place + 1),
            )

    async def EraseSubjectRecords(
        self, request: messages.EraseSubjectRecordsRequest, context: Any
    ) -> messages.EraseSubjectRecordsResponse:
        self.calls.append("count" if request.dry_run else "erase")
        found = self._of(request.tenant_id, request.subject_id)
        if not request.dry_run:
            await self._perhaps_fail(context)
            for record in found:
                record.person = request.pseudonym
            self.records += self.late
            self.late = []
        count = model.CollectionCount(collection=self.collection, record_count=len(found))
        return messages.EraseSubjectRecordsResponse(counts=[count])

    async def ApplyRetention(
        self, request: messages.ApplyRetentionRequest, context: Any
    ) -> messages.ApplyRetentionResponse:
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        for held in request.held_filters:  # a filter over unknown fields is refused, as it is
            _fits(Record("", ""), held)
        self.held = list(request.held_filters)
        before = request.before_time.ToDatetime(tzinfo=UTC)
        old = [
            each
            for each in self.records
            if each.tenant_id == request.tenant_id
            and each.ended_at < before
            and _fits(each, request.filter)
        ]
        kept = [each for each in old if any(_fits(each, held) for held in request.held_filters)]
        if not request.dry_run:
            await self._perhaps_fail(context)
            self.records = [each for each in self.records if each not in old or each in kept]
        count = model.CollectionCount(
            collection=self.collection, record_count=len(old) - len(kept), held_count=len(kept)
        )
        return messages.ApplyRetentionResponse(count=count)

    async def RotateEncryptionKeys(
        self, _: messages.RotateEncryptionKeysRequest, __: Any
    ) -> messages.RotateEncryptionKeysResponse:
        """Has nothing to do: the shelf keeps no secrets."""
        return messages.RotateEncryptionKeysResponse(secret_count=0)

    async def _perhaps_fail(self, context: Any) -> None:
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    def _of(self, tenant_id: str, person: str) -> list[Record]:
        return [
            each for each in self.records if each.tenant_id == tenant_id and each.person == person
        ]


def _fits(record: Record, held: str) -> bool:
    return evaluate(parse_filter(held), {"subject_id": record.person, "kind": record.kind})

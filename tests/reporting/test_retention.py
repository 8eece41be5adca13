"""Retention policies, legal holds and removals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from finops.reporting.v1 import compliance_model_pb2 as model
from finops.reporting.v1 import compliance_service_pb2_grpc, report_model_pb2
from finops.reporting.v1 import retention_messages_pb2 as messages
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel.client import PeerUnavailable
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.reporting.errors import RecordsRefused
from services.reporting.service.compliance_peers import Removal
from tests.reporting.compliance import Office, office_of, shelf_server
from tests.reporting.records_shelf import Record, RecordsShelf
from tests.support.database import connection
from tests.support.server import LocalServer, refused
from tests.support.waiting import eventually

COLLECTION = "usage.note"
OLD = datetime(2026, 1, 1, tzinfo=UTC)
NEW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def shelf(tenant: str) -> RecordsShelf:
    records = [
        Record(tenant, "ada", OLD, "letter"),
        Record(tenant, "alan", OLD, "letter"),
        Record(tenant, "alan", OLD, "draft"),
        Record(tenant, "ada", NEW, "letter"),
    ]
    return RecordsShelf("usage", records)


@pytest.fixture
async def office(
    reporting_database: Database,
    usage_server: LocalServer,
    shelf: RecordsShelf,
    tenant: str,
    clock: ManualClock,
) -> AsyncIterator[Office]:
    async with (
        shelf_server(shelf, reporting_database) as usage,
        office_of(
            reporting_database, usage_server, {"usage": usage}, tenant=tenant, clock=clock
        ) as found,
    ):
        yield found


async def policy_of(office: Office, **fields: Any) -> model.RetentionPolicy:
    policy = model.RetentionPolicy(**{"collection": COLLECTION, "retention_days": 90, **fields})
    answer = await office.retention.CreateRetentionPolicy(
        messages.CreateRetentionPolicyRequest(policy=policy)
    )
    made: model.RetentionPolicy = answer.policy
    return made


async def hold_of(office: Office, **fields: Any) -> model.LegalHold:
    hold = model.LegalHold(**{"display_name": "Case 4711", **fields})
    answer = await office.retention.CreateLegalHold(
        messages.CreateLegalHoldRequest(legal_hold=hold)
    )
    made: model.LegalHold = answer.legal_hold
    return made


async def applied(office: Office, **options: Any) -> model.RetentionRun:
    answer = await office.retention.ApplyRetention(messages.ApplyRetentionRequest(**options))
    request = messages.GetRetentionRunRequest(run_id=answer.run.run_id)

    async def look() -> model.RetentionRun | None:
        run: model.RetentionRun = (await office.retention.GetRetentionRun(request)).run
        return run if run.HasField("end_time") else None

    found = await eventually(look)
    assert found is not None
    return found


def counted(run: model.RetentionRun) -> dict[str, tuple[int, int]]:
    return {each.collection: (each.record_count, each.held_count) for each in run.counts}


async def test_collections_of_all_services_are_listed(office: Office) -> None:
    answer = await office.retention.ListRecordCollections(
        messages.ListRecordCollectionsRequest(filter="personal = true AND service = usage")
    )
    none = await office.retention.ListRecordCollections(
        messages.ListRecordCollectionsRequest(filter="personal = false")
    )

    assert [each.collection for each in answer.collections] == [COLLECTION]
    assert answer.collections[0].retention_days_min == 30
    assert not none.collections


async def test_a_dry_run_counts_what_a_run_then_removes(
    office: Office, shelf: RecordsShelf, tenant: str, owner_url: str
) -> None:
    await policy_of(office)

    dry = await applied(office, dry_run=True)
    assert len(shelf.records) == 4
    run = await applied(office)

    assert dry.state == run.state == report_model_pb2.JOB_STATE_SUCCEEDED, run.error
    assert counted(dry) == counted(run) == {COLLECTION: (3, 0)}
    assert [each.ended_at for each in shelf.records] == [NEW]
    async with connection(owner_url) as driver:
        actions = await driver.fetch(
            "SELECT action, after ->> 'evidence_hash' AS evidence FROM reporting.audit_entry"
            " WHERE tenant_id = $1 AND resource = $2 ORDER BY sequence",
            tenant,
            f"retention-runs/{run.run_id}",
        )
        kept = await driver.fetchval(
            "SELECT evidence_hash FROM reporting.retention_run WHERE run_id = $1", run.run_id
        )
    assert [row["action"] for row in actions] == ["retention.apply", "retention.remove"]
    assert actions[1]["evidence"] == kept
    assert len(kept) == 64


async def test_a_policy_with_a_filter_removes_only_what_it_is_about(
    office: Office, shelf: RecordsShelf
) -> None:
    await policy_of(office, filter="kind = draft")

    run = await applied(office)

    assert counted(run) == {COLLECTION: (1, 0)}
    assert sorted(each.kind for each in shelf.records) == ["letter"] * 3
    # What the policy leaves out is no legal hold, which the service would keep.
    assert shelf.held == []


@pytest.mark.parametrize(
    ("hold", "expected"),
    [
        ({"subject_id": "ada"}, (2, 1)),
        ({"filter": "kind = letter"}, (1, 2)),
        ({"collections": [COLLECTION], "subject_id": "alan", "filter": "kind = draft"}, (2, 1)),
        ({}, (0, 3)),
    ],
)
async def test_a_legal_hold_keeps_what_it_is_about(
    office: Office, shelf: RecordsShelf, hold: dict[str, Any], expected: tuple[int, int]
) -> None:
    await policy_of(office)
    await hold_of(office, **hold)

    run = await applied(office)

    assert counted(run) == {COLLECTION: expected}
    assert len(shelf.records) == 1 + expected[1]


async def test_a_released_hold_keeps_nothing_more(office: Office, shelf: RecordsShelf) -> None:
    await policy_of(office)
    hold = await hold_of(office)
    request = messages.ReleaseLegalHoldRequest(
        legal_hold_id=hold.legal_hold_id, reason="The case is closed."
    )
    released = (await office.retention.ReleaseLegalHold(request)).legal_hold

    run = await applied(office)

    assert (released.released, released.release_reason) == (True, "The case is closed.")
    assert counted(run) == {COLLECTION: (3, 0)}
    assert len(shelf.records) == 1
    again = await refused(office.retention.ReleaseLegalHold(request))
    assert (again.code, again.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "LEGAL_HOLD_RELEASED",
    )
    listed = await office.retention.ListLegalHolds(
        messages.ListLegalHoldsRequest(filter=f'released = true AND collection = "{COLLECTION}"')
    )
    assert [each.legal_hold_id for each in listed.legal_holds] == [hold.legal_hold_id]
    none = await office.retention.ListLegalHolds(
        messages.ListLegalHoldsRequest(filter="released = false")
    )
    assert not none.legal_holds


async def test_every_service_has_a_hold_before_it_exists_and_until_it_ends(
    office: Office, shelf: RecordsShelf
) -> None:
    shelf.is_away = True
    with pytest.raises(PeerUnavailable):
        await hold_of(office, subject_id="ada")
    none = await office.retention.ListLegalHolds(messages.ListLegalHoldsRequest())
    shelf.is_away = False

    hold = await hold_of(office, subject_id="ada")
    first = shelf.held
    await hold_of(office, filter="color = red")

    async def both() -> bool:
        # Where a filter asks for what records lack, more of them stay.
        return sorted(shelf.held) == ["", 'subject_id = "ada"']

    # What was queued for the first one may be told in between.
    await eventually(both)
    await office.retention.ReleaseLegalHold(
        messages.ReleaseLegalHoldRequest(legal_hold_id=hold.legal_hold_id, reason="closed")
    )

    assert not none.legal_holds
    assert first == ['subject_id = "ada"']

    async def told() -> bool:
        return shelf.held == [""]

    await eventually(told)


async def test_a_service_that_forgot_the_holds_is_told_every_night(
    office: Office, shelf: RecordsShelf
) -> None:
    await hold_of(office, subject_id="ada")
    sharing = office.complying.sharing

    async def told() -> bool:
        return shelf.held == ['subject_id = "ada"']

    shelf.held = []
    await sharing.run_due(Job(1, "hold-sharing-due", b"", 1, None))

    await eventually(told)


async def test_no_text_that_may_name_a_person_is_in_the_log(
    office: Office, tenant: str, owner_url: str
) -> None:
    await policy_of(office, filter='person = "grace"')
    hold = await hold_of(office, filter='person = "grace"')
    await office.retention.ReleaseLegalHold(
        messages.ReleaseLegalHoldRequest(legal_hold_id=hold.legal_hold_id, reason="grace asked")
    )

    async with connection(owner_url) as driver:
        texts = await driver.fetch(
            "SELECT after::text FROM reporting.audit_entry WHERE tenant_id = $1", tenant
        )
    assert len(texts) == 3
    assert not any("grace" in row[0] for row in texts)


async def test_a_hold_is_refused_while_what_it_would_keep_is_being_removed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await policy_of(office)
    runs = office.complying.runs
    refusals = []

    async def remove(removal: Removal) -> Any:
        if not removal.dry_run:
            refusals.append(await refused(hold_of(office, subject_id="ada")))
        return await plain(removal)

    plain = runs._peers["usage"].remove
    monkeypatch.setattr(runs._peers["usage"], "remove", remove)
    run = await applied(office)

    assert run.state == report_model_pb2.JOB_STATE_SUCCEEDED
    assert [(each.code, each.reason) for each in refusals] == [
        (grpc.StatusCode.ABORTED, "REMOVAL_UNDER_WAY")
    ]
    assert (await hold_of(office, subject_id="ada")).legal_hold_id


async def test_a_removal_goes_on_when_its_service_is_back(
    office: Office, shelf: RecordsShelf
) -> None:
    await policy_of(office)
    shelf.failures = 1

    run = await applied(office)

    assert run.state == report_model_pb2.JOB_STATE_SUCCEEDED, run.error
    assert counted(run) == {COLLECTION: (3, 0)}


async def test_what_a_service_refuses_is_kept_with_the_removal(office: Office) -> None:
    await policy_of(office, filter="color = red")

    run = await applied(office)

    assert run.state == report_model_pb2.JOB_STATE_FAILED
    assert run.error
    assert RecordsRefused.reason == "RECORDS_REFUSED"


async def test_policies_are_applied_every_night(
    office: Office, shelf: RecordsShelf, tenant: str
) -> None:
    await policy_of(office)

    await office.complying.runs.run_due(Job(1, "retention-due", b"", 1, None))

    async def done() -> bool:
        return len([each for each in shelf.records if each.tenant_id == tenant]) == 1

    await eventually(done)
    listed = await office.retention.ListRetentionRuns(messages.ListRetentionRunsRequest())
    assert len(listed.runs) == 1


async def test_a_policy_is_changed_by_its_version_and_deleted(
    office: Office, clock: ManualClock
) -> None:
    made = await policy_of(office)
    clock.advance(timedelta(minutes=1))
    update = messages.UpdateRetentionPolicyRequest(
        policy=model.RetentionPolicy(policy_id=made.policy_id, retention_days=120, etag=made.etag),
        update_mask=FieldMask(paths=["retention_days"]),
    )
    changed = (await office.retention.UpdateRetentionPolicy(update)).policy
    stale = await refused(office.retention.UpdateRetentionPolicy(update))
    request = messages.GetRetentionPolicyRequest(policy_id=made.policy_id)
    known = (await office.retention.GetRetentionPolicy(request)).policy

    await office.retention.DeleteRetentionPolicy(
        messages.DeleteRetentionPolicyRequest(policy_id=made.policy_id, etag=changed.etag)
    )

    assert (changed.retention_days, changed.filter) == (120, "")
    assert known == changed
    assert (stale.code, stale.reason) == (grpc.StatusCode.ABORTED, "RETENTION_POLICY_CHANGED")
    gone = await refused(office.retention.GetRetentionPolicy(request))
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "RETENTION_POLICY_NOT_FOUND")
    listed = await office.retention.ListRetentionPolicies(messages.ListRetentionPoliciesRequest())
    assert not listed.policies


async def test_what_no_policy_or_hold_can_be_is_refused(office: Office) -> None:
    await policy_of(office)

    short = await refused(policy_of(office, retention_days=7))
    twice = await refused(policy_of(office, retention_days=60))
    unknown = await refused(policy_of(office, collection="moon.rock"))
    held = await refused(hold_of(office, collections=["moon.rock"]))
    broken = await refused(hold_of(office, filter="kind ="))
    no_hold = await refused(
        office.retention.ReleaseLegalHold(
            messages.ReleaseLegalHoldRequest(legal_hold_id="none", reason="r")
        )
    )
    no_run = await refused(
        office.retention.GetRetentionRun(messages.GetRetentionRunRequest(run_id="none"))
    )

    assert (short.code, short.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "RETENTION_DAYS_TOO_FEW",
    )
    assert short.metadata["retention_days_min"] == "30"
    assert (twice.code, twice.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "RETENTION_POLICY_EXISTS",
    )
    assert (unknown.code, unknown.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNKNOWN_COLLECTION",
    )
    assert held.reason == "UNKNOWN_COLLECTION"
    assert broken.reason == "INVALID_FILTER"
    assert (no_hold.code, no_hold.reason) == (grpc.StatusCode.NOT_FOUND, "LEGAL_HOLD_NOT_FOUND")
    assert (no_run.code, no_run.reason) == (grpc.StatusCode.NOT_FOUND, "RETENTION_RUN_NOT_FOUND")


async def test_a_viewer_neither_sees_nor_changes_retention(office: Office, tenant: str) -> None:
    stub: Any = compliance_service_pb2_grpc.RetentionServiceStub(
        office.server.channel("viewer", tenant=tenant)
    )
    policy = model.RetentionPolicy(collection=COLLECTION, retention_days=90)
    calls = (
        stub.ListRecordCollections(messages.ListRecordCollectionsRequest()),
        stub.ListRetentionPolicies(messages.ListRetentionPoliciesRequest()),
        stub.CreateRetentionPolicy(messages.CreateRetentionPolicyRequest(policy=policy)),
        stub.ApplyRetention(messages.ApplyRetentionRequest(dry_run=True)),
        stub.ListLegalHolds(messages.ListLegalHoldsRequest()),
    )

    for call in calls:
        assert (await refused(call)).code is grpc.StatusCode.PERMISSION_DENIED

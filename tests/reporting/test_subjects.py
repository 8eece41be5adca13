"""Collecting and erasing a person over several services."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import compliance_model_pb2 as model
from finops.reporting.v1 import compliance_service_pb2_grpc, retention_messages_pb2
from finops.usage.v1 import (
    directory_model_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
)

from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.reporting.domain.links import parts_of
from services.reporting.errors import FileGone, LinkRefused, RecordsKeepComing
from services.reporting.service import subjects as subjects_service
from services.reporting.service import subjects_work
from tests.reporting.compliance import Office, office_of, shelf_server
from tests.reporting.records_shelf import Record, RecordsShelf
from tests.support.database import connection
from tests.support.server import LocalServer, refused
from tests.support.waiting import eventually

PERSON = "grace.hopper@example.org"


@pytest.fixture
def shelves() -> dict[str, RecordsShelf]:
    return {name: RecordsShelf(name) for name in ("usage", "budget")}


@pytest.fixture
async def office(
    reporting_database: Database,
    usage_server: LocalServer,
    shelves: dict[str, RecordsShelf],
    tenant: str,
    clock: ManualClock,
) -> AsyncIterator[Office]:
    """A compliance officer over two services with records of a person."""
    for shelf in shelves.values():
        shelf.records += [Record(tenant, PERSON), Record(tenant, PERSON), Record(tenant, "alan")]
    async with (
        shelf_server(shelves["usage"], reporting_database) as usage,
        shelf_server(shelves["budget"], reporting_database) as budget,
        office_of(
            reporting_database,
            usage_server,
            {"usage": usage, "budget": budget},
            tenant=tenant,
            clock=clock,
        ) as found,
    ):
        yield found


def counted(case: model.SubjectCase) -> dict[str, tuple[int, int]]:
    return {each.collection: (each.record_count, each.held_count) for each in case.counts}


def persons(shelves: dict[str, RecordsShelf]) -> set[str]:
    return {record.person for shelf in shelves.values() for record in shelf.records}


async def texts_of(owner_url: str, tenant: str) -> str:
    """Returns every row of the schema that belongs to a tenant, as text."""
    found = []
    async with connection(owner_url) as driver:
        tables = await driver.fetch(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'reporting' AND column_name = 'tenant_id'"
        )
        for (table,) in tables:
            found += await driver.fetch(
                f"SELECT t::text FROM reporting.{table} AS t WHERE tenant_id = $1",
                tenant,
            )
        found += await driver.fetch("SELECT convert_from(payload, 'UTF8') FROM reporting.pgqueuer")
    return "\n".join(str(row[0]) for row in found)


async def test_a_dry_run_counts_and_changes_nothing(
    office: Office, shelves: dict[str, RecordsShelf]
) -> None:
    case = await office.erase(PERSON, dry_run=True)

    assert case.state == model.SUBJECT_CASE_STATE_SUCCEEDED, case.error
    assert counted(case) == {"budget.note": (2, 0), "usage.note": (2, 0)}
    assert case.pseudonym == ""
    assert persons(shelves) == {PERSON, "alan"}
    assert case.progress.done_units == case.progress.total_units == 2


async def test_an_erasure_leaves_a_pseudonym_everywhere_and_the_person_nowhere(
    office: Office, shelves: dict[str, RecordsShelf], tenant: str, owner_url: str
) -> None:
    case = await office.erase(PERSON)

    assert case.state == model.SUBJECT_CASE_STATE_SUCCEEDED, case.error
    assert counted(case) == {"budget.note": (2, 0), "usage.note": (2, 0)}
    assert case.pseudonym.startswith("erased-")
    assert persons(shelves) == {case.pseudonym, "alan"}
    texts = await texts_of(owner_url, tenant)
    assert case.pseudonym in texts
    assert PERSON not in texts
    assert PERSON.encode().hex() not in texts
    again = await office.erase(PERSON)
    assert again.pseudonym == case.pseudonym
    assert counted(again) == {"budget.note": (0, 0), "usage.note": (0, 0)}


async def test_what_arrives_during_an_erasure_is_erased_too(
    office: Office, shelves: dict[str, RecordsShelf], tenant: str
) -> None:
    shelves["budget"].late = [Record(tenant, PERSON)]

    case = await office.erase(PERSON)

    assert persons(shelves) == {case.pseudonym, "alan"}
    assert counted(case)["budget.note"] == (3, 0)
    assert shelves["budget"].calls.count("erase") == 2
    assert shelves["usage"].calls.count("erase") == 1


async def test_an_erasure_goes_on_until_every_service_has_answered(
    office: Office, shelves: dict[str, RecordsShelf]
) -> None:
    shelves["budget"].failures = 2

    case = await office.erase(PERSON)

    assert case.state == model.SUBJECT_CASE_STATE_SUCCEEDED, case.error
    assert persons(shelves) == {case.pseudonym, "alan"}
    assert shelves["usage"].calls.count("erase") == 1


async def test_a_case_whose_job_is_lost_is_queued_again(
    reporting_database: Database,
    usage_server: LocalServer,
    shelves: dict[str, RecordsShelf],
    tenant: str,
    clock: ManualClock,
) -> None:
    shelf = shelves["usage"]
    shelf.records = [Record(tenant, PERSON)]
    async with (
        shelf_server(shelf, reporting_database) as usage,
        office_of(
            reporting_database,
            usage_server,
            {"usage": usage},
            tenant=tenant,
            clock=clock,
            is_working=False,
        ) as office,
    ):
        answer = await office.compliance.EraseSubject(
            messages.EraseSubjectRequest(subject_id=PERSON, reason="request 18")
        )
        case_id = answer.subject_case.subject_case_id
        async with reporting_database.system_transaction() as tx:
            # As when the worker that had the job died with it.
            await tx.driver.execute("DELETE FROM pgqueuer WHERE payload = $1", case_id.encode())
        clock.advance(timedelta(minutes=2))
        await office.complying.work.sweep(Job(1, "sweep", b"", 1, None))

        async with reporting_database.system_transaction() as tx:
            queued = await tx.driver.fetchval(
                "SELECT count(*) FROM pgqueuer WHERE payload = $1", case_id.encode()
            )
            assert queued == 1
        job = Job(1, "subject-case", case_id.encode(), 1, tenant)
        await office.complying.work.run(job)
        await office.complying.work.run(job)

    assert shelf.records[0].person.startswith("erased-")
    assert shelf.calls == ["count", "erase", "count"]


async def test_a_legal_hold_blocks_an_erasure_until_it_is_released(
    office: Office, shelves: dict[str, RecordsShelf], tenant: str, owner_url: str
) -> None:
    held = await office.retention.CreateLegalHold(
        retention_messages_pb2.CreateLegalHoldRequest(
            legal_hold=model.LegalHold(
                display_name="Case 4711", collections=["usage.note"], subject_id=PERSON
            )
        )
    )

    blocked = await office.erase(PERSON)

    assert blocked.state == model.SUBJECT_CASE_STATE_BLOCKED
    assert held.legal_hold.legal_hold_id in blocked.error
    assert counted(blocked) == {"budget.note": (2, 0), "usage.note": (2, 2)}
    assert persons(shelves) == {PERSON, "alan"}
    other = await office.erase("alan")
    assert other.state == model.SUBJECT_CASE_STATE_SUCCEEDED
    await office.retention.ReleaseLegalHold(
        retention_messages_pb2.ReleaseLegalHoldRequest(
            legal_hold_id=held.legal_hold.legal_hold_id, reason="The case is closed."
        )
    )
    erased = await office.erase(PERSON)
    assert erased.state == model.SUBJECT_CASE_STATE_SUCCEEDED
    assert PERSON not in await texts_of(owner_url, tenant)


async def test_a_collection_is_a_zip_of_what_every_service_stores(
    office: Office, clock: ManualClock
) -> None:
    answer = await office.compliance.ExportSubjectData(
        messages.ExportSubjectDataRequest(subject_id=PERSON, reason="request 19")
    )
    case = await office.ended(answer.subject_case.subject_case_id)
    request = messages.GetSubjectDataRequest(subject_case_id=case.subject_case_id)

    content = b"".join([part.data async for part in office.compliance.GetSubjectData(request)])
    link = parts_of(case.download_path)
    stored, linked = await office.downloads.download_export(link)

    assert link.file_name == f"subject-{case.subject_case_id}.zip"
    assert stored.media_type == "application/zip"
    assert b"".join([part async for part in linked]) == content
    assert counted(case) == {"budget.note": (2, 0), "usage.note": (2, 0)}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["usage.note.json", "budget.note.json", "contents.json"]
        notes = json.loads(archive.read("usage.note.json"))
        assert notes == [{"person": PERSON, "kind": ""}] * 2
        contents = json.loads(archive.read("contents.json"))
        assert contents == {"records": {"budget.note": 2, "usage.note": 2}}
    clock.advance(timedelta(days=8))
    await office.complying.subjects.expire()
    gone = await refused(anext(aiter(office.compliance.GetSubjectData(request))))
    assert gone.reason == "SUBJECT_DATA_NOT_READY"
    with pytest.raises(LinkRefused):
        await office.downloads.download_export(link)


async def test_an_erasure_takes_what_was_collected_of_the_person(
    office: Office, tenant: str, owner_url: str
) -> None:
    answer = await office.compliance.ExportSubjectData(
        messages.ExportSubjectDataRequest(subject_id=PERSON)
    )
    case = await office.ended(answer.subject_case.subject_case_id)

    await office.erase(PERSON)

    request = messages.GetSubjectDataRequest(subject_case_id=case.subject_case_id)
    gone = await refused(anext(aiter(office.compliance.GetSubjectData(request))))
    assert gone.reason == "SUBJECT_DATA_NOT_READY"
    with pytest.raises(FileGone):
        await office.downloads.download_export(parts_of(case.download_path))
    async with connection(owner_url) as driver:
        kept = await driver.fetchval(
            "SELECT count(*) FROM reporting.file_chunk WHERE tenant_id = $1", tenant
        )
    assert kept == 0


async def test_cases_are_listed_newest_first_and_filtered(office: Office) -> None:
    first = await office.erase(PERSON, dry_run=True)
    answer = await office.compliance.ExportSubjectData(
        messages.ExportSubjectDataRequest(subject_id="alan")
    )
    second = await office.ended(answer.subject_case.subject_case_id)

    listed = await office.compliance.ListSubjectCases(messages.ListSubjectCasesRequest())
    erasures = await office.compliance.ListSubjectCases(
        messages.ListSubjectCasesRequest(filter="kind = ERASURE AND state = SUCCEEDED")
    )

    assert {each.subject_case_id for each in listed.subject_cases} == {
        first.subject_case_id,
        second.subject_case_id,
    }
    assert [each.subject_case_id for each in erasures.subject_cases] == [first.subject_case_id]


@pytest.mark.parametrize("role", ["viewer", "analyst", "budget_admin", "billing_admin"])
async def test_only_administrators_may_ask_about_persons(
    office: Office, tenant: str, role: str
) -> None:
    stub: Any = compliance_service_pb2_grpc.ComplianceServiceStub(
        office.server.channel(role, tenant=tenant)
    )
    calls = (
        stub.EraseSubject(messages.EraseSubjectRequest(subject_id=PERSON, reason="r")),
        stub.ExportSubjectData(messages.ExportSubjectDataRequest(subject_id=PERSON)),
        stub.GetSubjectCase(messages.GetSubjectCaseRequest(subject_case_id="c")),
        stub.ListSubjectCases(messages.ListSubjectCasesRequest()),
        anext(aiter(stub.GetSubjectData(messages.GetSubjectDataRequest(subject_case_id="c")))),
    )

    for call in calls:
        assert (await refused(call)).code is grpc.StatusCode.PERMISSION_DENIED


async def test_no_reason_one_that_names_the_person_and_an_unknown_case_are_refused(
    office: Office,
) -> None:
    named = await refused(office.erase(PERSON, reason=f"{PERSON.upper()} has asked"))
    unsaid = await refused(office.erase(PERSON, reason=""))
    unknown = await refused(office.ended("nobody"))

    assert (named.code, named.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "SUBJECT_NAMED_IN_REASON",
    )
    assert (unsaid.code, unsaid.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATIONS")
    assert (unknown.code, unknown.reason, unknown.metadata) == (
        grpc.StatusCode.NOT_FOUND,
        "SUBJECT_CASE_NOT_FOUND",
        {"subject_case_id": "nobody"},
    )


async def test_a_person_whose_records_keep_coming_fails_the_case_and_it_goes_on_later(
    office: Office,
    shelves: dict[str, RecordsShelf],
    tenant: str,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subjects_work, "PASSES_MAX", 1)
    shelves["budget"].late = [Record(tenant, PERSON)]

    failed = await office.erase(PERSON)

    assert failed.state == model.SUBJECT_CASE_STATE_FAILED
    assert (failed.error, RecordsKeepComing.reason) == (
        RecordsKeepComing().message,
        "RECORDS_KEEP_COMING",
    )

    async def is_done() -> bool:
        # As every minute; the job that failed may be about to end still.
        clock.advance(timedelta(minutes=2))
        await office.complying.work.sweep(Job(1, "sweep", b"", 1, None))
        request = messages.GetSubjectCaseRequest(subject_case_id=failed.subject_case_id)
        case = (await office.compliance.GetSubjectCase(request)).subject_case
        return bool(case.state == model.SUBJECT_CASE_STATE_SUCCEEDED)

    assert await eventually(is_done)
    assert PERSON not in persons(shelves)


async def test_more_cases_than_a_tenant_may_have_at_once_are_refused(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects_service, "UNFINISHED_MAX", 0)

    refusal = await refused(office.erase(PERSON))

    assert (refusal.code, refusal.reason, refusal.metadata) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_SUBJECT_CASES",
        {"cases": "0", "cases_max": "0"},
    )


async def test_the_mail_address_of_the_directory_goes_with_the_person(
    office: Office, shelves: dict[str, RecordsShelf], usage_server: LocalServer, tenant: str
) -> None:
    mail = "a.mail.address.that.is.longer.than.an.id.may.be@department.example.org"
    shelves["budget"].records.append(Record(tenant, mail))
    directory: Any = directory_service_pb2_grpc.DirectoryServiceStub(
        usage_server.channel("org_admin", tenant=tenant)
    )
    user = directory_model_pb2.User(user_id=PERSON, email=mail, display_name="Grace Hopper")
    await directory.CreateUser(directory_service_pb2.CreateUserRequest(user=user))

    named = [
        await refused(office.erase(PERSON, reason=f"as {name} asks"))
        for name in (mail.upper(), "grace hopper")
    ]
    case = await office.erase(PERSON)

    assert [each.reason for each in named] == ["SUBJECT_NAMED_IN_REASON"] * 2
    assert case.state == model.SUBJECT_CASE_STATE_SUCCEEDED, case.error
    assert persons(shelves) == {case.pseudonym, "alan"}
    assert counted(case) == {"budget.note": (3, 0), "usage.note": (2, 0)}

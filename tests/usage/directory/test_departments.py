"""Departments over gRPC: a tree that nothing ties into a circle."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from finops.usage.v1 import department_messages_pb2 as departments
from finops.usage.v1 import directory_model_pb2 as models
from finops.usage.v1 import directory_service_pb2 as messages
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel.database import Database
from tests.support.server import refused
from tests.usage.directory.calls import (
    Stub,
    add_departments,
    add_users,
    audited,
    move_department,
    revision,
)


async def test_a_department_is_made_read_changed_and_removed(
    stub: Stub, usage_database: Database, tenant: str
) -> None:
    await add_departments(stub, ("company", ""), ("eng", "company"))
    renamed = models.Department(department_id="eng", display_name="Engineering")

    updated = await stub.UpdateDepartment(
        departments.UpdateDepartmentRequest(
            department=renamed, update_mask=FieldMask(paths=["display_name", "department_id"])
        )
    )
    read = await stub.GetDepartment(departments.GetDepartmentRequest(department_id="eng"))
    await stub.DeleteDepartment(departments.DeleteDepartmentRequest(department_id="eng"))
    refusal = await refused(
        stub.GetDepartment(departments.GetDepartmentRequest(department_id="eng"))
    )

    expected = models.Department(
        department_id="eng", parent_id="company", display_name="Engineering"
    )
    assert updated.department == read.department == expected
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert (refusal.reason, refusal.metadata) == ("UNKNOWN_DEPARTMENT", {"department_id": "eng"})
    assert [entry.action for entry in await audited(usage_database, tenant)] == [
        "departments.create",
        "departments.create",
        "departments.update",
        "departments.delete",
    ]
    last = (await audited(usage_database, tenant))[-1]
    assert last.before == (
        '{"department_id":"eng","display_name":"Engineering","parent_id":"company"}'
    )
    assert last.after is None
    assert await revision(usage_database, tenant) == 5


async def test_a_department_id_is_taken_once(stub: Stub) -> None:
    await add_departments(stub, ("eng", ""))

    refusal = await refused(add_departments(stub, ("eng", "")))

    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert (refusal.reason, refusal.metadata) == ("DEPARTMENT_EXISTS", {"department_id": "eng"})


async def test_a_parent_has_to_exist(stub: Stub) -> None:
    refusal = await refused(add_departments(stub, ("eng", "nowhere")))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "UNKNOWN_DEPARTMENT"
    assert refusal.metadata == {"department_id": "nowhere"}
    listed = await stub.ListDepartments(departments.ListDepartmentsRequest())
    assert list(listed.departments) == []


@pytest.mark.parametrize("parent_id", ["top", "middle", "bottom"])
async def test_a_department_is_never_above_itself(stub: Stub, parent_id: str) -> None:
    await add_departments(stub, ("top", ""), ("middle", "top"), ("bottom", "middle"))

    refusal = await refused(stub.UpdateDepartment(move_department("top", parent_id)))

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "DEPARTMENT_CYCLE"


async def test_a_new_department_is_not_its_own_parent(stub: Stub) -> None:
    refusal = await refused(add_departments(stub, ("eng", "eng")))

    assert refusal.reason == "DEPARTMENT_CYCLE"


async def test_two_moves_at_once_make_no_circle(stub: Stub) -> None:
    await add_departments(stub, ("a", ""), ("b", ""))

    answers = await asyncio.gather(
        stub.UpdateDepartment(move_department("a", "b")),
        stub.UpdateDepartment(move_department("b", "a")),
        return_exceptions=True,
    )

    assert sum(isinstance(answer, grpc.aio.AioRpcError) for answer in answers) == 1


async def test_a_tree_has_at_most_64_levels(stub: Stub) -> None:
    chain = [(f"d{level}", f"d{level - 1}" if level else "") for level in range(63)]
    await add_departments(stub, *chain, ("top", ""), ("below", "top"))

    refusal = await refused(stub.UpdateDepartment(move_department("top", "d62")))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "HIERARCHY_TOO_DEEP"


async def test_a_department_with_children_stays(stub: Stub) -> None:
    await add_departments(stub, ("top", ""), ("a", "top"), ("b", "top"))

    refusal = await refused(
        stub.DeleteDepartment(departments.DeleteDepartmentRequest(department_id="top"))
    )

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "DEPARTMENT_HAS_CHILDREN"
    assert refusal.metadata == {"department_id": "top", "count": "2", "first": "a, b"}
    assert "move them below another or delete them first" in refusal.message


async def test_a_department_with_users_stays(stub: Stub) -> None:
    await add_departments(stub, ("eng", ""))
    await add_users(stub, models.User(user_id="ada", department_id="eng"))

    refusal = await refused(
        stub.DeleteDepartment(departments.DeleteDepartmentRequest(department_id="eng"))
    )

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "DEPARTMENT_HAS_USERS"
    assert refusal.metadata == {"department_id": "eng", "count": "1", "first": "ada"}


@pytest.mark.parametrize(
    ("wanted", "order_by", "expected"),
    [
        ("", "", ["a", "b", "c", "top"]),
        ("", "department_id desc", ["top", "c", "b", "a"]),
        ('parent_id = "top"', "", ["a", "b"]),
        ('parent_id:"top"', "", ["a", "b", "c"]),
        ('NOT parent_id:"top"', "", ["top"]),
        ('parent_id = ""', "", ["top"]),
        ('display_name:"o"', "", ["top"]),
    ],
)
async def test_departments_are_listed_by_filter_and_order(
    stub: Stub, wanted: str, order_by: str, expected: list[str]
) -> None:
    await add_departments(stub, ("top", ""), ("a", "top"), ("b", "top"), ("c", "a"))

    listed = await stub.ListDepartments(
        departments.ListDepartmentsRequest(filter=wanted, order_by=order_by)
    )

    assert [each.department_id for each in listed.departments] == expected


async def test_a_page_token_fits_its_own_list_alone(stub: Stub) -> None:
    await add_departments(stub, ("a", ""), ("b", ""))
    page = await stub.ListDepartments(departments.ListDepartmentsRequest(page_size=1))

    refusal = await refused(
        stub.ListUsers(messages.ListUsersRequest(page_token=page.next_page_token))
    )

    assert refusal.reason == "INVALID_PAGE_TOKEN"

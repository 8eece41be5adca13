"""Users over gRPC: their department, their manager, and nobody else's eyes."""

from __future__ import annotations

import grpc
import pytest
from finops.usage.v1 import department_messages_pb2 as departments
from finops.usage.v1 import directory_model_pb2 as models
from finops.usage.v1 import directory_service_pb2 as messages

from services.kernel.database import Database
from tests.support.server import LocalServer, refused
from tests.usage.directory.calls import (
    Stub,
    add_departments,
    add_users,
    audited,
    move_department,
    move_user,
    revision,
    stub_of,
)


async def test_a_user_is_made_read_changed_and_removed(
    stub: Stub, usage_database: Database, tenant: str
) -> None:
    await add_departments(stub, ("eng", ""))
    boss = models.User(user_id="boss")
    ada = models.User(
        user_id="ada", email="ada@example.com", department_id="eng", manager_id="boss"
    )
    await add_users(stub, boss, ada)

    updated = await stub.UpdateUser(move_user("ada", display_name="Ada", manager_id=""))
    read = await stub.GetUser(messages.GetUserRequest(user_id="ada"))
    await stub.DeleteUser(messages.DeleteUserRequest(user_id="ada"))
    refusal = await refused(stub.GetUser(messages.GetUserRequest(user_id="ada")))

    expected = models.User(
        user_id="ada", display_name="Ada", email="ada@example.com", department_id="eng"
    )
    assert updated.user == read.user == expected
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert (refusal.reason, refusal.metadata) == ("UNKNOWN_USER", {"user_id": "ada"})
    entries = await audited(usage_database, tenant)
    assert [(entry.action, entry.resource, entry.actor) for entry in entries[-2:]] == [
        ("users.update", "users/ada", "ada"),
        ("users.delete", "users/ada", "ada"),
    ]
    assert await revision(usage_database, tenant) == 6


async def test_a_user_id_is_taken_once(stub: Stub) -> None:
    await add_users(stub, models.User(user_id="ada"))

    refusal = await refused(add_users(stub, models.User(user_id="ada")))

    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert (refusal.reason, refusal.metadata) == ("USER_EXISTS", {"user_id": "ada"})


@pytest.mark.parametrize(
    ("values", "reason", "metadata"),
    [
        ({"department_id": "nowhere"}, "UNKNOWN_DEPARTMENT", {"department_id": "nowhere"}),
        ({"manager_id": "nobody"}, "UNKNOWN_USER", {"user_id": "nobody"}),
    ],
)
async def test_department_and_manager_have_to_exist(
    stub: Stub, values: dict[str, str], reason: str, metadata: dict[str, str]
) -> None:
    await add_users(stub, models.User(user_id="ada"))

    for call in (
        add_users(stub, models.User(user_id="bob", **values)),
        stub.UpdateUser(move_user("ada", **values)),
    ):
        refusal = await refused(call)
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert (refusal.reason, refusal.metadata) == (reason, metadata)


@pytest.mark.parametrize("manager_id", ["ada", "bob", "eve"])
async def test_nobody_manages_themselves_through_others(stub: Stub, manager_id: str) -> None:
    await add_users(
        stub,
        models.User(user_id="ada"),
        models.User(user_id="bob", manager_id="ada"),
        models.User(user_id="eve", manager_id="bob"),
    )

    refusal = await refused(stub.UpdateUser(move_user("ada", manager_id=manager_id)))

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "MANAGER_CYCLE"


async def test_a_manager_with_reports_stays(stub: Stub) -> None:
    names = [f"report-{number}" for number in range(7)]
    await add_users(
        stub,
        models.User(user_id="boss"),
        *(models.User(user_id=name, manager_id="boss") for name in names),
    )

    refusal = await refused(stub.DeleteUser(messages.DeleteUserRequest(user_id="boss")))

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "USER_HAS_REPORTS"
    assert refusal.metadata == {"user_id": "boss", "count": "7", "first": ", ".join(names[:5])}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ('manager_id = "ada"', ["bob"]),
        ('manager_id:"ada"', ["ada", "bob", "eve"]),
        ('department_id = "eng"', ["bob"]),
        ('department_id:"eng"', ["bob", "eve"]),
        ('email:"@example.com"', ["zoe"]),
    ],
)
async def test_users_are_found_by_line_department_and_mail(
    stub: Stub, wanted: str, expected: list[str]
) -> None:
    await add_departments(stub, ("eng", ""), ("search", "eng"))
    await add_users(
        stub,
        models.User(user_id="ada"),
        models.User(user_id="bob", manager_id="ada", department_id="eng"),
        models.User(user_id="eve", manager_id="bob", department_id="search"),
        models.User(user_id="zoe", email="zoe@example.com"),
    )

    listed = await stub.ListUsers(messages.ListUsersRequest(filter=wanted))

    assert [each.user_id for each in listed.users] == expected


async def test_another_tenants_members_do_not_exist(server: LocalServer, tenant: str) -> None:
    stub = stub_of(server, tenant)
    await add_departments(stub, ("eng", ""))
    await add_users(stub, models.User(user_id="ada", department_id="eng"))
    other = stub_of(server, f"{tenant}-other")

    for call, reason in (
        (
            other.GetDepartment(departments.GetDepartmentRequest(department_id="eng")),
            "UNKNOWN_DEPARTMENT",
        ),
        (other.UpdateDepartment(move_department("eng", "")), "UNKNOWN_DEPARTMENT"),
        (
            other.DeleteDepartment(departments.DeleteDepartmentRequest(department_id="eng")),
            "UNKNOWN_DEPARTMENT",
        ),
        (add_departments(other, ("search", "eng")), "UNKNOWN_DEPARTMENT"),
        (other.GetUser(messages.GetUserRequest(user_id="ada")), "UNKNOWN_USER"),
        (other.UpdateUser(move_user("ada", display_name="x")), "UNKNOWN_USER"),
        (other.DeleteUser(messages.DeleteUserRequest(user_id="ada")), "UNKNOWN_USER"),
        (add_users(other, models.User(user_id="bob", manager_id="ada")), "UNKNOWN_USER"),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, reason)

    assert list((await other.ListUsers(messages.ListUsersRequest())).users) == []
    named = messages.ListUsersRequest(tenant_id=tenant)
    assert (await refused(other.ListUsers(named))).reason == "TENANT_MISMATCH"
    kept = await stub.GetUser(messages.GetUserRequest(user_id="ada"))
    assert kept.user.display_name == "ada"


async def test_a_platform_admin_acts_for_the_tenant_named(
    platform: Stub, stub: Stub, tenant: str
) -> None:
    await add_departments(stub, ("eng", ""))

    await platform.CreateUser(
        messages.CreateUserRequest(
            tenant_id=tenant,
            user=models.User(user_id="ada", department_id="eng"),
            request_id="by-the-platform",
        )
    )

    assert (await stub.GetUser(messages.GetUserRequest(user_id="ada"))).user.department_id == "eng"


@pytest.mark.parametrize("role", ["viewer", "analyst", "budget_admin", "billing_admin"])
async def test_only_the_organisations_admin_writes_the_directory(
    server: LocalServer, tenant: str, role: str
) -> None:
    stub = stub_of(server, tenant, role)

    refusal = await refused(add_users(stub, models.User(user_id="ada")))
    listed = await stub.ListUsers(messages.ListUsersRequest())

    assert refusal.metadata == {"permission": "directory.write"}
    assert list(listed.users) == []

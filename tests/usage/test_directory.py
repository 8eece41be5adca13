"""The directory over gRPC: tenants, the tree of departments, users and their managers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import grpc
import pytest
from finops.usage.v1 import department_messages_pb2, directory_service_pb2_grpc
from finops.usage.v1 import directory_model_pb2 as models
from finops.usage.v1 import directory_service_pb2 as messages
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel import audit
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.usage.api.directory import DirectoryServicer
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.service.directory import Departments, Tenants, Users
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from tests.support.server import LocalServer, refused, service_token_of, serving

Stub = Any  # the generated stub, whose types are those of synchronous gRPC
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def served_contexts(usage_database: Database) -> TenantContexts:
    """What the server's own process keeps of tenants."""
    return TenantContexts(usage_database)


@pytest.fixture(scope="module")
async def server(
    usage_database: Database, served_contexts: TenantContexts
) -> AsyncIterator[LocalServer]:
    tokens = PageTokens(b"secret of the tests")
    servicer = DirectoryServicer(
        tenants=Tenants(usage_database, tokens=tokens, contexts=served_contexts),
        departments=Departments(usage_database, tokens=tokens),
        users=Users(usage_database, tokens=tokens),
    )
    register = partial(directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server, servicer)
    async with serving(register, database=usage_database) as running:
        yield running


def stub_of(server: LocalServer, tenant: str, role: str = "org_admin") -> Stub:
    return directory_service_pb2_grpc.DirectoryServiceStub(server.channel(role, tenant=tenant))


@pytest.fixture
def stub(server: LocalServer, tenant: str) -> Stub:
    """An administrator of the test's own tenant."""
    return stub_of(server, tenant)


@pytest.fixture
def platform(server: LocalServer, tenant: str) -> Stub:
    """A platform admin, who belongs to a tenant of their own."""
    return stub_of(server, f"{tenant}-platform", "platform_admin")


async def add_departments(stub: Stub, *links: tuple[str, str]) -> None:
    for department_id, parent_id in links:
        department = models.Department(department_id=department_id, parent_id=parent_id)
        await stub.CreateDepartment(
            department_messages_pb2.CreateDepartmentRequest(department=department)
        )


async def add_users(stub: Stub, *users: models.User) -> None:
    for user in users:
        await stub.CreateUser(messages.CreateUserRequest(user=user))


def move_department(
    department_id: str, parent_id: str
) -> department_messages_pb2.UpdateDepartmentRequest:
    return department_messages_pb2.UpdateDepartmentRequest(
        department=models.Department(department_id=department_id, parent_id=parent_id),
        update_mask=FieldMask(paths=["parent_id"]),
    )


def move_user(user_id: str, **values: str) -> messages.UpdateUserRequest:
    return messages.UpdateUserRequest(
        user=models.User(user_id=user_id, **values), update_mask=FieldMask(paths=[*values])
    )


async def audited(database: Database, tenant: str) -> list[audit.AuditEntry]:
    async with database.read(tenant) as tx:
        assert (await audit.verify(tx, tenant)).first_broken_sequence is None
        return [entry async for entry in audit.read_entries(tx, tenant)]


async def revision(database: Database, tenant: str) -> int:
    async with database.read(tenant) as tx:
        value: int = await tx.driver.fetchval(
            "SELECT revision FROM usage.tenant WHERE tenant_id = $1", tenant
        )
    return value


# Tenants


async def test_a_created_tenant_has_defaults_and_a_mark_for_its_roll_ups(
    platform: Stub, usage_database: Database, tenant: str
) -> None:
    request = messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=tenant))

    created = (await platform.CreateTenant(request)).tenant

    assert (created.display_name, created.time_zone, created.currency_code) == (
        tenant,
        "UTC",
        "USD",
    )
    assert created.HasField("create_time")
    assert created.etag
    async with usage_database.read(tenant) as tx:
        assert await tx.driver.fetchval("SELECT count(*) FROM usage.rollup_mark") == 1
    [entry] = await audited(usage_database, tenant)
    assert (entry.action, entry.resource, entry.before) == (
        "tenants.create",
        f"tenants/{tenant}",
        None,
    )


async def test_a_tenant_id_is_taken_once(platform: Stub, tenant: str) -> None:
    request = messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=tenant))
    await platform.CreateTenant(request)

    refusal = await refused(platform.CreateTenant(request))

    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert (refusal.reason, refusal.metadata) == ("TENANT_EXISTS", {"tenant_id": tenant})


async def test_creating_a_tenant_may_be_repeated_with_its_request_id(
    platform: Stub, usage_database: Database, tenant: str
) -> None:
    request = messages.CreateTenantRequest(
        tenant=models.Tenant(tenant_id=tenant, display_name="Acme"), request_id="once"
    )

    first = await platform.CreateTenant(request)
    second = await platform.CreateTenant(request)

    assert first == second
    assert len(await audited(usage_database, tenant)) == 1


@pytest.mark.parametrize("role", ["org_admin", "billing_admin", "viewer"])
async def test_only_platform_admins_make_and_change_tenants(
    server: LocalServer, tenant: str, role: str
) -> None:
    stub = stub_of(server, tenant, role)
    named = models.Tenant(tenant_id=tenant)

    for call in (
        stub.CreateTenant(messages.CreateTenantRequest(tenant=named)),
        stub.UpdateTenant(messages.UpdateTenantRequest(tenant=named)),
    ):
        refusal = await refused(call)
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.metadata == {"permission": "tenants.write"}


async def test_a_caller_sees_its_own_tenant_alone(
    server: LocalServer, platform: Stub, tenant: str
) -> None:
    other = f"{tenant}-other"
    for name in (tenant, other):
        await platform.CreateTenant(
            messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=name))
        )
    viewer = stub_of(server, tenant, "viewer")

    listed = await viewer.ListTenants(messages.ListTenantsRequest())
    refusal = await refused(viewer.GetTenant(messages.GetTenantRequest(tenant_id=other)))

    assert [each.tenant_id for each in listed.tenants] == [tenant]
    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.reason == "TENANT_MISMATCH"


async def test_platform_admins_and_services_list_all_tenants_but_the_global_one(
    server: LocalServer, platform: Stub, tenant: str
) -> None:
    names = [f"{tenant}-{letter}" for letter in "abc"]
    for name in names:
        await platform.CreateTenant(
            messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=name))
        )
    service: Stub = directory_service_pb2_grpc.DirectoryServiceStub(
        server.channel_with(service_token_of(tenant=""))
    )
    request = messages.ListTenantsRequest(
        filter=f'tenant_id = "{tenant}-*"', order_by="tenant_id desc", page_size=2
    )

    for caller in (platform, service):
        first = await caller.ListTenants(request)
        token = first.next_page_token
        rest = messages.ListTenantsRequest(
            filter=request.filter, order_by=request.order_by, page_size=2, page_token=token
        )
        second = await caller.ListTenants(rest)

        found = [each.tenant_id for each in (*first.tenants, *second.tenants)]
        assert found == [names[2], names[1], names[0]]
        assert second.next_page_token == ""
    every = await platform.ListTenants(messages.ListTenantsRequest(filter='tenant_id = "\\*"'))
    assert list(every.tenants) == []


async def test_an_unknown_tenant_is_not_found(platform: Stub, tenant: str) -> None:
    named = models.Tenant(tenant_id=tenant, display_name="x")

    for call in (
        platform.GetTenant(messages.GetTenantRequest(tenant_id=tenant)),
        platform.UpdateTenant(messages.UpdateTenantRequest(tenant=named)),
        platform.CreateUser(
            messages.CreateUserRequest(tenant_id=tenant, user=models.User(user_id="ada"))
        ),
    ):
        refusal = await refused(call)
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert (refusal.reason, refusal.metadata) == ("TENANT_NOT_FOUND", {"tenant_id": tenant})


async def test_an_update_changes_only_what_the_mask_names(
    platform: Stub, usage_database: Database, tenant: str
) -> None:
    await platform.CreateTenant(
        messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=tenant, display_name="Acme"))
    )
    before = await revision(usage_database, tenant)
    new = models.Tenant(tenant_id=tenant, display_name="New", currency_code="EUR")

    updated = await platform.UpdateTenant(
        messages.UpdateTenantRequest(tenant=new, update_mask=FieldMask(paths=["currency_code"]))
    )

    assert (updated.tenant.display_name, updated.tenant.currency_code) == ("Acme", "EUR")
    assert await revision(usage_database, tenant) == before + 1
    entry = (await audited(usage_database, tenant))[-1]
    assert entry.action == "tenants.update"
    assert entry.before == '{"currency_code":"USD","display_name":"Acme","time_zone":"UTC"}'
    assert entry.after == '{"currency_code":"EUR","display_name":"Acme","time_zone":"UTC"}'


async def test_an_update_without_mask_changes_what_is_set(platform: Stub, tenant: str) -> None:
    await platform.CreateTenant(
        messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=tenant, display_name="Acme"))
    )
    berlin = models.Tenant(tenant_id=tenant, time_zone="Europe/Berlin")

    updated = await platform.UpdateTenant(messages.UpdateTenantRequest(tenant=berlin))

    assert (updated.tenant.display_name, updated.tenant.time_zone) == ("Acme", "Europe/Berlin")


async def test_an_unknown_mask_path_is_named(platform: Stub, tenant: str) -> None:
    await platform.CreateTenant(
        messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=tenant))
    )

    refusal = await refused(
        platform.UpdateTenant(
            messages.UpdateTenantRequest(
                tenant=models.Tenant(tenant_id=tenant), update_mask=FieldMask(paths=["colour"])
            )
        )
    )

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.metadata["path"]) == ("UNKNOWN_MASK_PATH", "colour")
    assert refusal.fields == ["update_mask"]


async def test_of_two_who_read_a_tenant_the_second_to_change_it_is_told(
    platform: Stub, stub: Stub, tenant: str
) -> None:
    created = await platform.CreateTenant(
        messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=tenant))
    )
    read = created.tenant.etag

    def rename(name: str) -> Any:
        named = models.Tenant(tenant_id=tenant, display_name=name, etag=read)
        return platform.UpdateTenant(messages.UpdateTenantRequest(tenant=named))

    await add_departments(stub, ("engineering", ""))  # which is no change of the tenant itself
    first = await rename("first")
    refusal = await refused(rename("second"))

    assert first.tenant.etag != read
    assert refusal.code is grpc.StatusCode.ABORTED
    assert refusal.reason == "TENANT_CHANGED"
    assert refusal.metadata == {"tenant_id": tenant, "etag": first.tenant.etag}


async def test_a_time_zone_has_to_exist(platform: Stub, tenant: str) -> None:
    mars = models.Tenant(tenant_id=tenant, time_zone="Mars/Olympus")

    refusal = await refused(platform.CreateTenant(messages.CreateTenantRequest(tenant=mars)))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "UNKNOWN_TIME_ZONE"


async def test_a_time_zone_changes_until_the_first_usage(
    platform: Stub, recorder: Recorder, served_contexts: TenantContexts, tenant: str
) -> None:
    def zone(name: str) -> Any:
        changed = models.Tenant(tenant_id=tenant, time_zone=name)
        return platform.UpdateTenant(messages.UpdateTenantRequest(tenant=changed))

    await platform.CreateTenant(
        messages.CreateTenantRequest(tenant=models.Tenant(tenant_id=tenant))
    )
    assert (await served_contexts.get(tenant)).tz.key == "UTC"
    await zone("Asia/Kolkata")
    assert (await served_contexts.get(tenant)).tz.key == "Asia/Kolkata"

    cost = Costs(Decimal(1), Decimal(1), Decimal(1), Decimal(1))
    call = Attributes(resource_type="api_call", unit="request", currency_code="USD")
    event = UsageEvent("test", "first", NOON, NOON, call, Decimal(1), (), cost)
    await recorder.record(tenant, [event])
    refusal = await refused(zone("Europe/Berlin"))
    same = await zone("Asia/Kolkata")

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "TIME_ZONE_IN_USE"
    assert refusal.metadata == {"tenant_id": tenant, "time_zone": "Asia/Kolkata"}
    assert same.tenant.time_zone == "Asia/Kolkata"


# Departments


async def test_a_department_is_made_read_changed_and_removed(
    stub: Stub, usage_database: Database, tenant: str
) -> None:
    await add_departments(stub, ("company", ""), ("eng", "company"))
    renamed = models.Department(department_id="eng", display_name="Engineering")

    updated = await stub.UpdateDepartment(
        department_messages_pb2.UpdateDepartmentRequest(
            department=renamed, update_mask=FieldMask(paths=["display_name", "department_id"])
        )
    )
    read = await stub.GetDepartment(
        department_messages_pb2.GetDepartmentRequest(department_id="eng")
    )
    await stub.DeleteDepartment(
        department_messages_pb2.DeleteDepartmentRequest(department_id="eng")
    )
    refusal = await refused(
        stub.GetDepartment(department_messages_pb2.GetDepartmentRequest(department_id="eng"))
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
    listed = await stub.ListDepartments(department_messages_pb2.ListDepartmentsRequest())
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
        stub.DeleteDepartment(department_messages_pb2.DeleteDepartmentRequest(department_id="top"))
    )

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "DEPARTMENT_HAS_CHILDREN"
    assert refusal.metadata == {"department_id": "top", "count": "2", "first": "a, b"}
    assert "move them below another or delete them first" in refusal.message


async def test_a_department_with_users_stays(stub: Stub) -> None:
    await add_departments(stub, ("eng", ""))
    await add_users(stub, models.User(user_id="ada", department_id="eng"))

    refusal = await refused(
        stub.DeleteDepartment(department_messages_pb2.DeleteDepartmentRequest(department_id="eng"))
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
        department_messages_pb2.ListDepartmentsRequest(filter=wanted, order_by=order_by)
    )

    assert [each.department_id for each in listed.departments] == expected


async def test_a_page_token_fits_its_own_list_alone(stub: Stub) -> None:
    await add_departments(stub, ("a", ""), ("b", ""))
    page = await stub.ListDepartments(department_messages_pb2.ListDepartmentsRequest(page_size=1))

    refusal = await refused(
        stub.ListUsers(messages.ListUsersRequest(page_token=page.next_page_token))
    )

    assert refusal.reason == "INVALID_PAGE_TOKEN"


# Users


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


# Tenants apart


async def test_another_tenants_members_do_not_exist(server: LocalServer, tenant: str) -> None:
    stub = stub_of(server, tenant)
    await add_departments(stub, ("eng", ""))
    await add_users(stub, models.User(user_id="ada", department_id="eng"))
    other = stub_of(server, f"{tenant}-other")

    for call, reason in (
        (
            other.GetDepartment(department_messages_pb2.GetDepartmentRequest(department_id="eng")),
            "UNKNOWN_DEPARTMENT",
        ),
        (other.UpdateDepartment(move_department("eng", "")), "UNKNOWN_DEPARTMENT"),
        (
            other.DeleteDepartment(
                department_messages_pb2.DeleteDepartmentRequest(department_id="eng")
            ),
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

"""Tenants over gRPC: the platform makes them, each sees its own."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import grpc
import pytest
from finops.usage.v1 import directory_model_pb2 as models
from finops.usage.v1 import directory_service_pb2 as messages
from finops.usage.v1 import directory_service_pb2_grpc
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel.database import Database
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from tests.support.server import LocalServer, refused, service_token_of
from tests.usage.directory.calls import (
    Stub,
    add_departments,
    audited,
    revision,
    stub_of,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


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

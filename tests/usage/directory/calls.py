"""Calls that the directory's tests share."""

from __future__ import annotations

from typing import Any

from finops.usage.v1 import department_messages_pb2 as departments
from finops.usage.v1 import directory_model_pb2 as models
from finops.usage.v1 import directory_service_pb2 as messages
from finops.usage.v1 import directory_service_pb2_grpc
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel import audit
from services.kernel.database import Database
from tests.support.server import LocalServer

Stub = Any  # the generated stub, whose types are those of synchronous gRPC


def stub_of(server: LocalServer, tenant: str, role: str = "org_admin") -> Stub:
    return directory_service_pb2_grpc.DirectoryServiceStub(server.channel(role, tenant=tenant))


async def add_departments(stub: Stub, *links: tuple[str, str]) -> None:
    for department_id, parent_id in links:
        department = models.Department(department_id=department_id, parent_id=parent_id)
        await stub.CreateDepartment(departments.CreateDepartmentRequest(department=department))


async def add_users(stub: Stub, *users: models.User) -> None:
    for user in users:
        await stub.CreateUser(messages.CreateUserRequest(user=user))


def move_department(department_id: str, parent_id: str) -> departments.UpdateDepartmentRequest:
    return departments.UpdateDepartmentRequest(
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

"""DirectoryService: tenants, departments, users."""

from __future__ import annotations

from typing import Any

import grpc
from finops.usage.v1 import department_messages_pb2 as departments
from finops.usage.v1 import directory_service_pb2 as messages
from finops.usage.v1 import directory_service_pb2_grpc

from services.kernel.caller import current_caller
from services.usage.api.tenant import as_tenant
from services.usage.convert import directory as convert
from services.usage.service.directory import Departments, Tenants, Users

Context = grpc.aio.ServicerContext[Any, Any]


class DirectoryServicer(directory_service_pb2_grpc.DirectoryServiceServicer):
    """Serves DirectoryService."""

    def __init__(self, *, tenants: Tenants, departments: Departments, users: Users) -> None:
        """Takes the use cases."""
        self._tenants = tenants
        self._departments = departments
        self._users = users

    async def CreateTenant(
        self, request: messages.CreateTenantRequest, _: Context
    ) -> messages.CreateTenantResponse:
        """Creates a tenant."""
        as_tenant(request.tenant.tenant_id)
        tenant = await self._tenants.create_tenant(convert.to_tenant(request.tenant))
        return messages.CreateTenantResponse(tenant=convert.from_tenant(tenant))

    async def GetTenant(
        self, request: messages.GetTenantRequest, _: Context
    ) -> messages.GetTenantResponse:
        """Gets a tenant."""
        tenant = await self._tenants.get_tenant(as_tenant(request.tenant_id))
        return messages.GetTenantResponse(tenant=convert.from_tenant(tenant))

    async def ListTenants(
        self, request: messages.ListTenantsRequest, _: Context
    ) -> messages.ListTenantsResponse:
        """Lists the tenants that the caller sees."""
        caller = current_caller()
        page = convert.to_tenants_page(request, caller.tenant_id)
        return convert.from_tenants(await self._tenants.list_tenants(page, caller))

    async def UpdateTenant(
        self, request: messages.UpdateTenantRequest, _: Context
    ) -> messages.UpdateTenantResponse:
        """Changes a tenant."""
        as_tenant(request.tenant.tenant_id)
        fields = convert.tenant_fields(request)
        tenant = await self._tenants.update_tenant(
            convert.to_tenant(request.tenant), fields, request.tenant.etag
        )
        return messages.UpdateTenantResponse(tenant=convert.from_tenant(tenant))

    async def CreateDepartment(
        self, request: departments.CreateDepartmentRequest, _: Context
    ) -> departments.CreateDepartmentResponse:
        """Creates a department."""
        tenant_id = as_tenant(request.tenant_id)
        department = convert.to_department(request.department)
        department = await self._departments.create_department(tenant_id, department)
        return departments.CreateDepartmentResponse(department=convert.from_department(department))

    async def GetDepartment(
        self, request: departments.GetDepartmentRequest, _: Context
    ) -> departments.GetDepartmentResponse:
        """Gets a department."""
        tenant_id = as_tenant(request.tenant_id)
        department = await self._departments.get_department(tenant_id, request.department_id)
        return departments.GetDepartmentResponse(department=convert.from_department(department))

    async def ListDepartments(
        self, request: departments.ListDepartmentsRequest, _: Context
    ) -> departments.ListDepartmentsResponse:
        """Lists departments."""
        page = convert.to_departments_page(request, as_tenant(request.tenant_id))
        return convert.from_departments(await self._departments.list_departments(page))

    async def UpdateDepartment(
        self, request: departments.UpdateDepartmentRequest, _: Context
    ) -> departments.UpdateDepartmentResponse:
        """Changes a department."""
        tenant_id = as_tenant(request.tenant_id)
        fields = convert.department_fields(request)
        department = await self._departments.update_department(
            tenant_id, convert.to_department(request.department), fields
        )
        return departments.UpdateDepartmentResponse(department=convert.from_department(department))

    async def DeleteDepartment(
        self, request: departments.DeleteDepartmentRequest, _: Context
    ) -> departments.DeleteDepartmentResponse:
        """Deletes a department."""
        tenant_id = as_tenant(request.tenant_id)
        await self._departments.delete_department(tenant_id, request.department_id)
        return departments.DeleteDepartmentResponse()

    async def CreateUser(
        self, request: messages.CreateUserRequest, _: Context
    ) -> messages.CreateUserResponse:
        """Creates a user."""
        tenant_id = as_tenant(request.tenant_id)
        user = await self._users.create_user(tenant_id, convert.to_user(request.user))
        return messages.CreateUserResponse(user=convert.from_user(user))

    async def GetUser(
        self, request: messages.GetUserRequest, _: Context
    ) -> messages.GetUserResponse:
        """Gets a user."""
        user = await self._users.get_user(as_tenant(request.tenant_id), request.user_id)
        return messages.GetUserResponse(user=convert.from_user(user))

    async def ListUsers(
        self, request: messages.ListUsersRequest, _: Context
    ) -> messages.ListUsersResponse:
        """Lists users."""
        page = convert.to_users_page(request, as_tenant(request.tenant_id))
        return convert.from_users(await self._users.list_users(page))

    async def UpdateUser(
        self, request: messages.UpdateUserRequest, _: Context
    ) -> messages.UpdateUserResponse:
        """Changes a user."""
        tenant_id = as_tenant(request.tenant_id)
        fields = convert.user_fields(request)
        user = await self._users.update_user(tenant_id, convert.to_user(request.user), fields)
        return messages.UpdateUserResponse(user=convert.from_user(user))

    async def DeleteUser(
        self, request: messages.DeleteUserRequest, _: Context
    ) -> messages.DeleteUserResponse:
        """Deletes a user."""
        tenant_id = as_tenant(request.tenant_id)
        await self._users.delete_user(tenant_id, request.user_id)
        return messages.DeleteUserResponse()

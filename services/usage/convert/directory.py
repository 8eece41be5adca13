"""Tenants, departments and users between contract and domain."""

from __future__ import annotations

from finops.usage.v1 import department_messages_pb2
from finops.usage.v1 import directory_model_pb2 as models
from finops.usage.v1 import directory_service_pb2 as messages

from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update
from services.usage.domain.directory import Department, User
from services.usage.domain.tenant import CURRENCY_DEFAULT, TIME_ZONE_DEFAULT, Tenant

SERVICE = "finops.usage.v1.DirectoryService"
_TENANT_FIELDS = ("display_name", "time_zone", "currency_code")
_DEPARTMENT_FIELDS = ("parent_id", "display_name")
_USER_FIELDS = ("display_name", "email", "department_id", "manager_id")


def to_tenant(message: models.Tenant) -> Tenant:
    """Converts a tenant, with its defaults filled in. Raises UnknownTimeZone."""
    return Tenant(
        tenant_id=message.tenant_id,
        display_name=message.display_name or message.tenant_id,
        time_zone=message.time_zone or TIME_ZONE_DEFAULT,
        currency_code=message.currency_code or CURRENCY_DEFAULT,
    )


def from_tenant(tenant: Tenant) -> models.Tenant:
    """Converts a stored tenant."""
    message = models.Tenant(
        tenant_id=tenant.tenant_id,
        display_name=tenant.display_name,
        time_zone=tenant.time_zone,
        currency_code=tenant.currency_code,
        etag=tenant.etag,
    )
    if tenant.created_at is not None:
        message.create_time.FromDatetime(tenant.created_at)
    return message


def tenant_fields(request: messages.UpdateTenantRequest) -> frozenset[str]:
    """Returns the fields that an update changes. Raises UnknownMaskPath."""
    return fields_to_update(
        request.tenant,
        request.update_mask,
        updatable=_TENANT_FIELDS,
        ignored=("tenant_id", "create_time", "etag"),
    )


def to_tenants_page(request: messages.ListTenantsRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked. tenant_id: the caller's."""
    return page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/ListTenants")


def from_tenants(page: Page[Tenant]) -> messages.ListTenantsResponse:
    """Converts a page."""
    return messages.ListTenantsResponse(
        tenants=map(from_tenant, page.items), next_page_token=page.next_page_token
    )


def to_department(message: models.Department) -> Department:
    """Converts a department."""
    return Department(
        department_id=message.department_id,
        parent_id=message.parent_id,
        display_name=message.display_name or message.department_id,
    )


def from_department(department: Department) -> models.Department:
    """Converts a stored department."""
    return models.Department(
        department_id=department.department_id,
        parent_id=department.parent_id,
        display_name=department.display_name,
    )


def department_fields(request: department_messages_pb2.UpdateDepartmentRequest) -> frozenset[str]:
    """Returns the fields that an update changes. Raises UnknownMaskPath."""
    return fields_to_update(
        request.department,
        request.update_mask,
        updatable=_DEPARTMENT_FIELDS,
        ignored=("department_id",),
    )


def to_departments_page(
    request: department_messages_pb2.ListDepartmentsRequest, tenant_id: str
) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/ListDepartments")


def from_departments(page: Page[Department]) -> department_messages_pb2.ListDepartmentsResponse:
    """Converts a page."""
    return department_messages_pb2.ListDepartmentsResponse(
        departments=map(from_department, page.items), next_page_token=page.next_page_token
    )


def to_user(message: models.User) -> User:
    """Converts a user."""
    return User(
        user_id=message.user_id,
        department_id=message.department_id,
        manager_id=message.manager_id,
        display_name=message.display_name or message.user_id,
        email=message.email,
    )


def from_user(user: User) -> models.User:
    """Converts a stored user."""
    return models.User(
        user_id=user.user_id,
        display_name=user.display_name,
        email=user.email,
        department_id=user.department_id,
        manager_id=user.manager_id,
    )


def user_fields(request: messages.UpdateUserRequest) -> frozenset[str]:
    """Returns the fields that an update changes. Raises UnknownMaskPath."""
    return fields_to_update(
        request.user, request.update_mask, updatable=_USER_FIELDS, ignored=("user_id",)
    )


def to_users_page(request: messages.ListUsersRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=f"{SERVICE}/ListUsers")


def from_users(page: Page[User]) -> messages.ListUsersResponse:
    """Converts a page."""
    return messages.ListUsersResponse(
        users=map(from_user, page.items), next_page_token=page.next_page_token
    )

"""Changes and shows the directory: tenants, departments, users with their managers.

Every change locks its tenant and counts up `usage.tenant.revision`, so that changes of one tenant
happen one after another, and no cost answer from before one is given after it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from services.kernel import audit
from services.kernel.caller import Caller, current_caller
from services.kernel.database import Database, Transaction
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.directory import (
    Department,
    Directory,
    UnknownDepartment,
    UnknownUser,
    User,
)
from services.usage.domain.tenant import Tenant
from services.usage.errors import (
    DepartmentExists,
    DepartmentHasChildren,
    DepartmentHasUsers,
    TenantChanged,
    TenantExists,
    TenantNotFound,
    TimeZoneInUse,
    UserExists,
    UserHasReports,
)
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import tenants
from services.usage.store.directory import DEPARTMENTS, USERS, Members


class Tenants:
    """The platform's tenants. A caller sees its own; platform admins and services see all."""

    def __init__(self, database: Database, *, tokens: PageTokens, contexts: TenantContexts) -> None:
        """contexts: what recording keeps of tenants, forgotten when one changes."""
        self._database = database
        self._tokens = tokens
        self._contexts = contexts

    async def create_tenant(self, tenant: Tenant) -> Tenant:
        """Adds a tenant. Raises TenantExists."""
        async with self._database.system_transaction() as tx:
            if not await tenants.insert_tenant(tx, tenant):
                raise TenantExists(tenant_id=tenant.tenant_id)
            await audit.append(
                tx,
                action="tenants.create",
                resource=f"tenants/{tenant.tenant_id}",
                after=_settings(tenant),
                tenant_id=tenant.tenant_id,
            )
            return await _tenant(tx, tenant.tenant_id)

    async def get_tenant(self, tenant_id: str) -> Tenant:
        """Returns a tenant. Raises TenantNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await _tenant(tx, tenant_id)

    async def list_tenants(self, page: PageRequest, caller: Caller) -> Page[Tenant]:
        """Returns the tenants that the caller sees.

        Raises InvalidFilter, InvalidOrder, InvalidPageToken.
        """
        if caller.is_platform_admin or caller.is_service:
            async with self._database.system_transaction() as tx:
                return await tenants.list_tenants(tx, page, self._tokens, only=None)
        own = caller.tenant_id
        async with self._database.read(own) as tx:
            return await tenants.list_tenants(tx, page, self._tokens, only=own)

    async def update_tenant(self, tenant: Tenant, fields: Collection[str], etag: str) -> Tenant:
        """Changes the fields named. etag: of the tenant as the caller read it, "" for any.

        Raises TenantNotFound, TenantChanged, TimeZoneInUse.
        """
        tenant_id = tenant.tenant_id
        async with self._database.system_transaction() as tx:
            if not await tenants.bump_revision(tx, tenant_id):
                raise TenantNotFound(tenant_id=tenant_id)
            before = await _tenant(tx, tenant_id)
            if etag and etag != before.etag:
                raise TenantChanged(tenant_id=tenant_id, etag=before.etag)
            after = replace(before, **_taken(tenant, fields))
            if after.time_zone != before.time_zone and await tenants.has_usage(tx, tenant_id):
                raise TimeZoneInUse(tenant_id=tenant_id, time_zone=before.time_zone)
            await tenants.update_tenant(tx, after)
            await audit.append(
                tx,
                action="tenants.update",
                resource=f"tenants/{tenant_id}",
                before=_settings(before),
                after=_settings(after),
                tenant_id=tenant_id,
            )
            tx.on_commit(lambda: self._forget(tenant_id))
        return after

    async def _forget(self, tenant_id: str) -> None:
        self._contexts.forget(tenant_id)


class Departments:
    """A tenant's tree of departments."""

    def __init__(self, database: Database, *, tokens: PageTokens) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens

    async def create_department(self, tenant_id: str, department: Department) -> Department:
        """Adds a department. Raises DepartmentExists, UnknownDepartment, HierarchyTooDeep."""
        async with self._database.transaction(tenant_id) as tx:
            await _begin_change(tx, tenant_id)
            if not await DEPARTMENTS.insert(tx, tenant_id, department):
                raise DepartmentExists(department_id=department.department_id)
            await _check_department(tx, tenant_id, department)
            await _record(tx, "departments.create", department.department_id, after=department)
        return department

    async def get_department(self, tenant_id: str, department_id: str) -> Department:
        """Returns a department. Raises UnknownDepartment."""
        async with self._database.read(tenant_id) as tx:
            return await _department(tx, tenant_id, department_id)

    async def list_departments(self, page: PageRequest) -> Page[Department]:
        """Returns departments. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await DEPARTMENTS.page(tx, page, self._tokens)

    async def update_department(
        self, tenant_id: str, department: Department, fields: Collection[str]
    ) -> Department:
        """Changes the fields named. Raises UnknownDepartment, DepartmentCycle, HierarchyTooDeep."""
        async with self._database.transaction(tenant_id) as tx:
            await _begin_change(tx, tenant_id)
            before = await _department(tx, tenant_id, department.department_id)
            after = replace(before, **_taken(department, fields))
            await _check_department(tx, tenant_id, after)
            await DEPARTMENTS.update(tx, tenant_id, after)
            await _record(tx, "departments.update", after.department_id, before=before, after=after)
        return after

    async def delete_department(self, tenant_id: str, department_id: str) -> None:
        """Removes a department; its usage keeps its name.

        Raises UnknownDepartment, DepartmentHasChildren, DepartmentHasUsers.
        """
        async with self._database.transaction(tenant_id) as tx:
            await _begin_change(tx, tenant_id)
            before = await _department(tx, tenant_id, department_id)
            children = await DEPARTMENTS.hanging_on(tx, tenant_id, "parent_id", department_id)
            if children is not None:
                raise DepartmentHasChildren(department_id=department_id, **_named(children))
            users = await USERS.hanging_on(tx, tenant_id, "department_id", department_id)
            if users is not None:
                raise DepartmentHasUsers(department_id=department_id, **_named(users))
            await DEPARTMENTS.delete(tx, tenant_id, department_id)
            await _record(tx, "departments.delete", department_id, before=before)


class Users:
    """A tenant's users and their managers."""

    def __init__(self, database: Database, *, tokens: PageTokens) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens

    async def create_user(self, tenant_id: str, user: User) -> User:
        """Adds a user. Raises UserExists, UnknownDepartment, UnknownUser, HierarchyTooDeep."""
        async with self._database.transaction(tenant_id) as tx:
            await _begin_change(tx, tenant_id)
            if not await USERS.insert(tx, tenant_id, user):
                raise UserExists(user_id=user.user_id)
            await _check_user(tx, tenant_id, user)
            await _record(tx, "users.create", user.user_id, after=user)
        return user

    async def get_user(self, tenant_id: str, user_id: str) -> User:
        """Returns a user. Raises UnknownUser."""
        async with self._database.read(tenant_id) as tx:
            return await _user(tx, tenant_id, user_id)

    async def list_users(self, page: PageRequest) -> Page[User]:
        """Returns users. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await USERS.page(tx, page, self._tokens)

    async def update_user(self, tenant_id: str, user: User, fields: Collection[str]) -> User:
        """Changes the fields named.

        Raises UnknownUser, UnknownDepartment, ManagerCycle, HierarchyTooDeep.
        """
        async with self._database.transaction(tenant_id) as tx:
            await _begin_change(tx, tenant_id)
            before = await _user(tx, tenant_id, user.user_id)
            after = replace(before, **_taken(user, fields))
            await _check_user(tx, tenant_id, after)
            await USERS.update(tx, tenant_id, after)
            await _record(tx, "users.update", after.user_id, before=before, after=after)
        return after

    async def delete_user(self, tenant_id: str, user_id: str) -> None:
        """Removes a user; their usage keeps their name. Raises UnknownUser, UserHasReports."""
        async with self._database.transaction(tenant_id) as tx:
            await _begin_change(tx, tenant_id)
            before = await _user(tx, tenant_id, user_id)
            reports = await USERS.hanging_on(tx, tenant_id, "manager_id", user_id)
            if reports is not None:
                raise UserHasReports(user_id=user_id, **_named(reports))
            await USERS.delete(tx, tenant_id, user_id)
            await _record(tx, "users.delete", user_id, before=before)


async def _begin_change(tx: Transaction, tenant_id: str) -> None:
    """Locks the tenant. Its own people need not wait for its first usage, which would make it."""
    if await tenants.bump_revision(tx, tenant_id):
        return
    if tenant_id != current_caller().tenant_id:
        raise TenantNotFound(tenant_id=tenant_id)
    await tenants.make_tenant(tx, tenant_id)
    await tenants.bump_revision(tx, tenant_id)


async def _check_department(tx: Transaction, tenant_id: str, department: Department) -> None:
    links = await DEPARTMENTS.around(tx, tenant_id, department.department_id, department.parent_id)
    Directory([*(Department(*link) for link in links), department], [])


async def _check_user(tx: Transaction, tenant_id: str, user: User) -> None:
    links = await USERS.around(tx, tenant_id, user.user_id, user.manager_id)
    own = await DEPARTMENTS.find(tx, tenant_id, user.department_id) if user.department_id else None
    Directory(
        [] if own is None else [replace(own, parent_id="")],
        [*(User(link.member_id, manager_id=link.above_id) for link in links), user],
    )


async def _record(
    tx: Transaction,
    action: str,
    member_id: str,
    *,
    before: Department | User | None = None,
    after: Department | User | None = None,
) -> None:
    await audit.append(
        tx,
        action=action,
        resource=f"{action.partition('.')[0]}/{member_id}",
        before=None if before is None else asdict(before),
        after=None if after is None else asdict(after),
    )


async def _tenant(tx: Transaction, tenant_id: str) -> Tenant:
    found = await tenants.find_tenant(tx, tenant_id)
    if found is None:
        raise TenantNotFound(tenant_id=tenant_id)
    return found


async def _department(tx: Transaction, tenant_id: str, department_id: str) -> Department:
    found = await DEPARTMENTS.find(tx, tenant_id, department_id)
    if found is None:
        text = f"There is no department {department_id!r}."
        raise UnknownDepartment(text, department_id=department_id)
    return found


async def _user(tx: Transaction, tenant_id: str, user_id: str) -> User:
    found = await USERS.find(tx, tenant_id, user_id)
    if found is None:
        raise UnknownUser(f"There is no user {user_id!r}.", user_id=user_id)
    return found


def _taken(source: Tenant | Department | User, fields: Collection[str]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in fields}


def _settings(tenant: Tenant) -> dict[str, str]:
    return {
        "display_name": tenant.display_name,
        "time_zone": tenant.time_zone,
        "currency_code": tenant.currency_code,
    }


def _named(members: Members) -> dict[str, object]:
    return {"count": members.total, "first": ", ".join(members.named)}

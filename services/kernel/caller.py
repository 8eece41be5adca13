"""Who makes the call that is being served, and for which tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from services.kernel.errors import InvalidArgument, PermissionDenied, Unauthenticated
from services.kernel.permissions import allows, permissions_of

SERVICE_ROLE = "service"
PLATFORM_ROLE = "platform_admin"


class NoCaller(Unauthenticated):
    """This needs a caller; send `Authorization: Bearer <token or API key>`."""

    reason = "NO_CALLER"


class TenantMismatch(PermissionDenied):
    """The request names another tenant than the credential's."""

    reason = "TENANT_MISMATCH"


class TenantRequired(InvalidArgument):
    """The credential belongs to no tenant; name one in the request."""

    reason = "TENANT_REQUIRED"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated person, program or service.

    tenant_id: empty only for a service that acts for no tenant. permissions: grants, as in
    permissions.py. credential_id: a token's `jti` or an API key's id.
    """

    tenant_id: str
    subject: str
    roles: frozenset[str]
    permissions: frozenset[str]
    credential_id: str = ""
    is_service: bool = False

    @property
    def is_platform_admin(self) -> bool:
        """Whether the caller may act for every tenant."""
        return PLATFORM_ROLE in self.roles

    def may(self, permission: str) -> bool:
        """Tells whether the caller holds the permission."""
        return allows(self.permissions, permission)


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current_caller() -> Caller:
    """Returns who makes the call that this task serves. Raises NoCaller outside of one."""
    caller = _caller.get()
    if caller is None:
        raise NoCaller
    return caller


def caller_or_none() -> Caller | None:
    """Returns the caller, None in background work and public methods."""
    return _caller.get()


def set_caller(caller: Caller) -> None:
    """Makes the caller the current one of this task, which ends with its call."""
    _caller.set(caller)


@contextmanager
def acting_as(caller: Caller) -> Iterator[None]:
    """Makes the caller the current one inside the block."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


def service_caller(service: str, tenant_id: str = "") -> Caller:
    """Returns the caller that background work of a service acts as."""
    roles = frozenset({SERVICE_ROLE})
    return Caller(
        tenant_id=tenant_id,
        subject=f"service:{service}",
        roles=roles,
        permissions=permissions_of(roles),
        is_service=True,
    )


def require_tenant(caller: Caller, named: str) -> str:
    """Returns the tenant that a request acts on: the one it names, else the caller's own.

    Raises TenantMismatch when it names another and the caller is neither platform admin nor
    service, TenantRequired when there is none at all.
    """
    if not named:
        if not caller.tenant_id:
            raise TenantRequired
        return caller.tenant_id
    if named != caller.tenant_id and not (caller.is_service or caller.is_platform_admin):
        raise TenantMismatch(tenant=named[:80])
    return named


def require_permission(caller: Caller, permission: str) -> None:
    """Raises PermissionDenied unless the caller holds the permission."""
    if not caller.may(permission):
        raise PermissionDenied(
            f"This call needs the permission {permission}, which the credential does not have.",
            permission=permission,
        )

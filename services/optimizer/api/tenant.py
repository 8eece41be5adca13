"""The tenant that a call acts on."""

from __future__ import annotations

from services.kernel.caller import current_caller, require_permission, require_tenant
from services.optimizer.service.recommending import EVERY_TENANT

PLATFORM = "platform.optimize"


def as_tenant(named: str) -> str:
    """Returns the tenant named, default the caller's own. Raises TenantMismatch."""
    return require_tenant(current_caller(), named)


def as_watched(named: str) -> str:
    """Returns the tenant to watch; `*` for all takes a platform admin or a service.

    Raises TenantMismatch, PermissionDenied.
    """
    caller = current_caller()
    if named == EVERY_TENANT and not caller.is_service:
        require_permission(caller, PLATFORM)
        return named
    return require_tenant(caller, named)

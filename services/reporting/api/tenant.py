"""The tenant that a call acts on."""

from __future__ import annotations

from services.kernel.caller import current_caller, require_tenant


def as_tenant(named: str) -> str:
    """Returns the tenant named, default the caller's own. Raises TenantMismatch."""
    return require_tenant(current_caller(), named)

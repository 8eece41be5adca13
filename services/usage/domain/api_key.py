"""Keys that programs authenticate with, without what proves them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ApiKeyOrder:
    """A key as it is asked for. scopes: empty for all of its roles. expires_at: None for never."""

    display_name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as everybody who manages keys may see it. revoked_at: None while it holds."""

    key_id: str
    tenant_id: str
    display_name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

"""Makes, shows, revokes and looks up API keys."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from services.kernel import audit
from services.kernel.api_keys import StoredApiKey, new_api_key
from services.kernel.caller import SERVICE_ROLE, Caller
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.permissions import ROLES, beyond, narrow, permissions_of
from services.usage.domain.api_key import ApiKey, ApiKeyOrder
from services.usage.errors import (
    ApiKeyNotFound,
    ApiKeyRevoked,
    ExpiryNotInFuture,
    KeyAboveCaller,
    ScopeOutsideRoles,
    ServicesOnly,
    TenantNotFound,
    UnknownRole,
)
from services.usage.store import api_keys as store
from services.usage.store import tenants

# Services prove themselves with tokens of their own, which no key can stand in for.
KEY_ROLES = ROLES.keys() - {SERVICE_ROLE}
_SCOPE = re.compile(r"(\*|[a-z_]+)\.(\*|[a-z_]+)")


class ApiKeys:
    """A tenant's API keys."""

    def __init__(self, database: Database, *, tokens: PageTokens, clock: Clock) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def create_api_key(
        self, tenant_id: str, order: ApiKeyOrder, caller: Caller
    ) -> tuple[ApiKey, str]:
        """Returns a new key and its text, which is kept nowhere.

        Raises UnknownRole, KeyAboveCaller, ScopeOutsideRoles, ExpiryNotInFuture, TenantNotFound.
        """
        now = self._clock.now()
        require_grantable(order.roles, order.scopes, caller)
        if order.expires_at is not None and order.expires_at <= now:
            raise ExpiryNotInFuture(expire_time=order.expires_at.isoformat())
        made = new_api_key()
        key = ApiKey(
            key_id=made.key_id,
            tenant_id=tenant_id,
            display_name=order.display_name,
            roles=order.roles,
            scopes=order.scopes,
            created_at=now,
            expires_at=order.expires_at,
        )
        async with self._database.transaction(tenant_id) as tx:
            # A key of a tenant that a typing error made up would never be found again.
            is_own = tenant_id == caller.tenant_id
            if not is_own and await tenants.find_tenant(tx, tenant_id) is None:
                raise TenantNotFound(tenant_id=tenant_id)
            await store.insert_api_key(tx, key, made.secret_digest)
            await audit.append(tx, action="api_keys.create", resource=_name(key), after=_state(key))
        return key, made.text

    async def list_api_keys(self, page: PageRequest) -> Page[ApiKey]:
        """Returns keys, revoked ones too. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_api_keys(tx, page, self._tokens)

    async def revoke_api_key(self, tenant_id: str, key_id: str) -> ApiKey:
        """Ends a key. Raises ApiKeyNotFound, ApiKeyRevoked."""
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            before = await store.lock_api_key(tx, tenant_id, key_id)
            if before is None:
                raise ApiKeyNotFound(key_id=key_id)
            if before.revoked_at is not None:
                raise ApiKeyRevoked(key_id=key_id, revoke_time=before.revoked_at.isoformat())
            after = replace(before, revoked_at=now)
            await store.revoke_api_key(tx, tenant_id, key_id, now)
            await audit.append(
                tx,
                action="api_keys.revoke",
                resource=_name(after),
                before=_state(before),
                after=_state(after),
            )
        return after

    async def look_up_api_key(self, key_id: str, caller: Caller) -> tuple[ApiKey, bytes]:
        """Returns any tenant's key and its secret's digest. Raises ServicesOnly, ApiKeyNotFound."""
        if not caller.is_service:
            raise ServicesOnly
        async with self._database.system_transaction() as tx:
            found = await store.find_with_digest(tx, key_id)
        if found is None:
            raise ApiKeyNotFound(key_id=key_id)
        return found


class OwnApiKeyDirectory:
    """The keys as the service that keeps them checks them: in its database, of any tenant."""

    def __init__(self, database: Database) -> None:
        """Takes the service's database."""
        self._database = database

    async def find(self, key_id: str) -> StoredApiKey | None:
        """Returns the key as it is now. Raises Unavailable."""
        async with self._database.system_transaction() as tx:
            found = await store.find_with_digest(tx, key_id)
        if found is None:
            return None
        key, digest = found
        return StoredApiKey(
            key_id=key.key_id,
            tenant_id=key.tenant_id,
            roles=frozenset(key.roles),
            scopes=frozenset(key.scopes),
            secret_digest=digest,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


def require_grantable(roles: Collection[str], scopes: Collection[str], caller: Caller) -> None:
    """Refuses a key that could do what its maker cannot, or whose scopes mean nothing.

    Roles are compared beside permissions, because a role is more than these: platform admins act
    for every tenant, however narrow a key's scopes.
    Raises UnknownRole, KeyAboveCaller, ScopeOutsideRoles.
    """
    for role in roles:
        if role not in KEY_ROLES:
            allowed = ", ".join(sorted(KEY_ROLES))
            raise UnknownRole(
                f"a key cannot have the role {role!r}; there are {allowed}",
                role=role,
                allowed=allowed,
            )
        if role not in caller.roles and beyond(permissions_of(caller.roles), ROLES[role]):
            raise KeyAboveCaller(role=role)
    held = permissions_of(roles)
    for scope in scopes:
        if _SCOPE.fullmatch(scope) is None or beyond(held, [scope]):
            raise ScopeOutsideRoles(
                f"the roles {', '.join(sorted(roles))} do not hold {scope!r}", scope=scope
            )
    above = beyond(caller.permissions, narrow(held, frozenset(scopes)))
    if above:
        raise KeyAboveCaller(permissions=", ".join(above))


def _name(key: ApiKey) -> str:
    return f"api_keys/{key.key_id}"


def _state(key: ApiKey) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if value is not None}

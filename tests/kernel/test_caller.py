"""The caller of the call that is being served."""

from __future__ import annotations

import asyncio

import pytest

from services.kernel.caller import (
    Caller,
    NoCaller,
    TenantMismatch,
    TenantRequired,
    acting_as,
    caller_or_none,
    current_caller,
    require_permission,
    require_tenant,
    service_caller,
    set_caller,
)
from services.kernel.errors import PermissionDenied
from services.kernel.permissions import permissions_of


def caller(*roles: str, tenant_id: str = "acme") -> Caller:
    return Caller(tenant_id, "ada", frozenset(roles), permissions_of(roles))


def test_outside_of_a_call_there_is_no_caller() -> None:
    assert caller_or_none() is None
    with pytest.raises(NoCaller):
        current_caller()


def test_a_caller_is_current_inside_its_block() -> None:
    with acting_as(caller("viewer")) as _:
        assert current_caller().subject == "ada"
        with acting_as(service_caller("budget")):
            assert current_caller().subject == "service:budget"
        assert current_caller().subject == "ada"

    assert caller_or_none() is None


async def test_a_task_keeps_its_caller_to_itself() -> None:
    async def serve(subject: str) -> str:
        set_caller(Caller("acme", subject, frozenset(), frozenset()))
        await asyncio.sleep(0)
        return current_caller().subject

    found = await asyncio.gather(*(serve(name) for name in ("ada", "grace", "edith")))

    assert found == ["ada", "grace", "edith"]
    assert caller_or_none() is None


@pytest.mark.parametrize("roles", [("viewer",), ("platform_admin",)])
def test_a_request_that_names_no_tenant_acts_on_the_callers(roles: tuple[str, ...]) -> None:
    assert require_tenant(caller(*roles), "") == "acme"
    assert require_tenant(caller(*roles), "acme") == "acme"


def test_another_tenant_is_refused() -> None:
    with pytest.raises(TenantMismatch) as refused:
        require_tenant(caller("org_admin"), "other")

    assert refused.value.metadata == {"tenant": "other"}


def test_platform_admins_and_services_may_name_any_tenant() -> None:
    assert require_tenant(caller("platform_admin"), "other") == "other"
    assert require_tenant(service_caller("budget"), "other") == "other"


def test_the_role_of_a_service_alone_opens_no_other_tenant() -> None:
    with pytest.raises(TenantMismatch):
        require_tenant(caller("service"), "other")


def test_somebody_of_no_tenant_has_to_name_one() -> None:
    with pytest.raises(TenantRequired):
        require_tenant(service_caller("budget"), "")


def test_a_missing_permission_is_named() -> None:
    require_permission(caller("viewer"), "costs.read")
    with pytest.raises(PermissionDenied) as refused:
        require_permission(caller("viewer"), "usage.record")

    assert refused.value.metadata == {"permission": "usage.record"}
    assert "usage.record" in refused.value.message

"""Who a call is made by, and which tenant it may act on."""

from __future__ import annotations

import grpc
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
)
from services.kernel.errors import PermissionDenied


def caller_of(*roles: str, tenant: str = "acme") -> Caller:
    return Caller(tenant, "ada", frozenset(roles), frozenset({"usage.read"}))


def test_outside_of_a_call_there_is_no_caller() -> None:
    with pytest.raises(NoCaller) as caught:
        current_caller()

    assert caller_or_none() is None
    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert (caught.value.reason, caught.value.metadata) == ("NO_CALLER", {})


def test_a_caller_lasts_as_long_as_its_block() -> None:
    outer, inner = caller_of("viewer"), service_caller("budget", "acme")

    with acting_as(outer):
        with acting_as(inner):
            assert current_caller() is inner
        assert current_caller() is outer

    assert caller_or_none() is None


@pytest.mark.parametrize(
    ("caller", "named", "expected"),
    [
        (caller_of("viewer"), "", "acme"),
        (caller_of("viewer"), "acme", "acme"),
        (caller_of("platform_admin"), "globex", "globex"),
        (service_caller("budget"), "globex", "globex"),
    ],
)
def test_a_request_acts_on_the_tenant_it_names_else_on_the_callers(
    caller: Caller, named: str, expected: str
) -> None:
    assert require_tenant(caller, named) == expected


def test_only_platform_admins_and_services_name_another_tenant() -> None:
    with pytest.raises(TenantMismatch) as caught:
        require_tenant(caller_of("org_admin"), "globex")

    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.reason == "TENANT_MISMATCH"
    assert caught.value.metadata == {"tenant": "globex"}


def test_a_service_that_acts_for_no_tenant_has_to_name_one() -> None:
    with pytest.raises(TenantRequired) as caught:
        require_tenant(service_caller("budget"), "")

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.reason, caught.value.metadata) == ("TENANT_REQUIRED", {})


def test_a_permission_that_is_missing_is_named() -> None:
    with pytest.raises(PermissionDenied) as caught:
        require_permission(caller_of("viewer"), "usage.write")

    assert caught.value.metadata == {"permission": "usage.write"}

"""Who may call what: every method is somebody's, and no role holds what no method asks for."""

from __future__ import annotations

import pytest

from services.kernel.permissions import PUBLIC, ROLES, allows, beyond, granting
from tests.contracts.image import methods

PLATFORM = "platform_admin"
PERSONS = ("viewer", "analyst", "budget_admin", "billing_admin", "org_admin")

# What no tenant's own role may do, and why.
ALL_TENANTS = "it works on every tenant at once"
SELLER = "the platform is the seller, and nobody may credit or settle their own bill"
PLATFORM_ALONE = {
    "billing.reconcile": SELLER,
    "billing.run": ALL_TENANTS,
    "credit_notes.approve": SELLER,
    "credit_notes.write": SELLER,
    "credits.write": SELLER,
    "invoices.write": SELLER,
    "payments.write": SELLER,
    "plans.write": SELLER,
    "platform.archive": ALL_TENANTS,
    "platform.bill": ALL_TENANTS,
    "platform.optimize": ALL_TENANTS,
    "providers.write": SELLER,
    "tax_rates.write": SELLER,
    "tenants.write": ALL_TENANTS,
    "webhooks.read": ALL_TENANTS,
    "webhooks.write": ALL_TENANTS,
}

# What services say to each other; a person has another way to the same end.
SERVICES_ALONE = {
    "api_keys.look_up",
    "keys.rotate",
    "notifications.send",
    "records.erase",
    "records.export",
}

SMALLEST_ROLE = {
    "accounts.read": "billing_admin",
    "accounts.write": "billing_admin",
    "budgets.write": "budget_admin",
    "carbon.read": "viewer",
    "catalogues.read": "viewer",
    "catalogues.write": "org_admin",
    "chargebacks.write": "billing_admin",
    "credit_notes.read": "billing_admin",
    "detectors.write": "org_admin",
    "exports.write": "analyst",
    "invoices.pay": "billing_admin",
    "invoices.read": "billing_admin",
    "plans.read": "viewer",
    "providers.read": "billing_admin",
    "recommendations.generate": "analyst",
    "spend.authorize": "budget_admin",
    "subjects.erase": "org_admin",
    "subjects.export": "org_admin",
    "subjects.read": "org_admin",
    "tax_rates.read": "billing_admin",
    "usage.record": "analyst",
}


def asked() -> set[str]:
    return {method.policy.permission for method in methods()} - {PUBLIC}


def holders(permission: str) -> set[str]:
    return {role for role, grants in ROLES.items() if allows(grants, permission)}


def test_every_permission_is_held_by_some_role() -> None:
    assert {permission for permission in asked() if not holders(permission)} == set()


def test_only_these_permissions_are_no_tenants_own() -> None:
    alone = {each for each in asked() if holders(each).isdisjoint(PERSONS)}

    assert alone == set(PLATFORM_ALONE) | SERVICES_ALONE


@pytest.mark.parametrize("permission", sorted(SERVICES_ALONE))
def test_what_services_say_to_each_other_services_may_say(permission: str) -> None:
    assert holders(permission) == {"service", PLATFORM}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_no_role_holds_what_no_method_asks_for(role: str) -> None:
    used = set().union(*(granting(permission) for permission in asked()))

    assert ROLES[role] - used == set()


@pytest.mark.parametrize(("permission", "smallest"), sorted(SMALLEST_ROLE.items()))
def test_permission_begins_with_a_role(permission: str, smallest: str) -> None:
    assert holders(permission) & set(PERSONS) == {
        role for role in PERSONS if beyond(ROLES[role], ROLES[smallest]) == []
    }


@pytest.mark.parametrize("role", PERSONS)
def test_a_larger_role_includes_the_smaller(role: str) -> None:
    assert beyond(ROLES[role], ROLES["viewer"]) == []
    assert beyond(ROLES["org_admin"], ROLES[role]) == []
    assert beyond(ROLES[PLATFORM], ROLES[role]) == []


def test_nobody_but_the_platform_holds_everything() -> None:
    assert [role for role in ROLES if beyond(ROLES[role], ["*.*"]) == []] == [PLATFORM]

"""What roles grant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.permissions import allows, narrow, permissions_of

WORDS = st.sampled_from(["usage", "costs", "read", "write"])
PERMISSIONS = st.builds("{}.{}".format, WORDS, WORDS)
GRANTS = st.builds("{}.{}".format, WORDS | st.just("*"), WORDS | st.just("*"))
SETS = st.frozensets(GRANTS, max_size=4)


@pytest.mark.parametrize(
    ("role", "permission", "is_granted"),
    [
        ("viewer", "costs.read", True),
        ("viewer", "budgets.read", True),
        ("viewer", "usage.record", False),
        ("viewer", "api_keys.read", False),
        ("viewer", "audit.read", False),
        ("analyst", "usage.record", True),
        ("analyst", "usage.amend", False),
        ("budget_admin", "budgets.write", True),
        ("budget_admin", "spend.authorize", True),
        ("budget_admin", "prices.write", False),
        ("billing_admin", "prices.write", True),
        ("billing_admin", "budgets.write", False),
        ("org_admin", "api_keys.write", True),
        ("org_admin", "api_keys.look_up", False),
        ("org_admin", "audit.read", True),
        ("org_admin", "usage.amend", True),
        ("org_admin", "tenants.write", False),
        ("org_admin", "platform.archive", False),
        ("platform_admin", "platform.archive", True),
        ("service", "costs.read", True),
        ("service", "api_keys.look_up", True),
        ("service", "budgets.write", False),
        ("nobody", "costs.read", False),
    ],
)
def test_roles_grant_what_their_work_needs(role: str, permission: str, is_granted: bool) -> None:  # noqa: FBT001 - a column of the table
    assert allows(permissions_of([role]), permission) is is_granted


def test_roles_add_up() -> None:
    both = permissions_of(["viewer", "budget_admin"])

    assert allows(both, "budgets.write")
    assert allows(both, "costs.read")


@given(SETS, SETS, PERMISSIONS)
def test_scopes_allow_what_both_allow(
    grants: frozenset[str], scopes: frozenset[str], permission: str
) -> None:
    both = allows(grants, permission) and (not scopes or allows(scopes, permission))

    assert allows(narrow(grants, scopes), permission) is both


def test_scopes_never_add() -> None:
    assert narrow(permissions_of(["viewer"]), frozenset({"usage.*"})) == {"usage.read"}
    assert narrow(frozenset({"*.*"}), frozenset({"usage.record"})) == {"usage.record"}
    assert narrow(frozenset({"costs.read"}), frozenset({"budgets.write"})) == frozenset()

"""What each role may do.

A permission is `noun.verb`; a grant is a permission in which `*` stands for any noun or any verb.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

PUBLIC = "public"  # the permission of a method that needs no caller

# What a person who reads costs and budgets needs; nothing of keys, the audit log or payments.
_READ = (
    "costs.read usage.read directory.read tenants.read prices.read allocation.read budgets.read "
    "spend.read alerts.read alert_policies.read channels.read recommendations.read savings.read "
    "forecasts.read anomalies.read dashboards.read charts.read reports.read exports.read"
)
_ANALYZE = (
    "usage.record usage.import anomalies.write recommendations.write reports.write "
    "deliveries.read savings.simulate allocation.preview"
)
_BUDGETS = "budgets.* spend.* alerts.* alert_policies.* channels.* deliveries.*"
_BILLING = (
    "billing.* invoices.* subscriptions.* payments.* payment_methods.* plans.read credits.* "
    "prices.write allocation.write"
)
# Everything inside one tenant. Tenants themselves, pricing plans, archives, encryption keys and
# what only services say to each other stay out.
_ORGANIZATION = (
    "usage.* costs.* directory.* prices.* allocation.* reports.* recommendations.* savings.* "
    "anomalies.* forecasts.* dashboards.* charts.* exports.* api_keys.read api_keys.write "
    "audit.read compliance.* retention.* records.read"
)
# Services read everything and do for each other what their contracts ask.
_SERVICE = (
    "*.read usage.record spend.* notifications.send api_keys.look_up records.* keys.rotate "
    "alerts.write anomalies.write billing.meter"
)


def _grants(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in text.split())


ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "viewer": _grants(_READ),
        "analyst": _grants(_READ, _ANALYZE),
        "budget_admin": _grants(_READ, _ANALYZE, _BUDGETS),
        "billing_admin": _grants(_READ, _ANALYZE, _BILLING),
        "org_admin": _grants(_READ, _ANALYZE, _BUDGETS, _BILLING, _ORGANIZATION),
        "platform_admin": _grants("*.*"),
        "service": _grants(_SERVICE),
    }
)


@cache
def granting(permission: str) -> frozenset[str]:
    """Returns the grants that each include the permission; it bounds itself by the contracts."""
    noun, _, verb = permission.partition(".")
    return frozenset({permission, f"{noun}.*", f"*.{verb}", "*.*"})


def allows(grants: frozenset[str], permission: str) -> bool:
    """Tells whether any of the grants includes the permission."""
    return not grants.isdisjoint(granting(permission))


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """Returns what the roles grant together; an unknown role grants nothing."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


def narrow(grants: frozenset[str], scopes: frozenset[str]) -> frozenset[str]:
    """Returns what both the grants and the scopes include; no scopes leave the grants as they are.

    A scope never adds: `usage.*` on a key of a viewer leaves `usage.read`.
    """
    if not scopes:
        return grants
    met = (_meet(grant, scope) for grant in grants for scope in scopes)
    return frozenset(grant for grant in met if grant is not None)


def _meet(first: str, second: str) -> str | None:
    """Returns the widest grant that both include, None when nothing is in both."""
    pairs = zip(first.partition(".")[::2], second.partition(".")[::2], strict=True)
    words = []
    for one, other in pairs:
        if one != other and "*" not in (one, other):
            return None
        words.append(other if one == "*" else one)
    return ".".join(words)

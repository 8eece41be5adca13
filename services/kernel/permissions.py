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
    "spend.read alerts.read alert_policies.read channels.read recommendations.read forecasts.read "
    "anomalies.read dashboards.read charts.read reports.read exports.read plans.read carbon.read "
    "catalogues.read"
)
_ANALYZE = (
    "usage.record usage.import anomalies.write recommendations.write recommendations.generate "
    "reports.write exports.write deliveries.read"
)
_BUDGETS = "budgets.* spend.* alerts.* alert_policies.* channels.* deliveries.*"
# What a customer does with its own bill. The platform is the seller: crediting, voiding, settling
# by hand and reconciling with the provider are its alone, so that nobody can credit themselves.
_BILLING = (
    "billing.read billing.configure invoices.read invoices.pay subscriptions.* payments.read "
    "payment_methods.* credits.read credit_notes.read accounts.* chargebacks.write providers.read "
    "tax_rates.read prices.write allocation.write"
)
# Everything inside one tenant. Tenants themselves, pricing plans, archives, encryption keys and
# what only services say to each other stay out.
_ORGANIZATION = (
    "usage.* costs.* directory.* prices.* allocation.* reports.* recommendations.* anomalies.* "
    "forecasts.* dashboards.* charts.* exports.* catalogues.* detectors.* api_keys.read "
    "api_keys.write audit.read compliance.* retention.* subjects.* records.read"
)
# Services read everything and do for each other what their contracts ask.
_SERVICE = (
    "*.read usage.record spend.* notifications.send api_keys.look_up records.* keys.rotate "
    "alerts.write anomalies.write"
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


def beyond(grants: frozenset[str], wanted: Iterable[str]) -> list[str]:
    """Returns those of the wanted grants that none of the grants includes, sorted."""
    return sorted(grant for grant in wanted if all(_meet(held, grant) != grant for held in grants))


def _meet(first: str, second: str) -> str | None:
    """Returns the widest grant that both include, None when nothing is in both."""
    pairs = zip(first.partition(".")[::2], second.partition(".")[::2], strict=True)
    words = []
    for one, other in pairs:
        if one != other and "*" not in (one, other):
            return None
        words.append(other if one == "*" else one)
    return ".".join(words)

"""Routes of usage to a provider's meters, and what it was told, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from services.billing.domain.metered_route import (
    MeterReport,
    MeterRoute,
    ReportState,
    RouteProgress,
    RouteState,
)
from services.billing.domain.metering import Metered
from services.billing.tables.meters import meter_route as table
from services.billing.tables.provider import SELLER_TENANT
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.transaction import Transaction

_ROUTE = (
    *("tenant_id", "route_id", "subscription_id", "account_id", "plan_id", "plan_version"),
    *("currency_code", "provider", "starts_at", "ends_at", "customer_id"),
    *("provider_subscription_id", "report_count", "opened_at", "error", "created_at"),
)
_REPORT = (
    *("route_id", "number", "charge_id", "part_start_at", "quantity", "occurred_at", "error"),
    "created_at",
)

_ADD = """
INSERT INTO billing.meter_route (tenant_id, route_id, subscription_id, account_id, plan_id,
    plan_version, currency_code, provider, state, starts_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
"""

_SAVE = """
UPDATE billing.meter_route SET state = $3, ends_at = $4, customer_id = $5,
    provider_subscription_id = $6, report_count = $7, opened_at = $8, error = $9
WHERE tenant_id = $1 AND route_id = $2
"""

_SAVE_REPORT = """
INSERT INTO billing.meter_report (tenant_id, route_id, number, charge_id, part_start_at, quantity,
    occurred_at, state, error, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (tenant_id, route_id, number) DO UPDATE SET state = EXCLUDED.state,
    error = EXCLUDED.error
"""

# What a plan's version has in its prices is seldom asked, and plans are few.
_WANTED = """
SELECT subscription.tenant_id, subscription.subscription_id FROM billing.subscription
JOIN billing.pricing_plan AS plan
    ON plan.plan_id = subscription.plan_id AND plan.version = subscription.plan_version
WHERE subscription.state IN ('active', 'past_due', 'unpaid')
    AND jsonb_path_exists(plan.rates, '$[*].charges[*] ? (@.route == "stripe_metered")')
UNION
SELECT tenant_id, subscription_id FROM billing.meter_route
WHERE state IN ('opening', 'open', 'closing')
ORDER BY 1, 2
"""

_ROUTES = Listing(
    filters={
        "subscription_id": FilterField(FieldType.STRING, table.c.subscription_id),
        "account_id": FilterField(FieldType.STRING, table.c.account_id),
        "state": FilterField(
            FieldType.CHOICE,
            table.c.state,
            choices={each.name: each.value for each in RouteState},
        ),
        "start_time": FilterField(FieldType.TIMESTAMP, table.c.starts_at),
    },
    orders={"start_time": table.c.starts_at, "route_id": table.c.route_id},
    default_order="start_time desc",
    tie_break="route_id",
)

_TOLD = """
SELECT route_id, charge_id,
    coalesce(sum(quantity) FILTER (WHERE state IN ('sending', 'sent')), 0)::bigint AS quantity,
    count(*) FILTER (WHERE state IN ('sending', 'canceling')) AS unsettled,
    count(*) FILTER (WHERE state = 'failed') AS failed
FROM billing.meter_report WHERE tenant_id = $1 AND route_id = ANY ($2::text[])
GROUP BY route_id, charge_id ORDER BY route_id, charge_id
"""

# The seller's settings are those of every tenant that has none of its own.
_THROUGH = """
SELECT route.* FROM billing.meter_route AS route WHERE state IN ('open', 'closing')
    AND (tenant_id = $1 OR ($1 = $2 AND NOT EXISTS (
        SELECT FROM billing.provider_settings AS own WHERE own.tenant_id = route.tenant_id)))
ORDER BY tenant_id, starts_at, route_id
"""

_USAGE = """
SELECT dimension_id, sum(quantity) AS quantity, sum(cost) AS cost, sum(events)::bigint AS events
FROM (
    SELECT dimension_id, quantity, cost, events FROM billing.metered_usage
    WHERE tenant_id = $1 AND hour_at >= $2 AND hour_at < $3
    UNION ALL
    SELECT dimension_id, quantity, cost, events FROM billing.late_usage
    WHERE tenant_id = $1 AND hour_at >= $2 AND hour_at < $3
) AS usage
GROUP BY dimension_id
"""


def _route_of(row: Mapping[str, Any]) -> MeterRoute:
    return MeterRoute(**{name: row[name] for name in _ROUTE}, state=RouteState(row["state"]))


async def wanted_routes(tx: Transaction) -> list[tuple[str, str]]:
    """Returns tenant and subscription of what a meter may price, for the worker's role."""
    return [(row["tenant_id"], row["subscription_id"]) for row in await tx.driver.fetch(_WANTED)]


async def routes_through(tx: Transaction, tenant_id: str) -> list[MeterRoute]:
    """Returns what is open through a tenant's settings, for the worker's role."""
    found = await tx.driver.fetch(_THROUGH, tenant_id, SELLER_TENANT)
    return [_route_of(dict(row)) for row in found]


async def owner_of(
    tx: Transaction, provider: str, provider_subscription_id: str
) -> tuple[str, str] | None:
    """Returns tenant and route of a subscription there, over all tenants."""
    row = await tx.driver.fetchrow(
        "SELECT tenant_id, route_id FROM billing.meter_route WHERE provider = $1"
        " AND provider_subscription_id <> '' AND provider_subscription_id = $2",
        *(provider, provider_subscription_id),
    )
    return None if row is None else (row["tenant_id"], row["route_id"])


async def add_route(tx: Transaction, route: MeterRoute) -> None:
    """Adds a route, unless one of the subscription's runs."""
    await tx.driver.execute(
        _ADD,
        *(route.tenant_id, route.route_id, route.subscription_id, route.account_id),
        *(route.plan_id, route.plan_version, route.currency_code, route.provider),
        *(route.state.value, route.starts_at, route.created_at),
    )


async def save_route(tx: Transaction, route: MeterRoute) -> None:
    """Stores how far a route is; the subscription shows which one it is there."""
    await tx.driver.execute(
        _SAVE,
        *(route.tenant_id, route.route_id, route.state.value, route.ends_at, route.customer_id),
        *(route.provider_subscription_id, route.report_count, route.opened_at, route.error),
    )
    is_there = route.state in (RouteState.OPEN, RouteState.CLOSING)
    await tx.driver.execute(
        "UPDATE billing.subscription SET provider_subscription_id = $3"
        " WHERE tenant_id = $1 AND subscription_id = $2",
        *(route.tenant_id, route.subscription_id),
        route.provider_subscription_id if is_there else "",
    )


async def find_route(tx: Transaction, tenant_id: str, route_id: str) -> MeterRoute | None:
    """Returns a route, locked."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.meter_route WHERE tenant_id = $1 AND route_id = $2 FOR UPDATE",
        *(tenant_id, route_id),
    )
    return None if row is None else _route_of(dict(row))


async def routes_of(tx: Transaction, tenant_id: str, subscription_id: str = "") -> list[MeterRoute]:
    """Returns the routes of a subscription, "" for all of the tenant's, oldest first."""
    rows = await tx.driver.fetch(
        "SELECT * FROM billing.meter_route WHERE tenant_id = $1"
        " AND ($2 = '' OR subscription_id = $2) ORDER BY starts_at, created_at, route_id",
        *(tenant_id, subscription_id),
    )
    return [_route_of(dict(row)) for row in rows]


async def list_routes(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[RouteProgress]:
    """Returns a page of a tenant's routes."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _ROUTES.page(tx, statement, page, tokens)
    routes = [_route_of(dict(row)) for row in found.items]
    told = await tx.driver.fetch(_TOLD, page.tenant_id, [route.route_id for route in routes])
    progress: list[RouteProgress] = []
    for route in routes:
        own = [row for row in told if row["route_id"] == route.route_id]
        progress.append(
            RouteProgress(
                route=route,
                told={row["charge_id"]: row["quantity"] for row in own},
                unsettled=sum(row["unsettled"] for row in own),
                failed=sum(row["failed"] for row in own),
            )
        )
    return Page(progress, found.next_page_token)


async def reports_of(tx: Transaction, tenant_id: str, route_id: str) -> list[MeterReport]:
    """Returns what the provider was told of a route, in order."""
    rows = await tx.driver.fetch(
        "SELECT * FROM billing.meter_report WHERE tenant_id = $1 AND route_id = $2 ORDER BY number",
        *(tenant_id, route_id),
    )
    return [
        MeterReport(**{name: row[name] for name in _REPORT}, state=ReportState(row["state"]))
        for row in rows
    ]


async def save_reports(tx: Transaction, tenant_id: str, reports: Sequence[MeterReport]) -> None:
    """Adds reports, or stores what became of them."""
    await tx.driver.executemany(
        _SAVE_REPORT,
        [
            (
                *(tenant_id, report.route_id, report.number, report.charge_id),
                *(report.part_start_at, report.quantity, report.occurred_at),
                *(report.state.value, report.error, report.created_at),
            )
            for report in reports
        ],
    )


async def usage_of(tx: Transaction, tenant_id: str, hours: Period) -> dict[str, Metered]:
    """Returns all that was metered of hours, in time or late, by dimension."""
    rows = await tx.driver.fetch(_USAGE, tenant_id, hours.start, hours.end)
    return {
        row["dimension_id"]: Metered(
            quantity=row["quantity"], cost=row["cost"], events=row["events"]
        )
        for row in rows
    }


async def price_keys(
    tx: Transaction, tenant_id: str, provider_price_ids: Iterable[str]
) -> dict[str, str]:
    """Returns our lookup keys of prices there, by their ids."""
    rows = await tx.driver.fetch(
        "SELECT provider_object_id, local_id FROM billing.provider_object WHERE tenant_id = $1"
        " AND kind = 'price' AND provider_object_id = ANY ($2::text[])",
        *(tenant_id, list(provider_price_ids)),
    )
    return {row["provider_object_id"]: row["local_id"] for row in rows}

"""Wires the dashboard: its questions to other services, and its cache."""

from __future__ import annotations

import grpc

from services.kernel.cache import Cache
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.reporting.convert.dashboard_peers import StubCostGlance, dashboard_peers
from services.reporting.convert.peers import StubUsageReader
from services.reporting.service.dashboard_costs import DashboardCosts
from services.reporting.service.dashboard_parts import DashboardParts
from services.reporting.service.dashboards import Dashboards
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.judging import Judgements


def build_dashboards(
    database: Database,
    cache: Cache,
    usage: grpc.aio.Channel,
    budget: grpc.aio.Channel | None,
    optimizer: grpc.aio.Channel | None,
    *,
    forecasts: Forecasts,
    judgements: Judgements,
    clock: Clock,
) -> Dashboards:
    """Makes the use case. usage, budget, optimizer: those services; None where not connected."""
    reader = StubUsageReader(usage)
    parts = DashboardParts(
        database,
        DashboardCosts(reader, StubCostGlance(usage)),
        forecasts,
        judgements,
        dashboard_peers(budget, optimizer),
        clock=clock,
    )
    return Dashboards(database, cache, parts, reader, clock=clock)

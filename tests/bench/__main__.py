"""Runs benches: `python -m tests.bench [--only name,name]`, by the names of their figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from tests.bench.alerts import bench_alerts
from tests.bench.billing import bench_billing
from tests.bench.budget import bench_authorize
from tests.bench.budget_feed import bench_feed
from tests.bench.dashboard import bench_dashboard
from tests.bench.engines import bench_engines
from tests.bench.exports import bench_exports
from tests.bench.figures import Figure
from tests.bench.imports import bench_imports
from tests.bench.ingest import bench_ingest
from tests.bench.queries import bench_queries
from tests.bench.recommend import bench_recommend
from tests.bench.rest import bench_rest
from tests.bench.stack import BenchStack, running_stack
from tests.bench.unary import bench_unary
from tests.bench.webhooks import bench_webhooks

BENCHES: dict[Callable[[BenchStack], Iterator[Figure]], tuple[str, ...]] = {
    bench_ingest: (
        "ingest_events_per_second",
        "ingest_floor_ratio",
        "visible_p99_seconds",
        "usage_rss_mb",
    ),
    bench_authorize: (
        "authorize_per_second",
        "authorize_per_second_1000_budgets",
        "authorize_p99_ms",
    ),
    bench_feed: (
        "budget_feed_events_per_second",
        "budget_feed_lag_seconds",
        "budget_feed_lag_growth",
        "budget_feed_cpu_us_per_event",
    ),
    bench_alerts: ("alert_latency_p50_seconds", "alert_latency_p99_seconds"),
    bench_engines: ("forecast_1000_series_seconds", "anomaly_points_per_second"),
    bench_recommend: ("recommend_10m_events_seconds", "recommend_1000_tenants_seconds"),
    bench_billing: (
        "billing_run_seconds",
        "invoice_10k_lines_seconds",
        "invoice_pdf_seconds",
    ),
    bench_webhooks: ("webhook_p99_ms", "webhook_burst_p99_ms", "webhook_burst_handler_p99_ms"),
    bench_rest: ("rest_events_per_second",),
    bench_unary: ("record_unary_p99_ms",),
    bench_queries: ("query_costs_p95_ms", "query_costs_cached_p95_ms"),
    bench_imports: ("import_rows_per_second",),
    bench_exports: ("export_rows_per_second", "export_rss_mb"),
    bench_dashboard: ("dashboard_cached_p95_ms", "dashboard_cold_p95_ms"),
}

# What a bench measures runs by itself, as services do in production; else the whole suite runs.
ALONE: dict[Callable[[BenchStack], Iterator[Figure]], tuple[str, ...]] = {
    bench_ingest: ("usage",),
    bench_rest: ("usage",),
    bench_unary: ("usage",),
    bench_queries: ("usage",),
    bench_imports: ("usage",),
    bench_exports: ("usage", "reporting"),
    bench_authorize: ("usage", "budget"),
    bench_feed: ("usage", "budget"),
    bench_alerts: ("usage", "budget"),
    bench_billing: ("usage", "budget", "billing"),
    bench_webhooks: ("usage", "budget", "billing"),
    bench_recommend: ("usage", "optimizer"),
    # The others begin once the events are stored, because they follow nothing that is older.
    bench_dashboard: ("usage",),
}


def main(wanted: set[str]) -> int:
    """Runs each bench that gives a wanted figure, on a stack of its own; 2 for unknown names."""
    known = {name for names in BENCHES.values() for name in names}
    if wanted - known:
        sys.stderr.write(f"unknown: {sorted(wanted - known)}; there are {sorted(known)}\n")
        return 2
    for bench, names in BENCHES.items():
        if wanted and not wanted & set(names):
            continue
        with running_stack(ALONE.get(bench, ())) as stack:
            for figure in bench(stack):
                if not wanted or figure.name in wanted:
                    figure.show()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names of figures, separated by commas")
    sys.exit(main(set(filter(None, parser.parse_args().only.split(",")))))

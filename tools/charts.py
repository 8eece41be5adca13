"""Writes docs/charts: every chart as the demo company has it now.

`python -m tools.charts [DATA_DIR]`, or `make pictures`, beside a stack that runs with the demo
(`make run`). Each chart is drawn wide and light, and for a phone; some are drawn dark, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from finops.reporting.v1.report_messages_pb2 import GetChartRequest, ListChartsRequest

from cli.connection import Connection, open_connection
from cli.options import DEFAULT_DATA_DIR

TARGET = Path(__file__).parents[1] / "docs" / "charts"
WIDE = 960
PHONE = 320
DARK = ("budget-gauge", "cost-breakdown", "cost-over-time")


def variants(chart: str) -> Iterator[tuple[str, GetChartRequest]]:
    """Yields file names and what to ask for each."""
    yield chart, GetChartRequest(chart=chart, width=WIDE)
    yield f"{chart}-phone", GetChartRequest(chart=chart, width=PHONE)
    if chart in DARK:
        yield f"{chart}-dark", GetChartRequest(chart=chart, width=WIDE, theme="dark")


def write(connection: Connection, target: Path) -> int:
    """Writes all pictures; returns how many bytes they have."""
    reporting = connection.client.reporting
    target.mkdir(parents=True, exist_ok=True)
    size = 0
    for chart in reporting.ListCharts(ListChartsRequest(tenant_id=connection.tenant)).charts:
        for name, request in variants(chart.chart):
            request.tenant_id = connection.tenant
            request.format = "svg"
            picture = reporting.GetChart(request).data
            target.joinpath(f"{name}.svg").write_bytes(picture)
            size += len(picture)
    return size


def main() -> None:
    """Writes the pictures of the stack in a data directory, default the user's own."""
    data_dir = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_DATA_DIR
    with open_connection(data_dir, "", "") as connection:
        size = write(connection, TARGET)
    sys.stdout.write(f"{TARGET}: {size / 1000:,.0f} kB\n")


if __name__ == "__main__":
    main()

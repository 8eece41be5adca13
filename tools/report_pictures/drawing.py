"""Draws the first page of each kind of report about the demo."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from cli.demo.company import TENANT
from cli.stack.keys import load_keys
from cli.stack.state import running_state
from services.kernel.client import channel
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.migrate import service_role, service_url, worker_role
from services.kernel.period import zone
from services.reporting import bootstrap
from services.reporting.domain.report.frame import Frame
from services.reporting.domain.report.report import ReportKind, ReportWish
from services.reporting.domain.report.span_of_time import last_full
from services.reporting.domain.report.wording import Wording
from services.reporting.service.chart_drawing import Drawing
from services.reporting.service.charts import Charts
from services.reporting.service.reports_charts import drawn_by
from services.reporting.service.reports_kinds import PARTS
from services.reporting.service.reports_numbers import currency_digits
from services.reporting.service.reports_pdf import page_pictures
from services.reporting.service.reports_sources import Sources
from services.reporting.service.reports_writing import document_of
from services.reporting.settings import ReportingSettings

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reports"
PIXELS_PER_INCH: Final = 66.0
# Pages of each kind that are kept; the rest is more of the same.
PAGES: Final = {ReportKind.EXECUTIVE: 2}
AUTHOR: Final = "demo"


class NoStack(RuntimeError):
    """There is no stack to draw from."""


async def draw_all(data_dir: Path) -> None:
    """Draws every kind of report about the demo's last full month."""
    keys, state = load_keys(data_dir), running_state(data_dir)
    if keys is None:
        raise NoStack(f"start `finops up --demo` with its data in {data_dir}")
    settings = ReportingSettings(
        database_url=service_url(state.database_url, service_role("reporting"), keys.role_secret),
        worker_database_url=service_url(
            state.database_url, worker_role("reporting"), keys.role_secret
        ),
        service_token_secret=SecretStr(keys.service_token_secret),
        peers=state.targets,
        public_url=state.rest_url,
    )
    database = Database.connect(
        settings.database_url, service="reporting", worker_url=settings.worker_database_url
    )
    peers = {
        name: channel(name, settings, service="reporting")
        for name in ("usage", "budget", "optimizer")
    }
    built = bootstrap.build(
        database,
        peers["usage"],
        peers["budget"],
        settings,
        clock=SystemClock(),
        optimizer=peers["optimizer"],
    )
    charts = Charts(Drawing())
    FOLDER.mkdir(parents=True, exist_ok=True)
    for kind in ReportKind:
        pictures = await _pages(built, charts, kind, settings.public_url)
        for place, page in enumerate(pictures[: PAGES.get(kind, 1)], start=1):
            name = f"{kind.name.lower().replace('_', '-')}-{place}.png"
            (FOLDER / name).write_bytes(page)
    for peer in peers.values():
        await peer.close()
    await database.close()


async def _pages(
    built: bootstrap.ReportingService, charts: Charts, kind: ReportKind, url: str
) -> list[bytes]:
    sources_of, reports = built.reporting.peers, built.reporting.reports
    tenant = await sources_of.usage.tenant(TENANT)
    now = SystemClock().now()
    period = last_full("month", now, tenant.tz)
    wish = ReportWish(kind=kind)
    report = reports.made(TENANT, wish, period, tenant.tz.key, author=AUTHOR)
    frame = Frame(
        tenant_id=TENANT,
        period=period,
        tz=zone(tenant.tz.key),
        currency_code=tenant.currency_code,
        digits=currency_digits(tenant.currency_code),
        filter="",
        group_by=(),
        words=Wording("en"),
        now=now,
    )
    sources = Sources(sources_of, frame)
    sections = [await part(sources) for part in PARTS[kind]]
    document = document_of(report, tenant.currency_code, sections)
    draw = drawn_by(charts, theme=document.theme, currency_code=tenant.currency_code, tz=tenant.tz)
    return await asyncio.to_thread(
        page_pictures, document, draw, url, pixels_per_inch=PIXELS_PER_INCH
    )

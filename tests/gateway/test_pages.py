"""The gateway's own pages, its metrics, and that it names no service."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry

from gateway.app import Gateway
from gateway.descriptors import Catalog, packaged_image
from gateway.settings import GatewaySettings
from tests.gateway.example_image import example_image

ROOT = Path(__file__).parents[2]


async def test_the_documentation_needs_nothing_from_outside(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    names = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [await client.get(name) for name in names]

    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in "".join(names)
    assert [file.status_code for file in files] == [200] * len(names)
    assert len(names) == 5
    assert "/openapi.json" in files[-1].text


async def test_the_root_leads_to_the_documentation(settings: GatewaySettings) -> None:
    gateway = Gateway(
        settings, image=example_image(), meters=CollectorRegistry(), dashboard=Path("none")
    )
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/")

    assert answer.status_code == 307
    assert answer.headers["location"] == "/docs"


async def test_a_dashboard_is_served_from_the_root(
    settings: GatewaySettings, tmp_path: Path
) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>dashboard</p>")
    (tmp_path / "assets" / "app.js").write_text("1")
    gateway = Gateway(
        settings, image=example_image(), meters=CollectorRegistry(), dashboard=tmp_path
    )
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        page = await client.get("/")
        script = await client.get("/assets/app.js")
        outside = await client.get("/assets/..%2f..%2fetc%2fpasswd")

    assert page.text == "<p>dashboard</p>"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert script.headers["content-type"].startswith("text/javascript")
    assert outside.status_code in (404, 503)


async def test_a_page_takes_get_alone(client: httpx.AsyncClient) -> None:
    answer = await client.post("/docs")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_requests_are_counted_by_route(client: httpx.AsyncClient) -> None:
    await client.get("/v1/downloads/some-name")
    await client.get("/made/up/path")

    text = (await client.get("/metrics")).text

    line = 'finops_gateway_requests_total{method="GET",route="/v1/downloads/{name}",status="200"}'
    assert line in text
    assert 'route="other",status="404"' in text
    assert "finops_gateway_request_seconds_bucket" in text
    assert "some-name" not in text
    assert "made" not in text


def test_the_gateway_names_no_service_and_no_method() -> None:
    methods = Catalog(packaged_image()).methods
    names = {m.service.rpartition(".")[2] for m in methods} | {m.name for m in methods}
    packages = {m.service.rpartition(".")[0] for m in methods}

    for path in (ROOT / "gateway").glob("*.py"):
        words = set(re.findall(r"[A-Za-z_][\w.]*", path.read_text()))
        found = words & (names | packages)
        assert not found, f"{path.name} names {found}"

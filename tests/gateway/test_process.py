"""The gateway as a process: `python -m gateway`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest

from gateway.settings import GatewaySettings
from tests.gateway.example_image import example_image
from tests.gateway.example_server import ExampleServer
from tests.support.waiting import eventually

HEADERS = {"authorization": "Bearer alice"}


async def start(folder: Path, **environment: str) -> tuple[asyncio.subprocess.Process, str]:
    """Starts the process and returns it with its address."""
    port_file = folder / "port"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway",
        env={**os.environ, "FINOPS_GATEWAY_LISTEN": "127.0.0.1:0",
             "FINOPS_PORT_FILE": str(port_file), **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip

    async def look() -> str:
        assert process.returncode is None
        return port_file.read_text().strip() if port_file.exists() else ""

    return process, f"http://127.0.0.1:{await eventually(look)}"


async def changed(client: httpx.AsyncClient, status: int) -> httpx.Response | None:
    """Returns the answer of the probe once it differs."""
    answer = await client.get("/readyz")
    return None if answer.status_code == status else answer


async def test_a_signal_is_seen_by_probes_before_the_process_ends(
    example: ExampleServer, tmp_path: Path
) -> None:
    image = tmp_path / "image.binpb"
    image.write_bytes(example_image())
    process, url = await start(
        tmp_path,
        FINOPS_PEERS=json.dumps({"example": f"127.0.0.1:{example.port}"}),
        FINOPS_GATEWAY_IMAGE=str(image),
        FINOPS_GATEWAY_DRAIN_NOTICE_SECONDS="1",
    )

    async with httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        before = await client.get("/readyz")
        slow = asyncio.ensure_future(client.get("/v1/fail/SLOW", headers={"grpc-timeout": "2S"}))
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        during = await eventually(partial(changed, client, before.status_code))
        accepted = await client.get("/v1/query")
        finished = await slow
    output, _ = await asyncio.wait_for(process.communicate(), 20)

    assert before.status_code == 200
    assert during is not None
    assert during.json()["draining"] is True
    assert accepted.status_code == 200
    assert finished.status_code == 504
    assert process.returncode == 0
    events = [json.loads(line) for line in output.decode().splitlines()]
    assert {"listening", "peer serves", "draining"} <= {event["event"] for event in events}
    assert all(event["service"] == "gateway" for event in events)
    assert "alice" not in output.decode()


async def test_a_wrong_setting_ends_the_process_with_a_sentence() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway",
        env={**os.environ, "FINOPS_GATEWAY_JSON_DEPTH_MAX": "5000"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    _, text = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == os.EX_CONFIG
    assert b"FINOPS_GATEWAY_JSON_DEPTH_MAX: " in text
    assert b"5000" not in text


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINOPS_PEERS", '{"a":"b:1"}')
    monkeypatch.setenv("FINOPS_REDIS_URL", "redis://r")
    monkeypatch.setenv("FINOPS_GATEWAY_LISTEN", "[::1]:9")
    monkeypatch.setenv("FINOPS_GATEWAY_ORIGINS", '["https://a"]')

    settings = GatewaySettings()

    assert settings.peers == {"a": "b:1"}
    assert settings.redis_url == "redis://r"
    assert settings.address == ("::1", 9)
    assert settings.origins == ["https://a"]

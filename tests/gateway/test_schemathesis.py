"""The document holds, check by check, for a service whose rules it can say completely."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from gateway.descriptors import Catalog
from gateway.settings import GatewaySettings
from tests.gateway.example_image import example_image
from tests.gateway.example_server import ExampleServer
from tests.gateway.served import served

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


async def test_no_check_of_schemathesis_fails(
    catalog: Catalog, settings: GatewaySettings, tmp_path: Path
) -> None:
    server = ExampleServer(catalog, frozenset({"example.v1.StrictService"}))
    peers = {"strict": await server.start()}
    async with served(settings.model_copy(update={"peers": peers}), example_image()) as (url, _):
        process = await asyncio.create_subprocess_exec(
            SCHEMATHESIS, "--no-color", "run", f"{url}/openapi.json", "--checks", "all",
            "--header", "Authorization: Bearer alice", "--seed", "1", "--max-examples", "5",
            "--phases", "examples,coverage,fuzzing", "--no-shrink",
            "--suppress-health-check", "all",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
            env={key: value for key, value in os.environ.items() if "PROXY" not in key.upper()},
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 120)
    await server.stop()

    assert process.returncode == 0, output.decode()[-10_000:]

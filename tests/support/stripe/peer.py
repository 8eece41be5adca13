"""The stateful Stripe peer as a process, where a Python can run it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket

import httpx
import pytest

PACKAGE = "seahaven-stripe-world[http]==0.3.0"
ENVIRONMENT = Path(__file__).parents[3] / ".venv" / "stripe-peer"
INSTALL_SECONDS = 180
START_SECONDS = 40
_PYTHONS = ("python3.14", "python3.13", "python3.12")


class NoPeer(Exception):
    """The peer cannot run here; the text says why."""


def peer_python() -> Path:
    """Returns the Python of the peer's environment, made when first needed. Raises NoPeer."""
    python = ENVIRONMENT / "bin" / "python"
    if (ENVIRONMENT / "ready").exists():
        return python
    found = next(filter(None, map(_usable, _PYTHONS)), None)
    if found is None:
        raise NoPeer(f"no Python of {', '.join(_PYTHONS)} to run {PACKAGE}")
    building = ENVIRONMENT.with_name(f"stripe-peer-{os.getpid()}")
    install = ("-m", "pip", "install", "-q", "--ignore-requires-python", PACKAGE)
    try:
        for command in (
            (found, "-m", "venv", str(building)),
            (str(building / "bin" / "python"), *install),
        ):
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True)
        (building / "ready").touch()
        building.rename(ENVIRONMENT)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(building, ignore_errors=True)
        if not (ENVIRONMENT / "ready").exists():
            raise NoPeer(f"{PACKAGE} does not install: {error}") from error
    return python


def _usable(name: str) -> str | None:
    """Returns where the Python is, None where there is only a name for it."""
    for candidate in (shutil.which(name), *sorted(_pyenv(name))):
        if candidate is None:
            continue
        ran = subprocess.run([candidate, "--version"], capture_output=True, check=False)
        if ran.returncode == 0:
            return str(candidate)
    return None


def _pyenv(name: str) -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    version = name.removeprefix("python")
    return [str(path) for path in root.glob(f"versions/{version}*/bin/python3")]


@asynccontextmanager
async def running_peer(log: Path) -> AsyncIterator[str]:
    """Runs the peer, and yields its address. Raises NoPeer."""
    python = await asyncio.to_thread(peer_python)
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = '{"startup":{"livemode":false}}'
    main = Path(__file__).with_name("peer_main.py")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting is quick
            [str(python), str(main), "--port", str(port), "--reset-options", options],
            stdout=output,
            stderr=output,
        )
        try:
            yield await _ready(process, f"http://127.0.0.1:{port}", log)
        finally:
            process.kill()
            process.wait()


async def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> str:
    async with httpx.AsyncClient() as client, asyncio.timeout(START_SECONDS):
        while True:
            if process.poll() is not None:
                text = await asyncio.to_thread(log.read_text)
                raise NoPeer(f"{PACKAGE} ended: {text[-500:]}")
            try:
                await client.put(f"{url}/worlds/probe")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return url


@pytest.fixture(scope="session")
async def stripe_peer(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The peer's address; skips where none can run."""
    log = tmp_path_factory.mktemp("stripe") / "peer.log"
    try:
        async with running_peer(log) as url:
            yield url
    except NoPeer as reason:
        pytest.skip(f"no Stripe peer: {reason}")

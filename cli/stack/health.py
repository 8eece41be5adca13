"""How each process of a running stack is."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cli.stack.postgres import EmbeddedPostgres
from cli.stack.processes import serves_grpc, serves_http
from cli.stack.redis import EmbeddedRedis
from cli.stack.services import in_order
from cli.stack.state import ProcessState, StackState

_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """One process.

    condition: `healthy`, `unhealthy`, `down` or, for what runs elsewhere, `external`.
    memory_mb: resident memory; None where it cannot be read.
    """

    name: str
    condition: str
    address: str
    pid: int | None
    restarts: int
    memory_mb: int | None


async def processes_of(data_dir: Path, state: StackState) -> list[ProcessHealth]:
    """Returns the health of every process, in the order in which they start."""
    servers = [
        _server("postgres", state.database_url, EmbeddedPostgres(data_dir).pid),
        _server("redis", state.redis_url, EmbeddedRedis(data_dir).pid),
    ]
    ours = await asyncio.gather(
        *(_process(name, state.processes[name], state) for name in in_order(state.processes))
    )
    return [server for server in servers if server is not None] + list(ours)


def _server(name: str, url: str, pid: int | None) -> ProcessHealth | None:
    """Returns a server's health; without a pid it is either somebody else's or has died."""
    if not url:
        return None
    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port}"
    named = os.environ.get("FINOPS_DATABASE_URL" if name == "postgres" else "FINOPS_REDIS_URL")
    condition = "healthy" if pid else ("external" if named else "down")
    return ProcessHealth(name, condition, address, pid, 0, _memory_mb(pid))


async def _process(name: str, process: ProcessState, state: StackState) -> ProcessHealth:
    if name == "gateway":
        address = state.rest_url
        is_serving = await serves_http(f"{address}/readyz")
    else:
        address = f"127.0.0.1:{process.port}"
        is_serving = await serves_grpc(address)
    condition = "healthy" if is_serving else ("unhealthy" if process.is_alive else "down")
    pid = process.pid if process.is_alive else None
    return ProcessHealth(name, condition, address, pid, process.restarts, _memory_mb(pid))


def _memory_mb(pid: int | None) -> int | None:
    path = Path(f"/proc/{pid}/statm")
    if pid is None or not path.exists():
        return None
    pages = int(path.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // _MEGABYTE

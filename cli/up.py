"""`finops up`: runs the whole suite on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from finops_sdk import AsyncClient

from cli.connection import local_targets, local_token, user_name
from cli.demo import company
from cli.demo.loading import load_demo
from cli.options import DEFAULT_DATA_DIR, DataDir
from cli.output import Output
from cli.stack.detached import start_detached
from cli.stack.keys import load_or_make_keys
from cli.stack.services import describe, service_names
from cli.stack.state import StackState, read_state
from cli.stack.supervisor import Stack
from cli.tokens import sign_token
from services.kernel.clock import SystemClock

app = typer.Typer()
_TOKEN_LIFE = timedelta(days=1)


@app.command()
def up(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help="Port of the gateway. [default: 8080, or a free one]"
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo/--no-demo", help="Load the demo company, once.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when it is up; `finops down` ends it.")
    ] = False,
    service: Annotated[
        list[str] | None,
        typer.Option("--service", help="Run this service alone, not all. Repeat it."),
    ] = None,
) -> None:
    """Runs PostgreSQL, Redis, every service and the gateway until Ctrl-C.

    FINOPS_DATABASE_URL and FINOPS_REDIS_URL name servers to use instead of the embedded ones.
    """
    output = Output()
    services = require_services(service or [])
    if detach:
        arguments = ["--data-dir", str(data_dir), "--demo" if demo else "--no-demo"]
        arguments += ["--port", str(port)] if port else []
        arguments += [part for name in services for part in ("--service", name)]
        start_detached(data_dir, arguments, output.note)
        show_addresses(data_dir, read_state(data_dir), output)
        return
    stack = Stack(data_dir, report=output.note, port=port, services=services)

    async def on_ready(state: StackState) -> None:
        if demo and not state.demo_tenant:
            await add_demo(data_dir, state, output)
        show_addresses(data_dir, state, output)

    asyncio.run(stack.run(on_ready))


def require_services(names: Sequence[str]) -> Sequence[str]:
    """Returns the names; raises typer.BadParameter for one that is no service."""
    known = service_names()
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name} is no service; there are {', '.join(known)}")
    return names


async def add_demo(data_dir: Path, state: StackState, output: Output) -> None:
    """Loads the demo company into a stack that does not have it."""
    began = time.monotonic()
    today = SystemClock().now().astimezone(company.ZONE).date()
    token = local_token(data_dir, company.TENANT, roles=["platform_admin"])
    async with AsyncClient(local_targets(state), token, timeout_seconds=60) as client:
        with output.progress("loading the demo company", None, "events") as advance:
            stored = await load_demo(client, today, advance)
    state.demo_tenant = company.TENANT
    seconds = time.monotonic() - began
    output.note(f"loaded the demo company, invented data: {stored:,} events in {seconds:.1f} s")


def show_addresses(data_dir: Path, state: StackState, output: Output) -> None:
    """Shows where the suite is and a token to try it with."""
    fields: dict[str, object] = {
        "REST": state.rest_url,
        "API documentation": f"{state.rest_url}/docs",
    }
    for name, target in state.targets.items():
        fields[f"gRPC {name}"] = f"{target}  {describe(name)}"
    fields["logs"] = data_dir / "logs"
    tenant = state.demo_tenant
    if tenant:
        fields["demo tenant"] = tenant
        fields["token"] = sign_token(
            load_or_make_keys(data_dir),
            tenant=tenant,
            subject=user_name(),
            roles=["org_admin"],
            now=SystemClock().now(),
            life=_TOKEN_LIFE,
        )
    else:
        fields["token"] = f"finops token --data-dir {data_dir} --tenant NAME"
    output.record(fields)

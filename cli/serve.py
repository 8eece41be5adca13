"""`finops serve`: runs one service in the foreground against a running stack."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cli.errors import UsageError
from cli.options import DEFAULT_DATA_DIR, DataDir
from cli.stack import ports
from cli.stack.keys import load_or_make_keys
from cli.stack.processes import module_command
from cli.stack.services import gateway_environment, service_environment, service_names
from cli.stack.state import running_state

app = typer.Typer()


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="Name of the service, or `gateway`.")],
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port. [default: a free one]")
    ] = None,
) -> None:
    """Runs one more process of a service, with its log in the terminal, beside a running stack.

    For debugging, or as a second replica.
    """
    names = [*service_names(), "gateway"]
    if service not in names:
        raise UsageError(f"There is no service {service!r}; there are {', '.join(names)}")
    state = running_state(data_dir)
    chosen = port or ports.free_port()
    if service == "gateway":
        environment = gateway_environment(
            redis_url=state.redis_url, port=chosen, peers=state.targets
        )
        module = "gateway"
    else:
        environment = service_environment(
            service,
            data_dir=data_dir,
            owner_url=state.database_url,
            redis_url=state.redis_url,
            keys=load_or_make_keys(data_dir),
            port=chosen,
            metrics_port=ports.kept_port(None, {chosen}),
            peers=state.targets,
        )
        module = f"services.{service}"
    os.execve(sys.executable, module_command(module), environment)  # noqa: S606 - ourselves, no shell

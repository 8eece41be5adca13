"""`finops status`: what runs and whether it is healthy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from cli.errors import CommandError
from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat
from cli.output import Format, Output
from cli.stack.health import processes_of
from cli.stack.state import running_state

app = typer.Typer()
_COLUMNS = ("process", "state", "address", "pid", "restarts", "memory_mb")


@app.command()
def status(*, data_dir: DataDir = DEFAULT_DATA_DIR, form: OutputFormat = Format.TABLE) -> None:
    """Shows every process of the local stack: state, address, restarts, memory.

    Exits with 3 when the stack does not run, with 1 when a part of it is not healthy.
    """
    _show(data_dir, Output(form))


def _show(data_dir: Path, output: Output) -> None:
    state = running_state(data_dir)
    found = asyncio.run(processes_of(data_dir, state))
    rows = [
        (item.name, item.condition, item.address, item.pid or "", item.restarts, item.memory_mb)
        for item in found
    ]
    output.rows(_COLUMNS, rows, title=f"{state.phase} since {state.started_at}  {state.rest_url}")
    sick = [item.name for item in found if item.condition not in ("healthy", "external")]
    if sick:
        raise CommandError(
            f"Not healthy: {', '.join(sick)}; see {data_dir / 'logs'} and `finops doctor`"
        )

"""`finops down`: ends the stack on this machine."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cli.options import DEFAULT_DATA_DIR, DataDir
from cli.output import Output
from cli.stack.supervisor import delete_data, stop_stack

app = typer.Typer()


@app.command()
def down(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the data directory and the database too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False,
) -> None:
    """Ends the stack in order: calls in progress finish, everything is on disk.

    It also ends what a killed stack left behind. Nothing to end is not a failure.
    """
    output = Output()
    if purge and not yes:
        typer.confirm(f"Delete everything in {data_dir}, the database included?", abort=True)
    had_any = asyncio.run(stop_stack(data_dir, output.note))
    output.note(f"stopped {data_dir}" if had_any else f"nothing runs on {data_dir}")
    if purge:
        asyncio.run(delete_data(data_dir))
        output.note(f"deleted {data_dir}")

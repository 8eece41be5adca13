"""`finops doctor`: checks the machine and the stack, and says how to mend what is wrong."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import typer

from cli.errors import CommandError
from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat, Url
from cli.output import Format, Output
from cli.stack.checks import Subject, examine
from cli.stack.state import read_state
from services.kernel.clock import SystemClock

app = typer.Typer()


@app.command()
def doctor(
    *, data_dir: DataDir = DEFAULT_DATA_DIR, url: Url = "", form: OutputFormat = Format.TABLE
) -> None:
    """Checks Python, disk, ports, permissions, servers, migrations, health, clock and token.

    Exits with 1 when a check failed; warnings alone do not.
    """
    _examine(data_dir, url, Output(form))


def _examine(data_dir: Path, url: str, output: Output) -> None:
    subject = Subject(
        data_dir=data_dir,
        stack=read_state(data_dir),
        clock=SystemClock(),
        url=url,
        token=os.environ.get("FINOPS_TOKEN", ""),
    )
    findings = asyncio.run(examine(subject))
    rows = [(item.check, item.level, item.detail, item.remedy) for item in findings]
    output.rows(("check", "result", "found", "what to do"), rows, fold=True)
    failed = [item.check for item in findings if item.level == "failed"]
    if failed:
        raise CommandError(f"Failed: {', '.join(failed)}")

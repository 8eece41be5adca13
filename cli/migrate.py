"""`finops migrate`: brings the database up to date."""

from __future__ import annotations

import asyncio

import typer

from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat
from cli.output import Format, Output
from cli.stack.keys import load_or_make_keys
from cli.stack.supervisor import database, migrate_all

app = typer.Typer()


@app.command()
def migrate(*, data_dir: DataDir = DEFAULT_DATA_DIR, form: OutputFormat = Format.TABLE) -> None:
    """Brings every service's schema up to date, in FINOPS_DATABASE_URL or the embedded database.

    It may run while the stack does. Each revision is one transaction.
    """

    async def work() -> dict[str, str]:
        async with database(data_dir) as url:
            return await migrate_all(url, load_or_make_keys(data_dir))

    revisions = asyncio.run(work())
    Output(form).rows(("service", "revision"), list(revisions.items()))

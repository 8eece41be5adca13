"""The options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import Format

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="FINOPS_DATA_DIR",
        help="Data directory of the local stack.",
        file_okay=False,
        resolve_path=True,
    ),
]
DEFAULT_DATA_DIR = Path(".finops")

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="FINOPS_URL",
        help="A suite elsewhere: http(s)://HOST of its gateway, or grpc(s)://HOST:PORT; "
        "FINOPS_TOKEN holds the token. Default: the local stack.",
        show_default=False,
    ),
]
Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        envvar="FINOPS_TENANT",
        help="Tenant. Default: the token's, or the demo's.",
        show_default=False,
    ),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="How results are written.")]
Start = Annotated[
    str,
    typer.Option("--start", help="From this date or RFC 3339 instant on.", show_default=False),
]
End = Annotated[
    str, typer.Option("--end", help="Before this date or RFC 3339 instant.", show_default=False)
]
Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        help='AIP-160 filter, for example: department = "research" AND tags.env = "prod"',
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Rows to show at most.")]

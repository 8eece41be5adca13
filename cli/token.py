"""`finops token`: makes a token for the local stack."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.connection import user_name
from cli.errors import UsageError
from cli.options import DEFAULT_DATA_DIR, DataDir, Tenant
from cli.output import Output
from cli.stack.keys import load_or_make_keys
from cli.stack.state import read_state
from cli.tokens import parse_life, require_roles, sign_token
from services.kernel.clock import SystemClock

app = typer.Typer()


@app.command()
def token(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = "",
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="Role of the token; may be repeated. [default: org_admin]"),
    ] = None,
    subject: Annotated[
        str, typer.Option("--subject", help="Who it is for. Default: you.", show_default=False)
    ] = "",
    expires: Annotated[
        str, typer.Option("--expires", help="How long it is valid: 30m, 24h, 90d.")
    ] = "24h",
) -> None:
    """Prints a token that the local stack accepts, and nothing else.

    Example: curl -H "Authorization: Bearer $(finops token --tenant acme)" …
    """
    roles = role or ["org_admin"]
    require_roles(roles)
    chosen = tenant or read_state(data_dir).demo_tenant
    if not chosen:
        raise UsageError("Say which tenant the token is for: --tenant NAME, or FINOPS_TENANT")
    Output().line(
        sign_token(
            load_or_make_keys(data_dir),
            tenant=chosen,
            subject=subject or user_name(),
            roles=roles,
            now=SystemClock().now(),
            life=parse_life(expires),
        )
    )

"""`finops keys`: the keys that stored secrets are encrypted with."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from finops.records.v1.records_service_pb2 import RotateEncryptionKeysRequest
from pydantic import SecretStr

from cli.connection import ALL_TENANTS, chosen_tenant, open_connection
from cli.errors import UsageError
from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat, Tenant, Url
from cli.output import Format, Output
from cli.stack.keys import StackKeys, load_or_make_keys, store_keys
from cli.stack.services import service_names
from cli.stack.state import read_state, running_state
from cli.stack.supervisor import database
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.migrate import service_role, service_url, worker_role

app = typer.Typer(help="Keeps the keys that secrets are encrypted with.", no_args_is_help=True)
_RENEW_SECONDS = 600.0  # some ten thousand secrets, sealed one by one


@app.callback()
def keys() -> None:
    """Keeps the keys that secrets are encrypted with."""


@app.command()
def rotate(
    *,
    new: Annotated[
        bool, typer.Option("--new", help="Make a new master key first; the stack must be stopped.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    form: OutputFormat = Format.TABLE,
) -> None:
    """Wraps every stored data key by the newest master key, so that older ones can go."""
    if new and read_state(data_dir).is_running:
        raise UsageError("the services know the old key only; stop them by `finops down` first")
    kept = load_or_make_keys(data_dir)
    if new:
        newest = f"{secrets.token_hex(32)},{kept.encryption_keys}"
        kept = replace(kept, encryption_keys=newest)
        store_keys(data_dir, kept)
    rows = asyncio.run(_rotate(data_dir, kept))
    Output(form).rows(("service", "data_keys"), rows)


@app.command()
def renew(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the secrets, change nothing.")
    ] = False,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Gives a tenant a new data key in every service and seals its secrets anew, while all runs.

    As the platform's admin. With --url it is the service behind that gRPC address.
    """
    if url:
        addresses, named = {"": url}, tenant
    else:
        state = running_state(data_dir)
        addresses, named = dict(state.targets), chosen_tenant(state, tenant)
    request = RotateEncryptionKeysRequest(tenant_id=named, dry_run=dry_run)
    rows = []
    for service, address in addresses.items():
        with open_connection(data_dir, url, ALL_TENANTS, address=address) as connection:
            done = connection.client.records.RotateEncryptionKeys(request, timeout=_RENEW_SECONDS)
        rows.append((service, done.secret_count, done.key_id))
    Output(form).rows(("service", "secrets", "data_key"), rows)


async def _rotate(data_dir: Path, kept: StackKeys) -> list[tuple[str, int]]:
    envelope = Envelope([SecretStr(key) for key in kept.encryption_keys.split(",")])
    rows = []
    async with database(data_dir) as owner_url:
        for name in service_names():
            kernel = Database.connect(
                service_url(owner_url, service_role(name), kept.role_secret),
                service=name,
                worker_url=service_url(owner_url, worker_role(name), kept.role_secret),
            )
            try:
                async with kernel.system_transaction() as tx:
                    exists = await tx.driver.fetchval(
                        "SELECT to_regclass($1) IS NOT NULL", f"{name}.data_key"
                    )
                if exists:
                    rows.append((name, await envelope.rotate(kernel)))
            finally:
                await kernel.close()
    return rows

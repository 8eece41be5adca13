"""`finops audit`: who changed what, and whether the log is as it was written."""

from __future__ import annotations

import typer
from finops.audit.v1.audit_service_pb2 import ListAuditEntriesRequest, VerifyAuditChainRequest
from finops.reporting.v1.compliance_messages_pb2 import (
    ListAuditEntriesRequest as SearchAuditEntriesRequest,
)

from cli.connection import open_connection
from cli.errors import CommandError
from cli.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    End,
    Filter,
    Limit,
    OutputFormat,
    Start,
    Tenant,
    Url,
)
from cli.output import Format, Output
from cli.stack.state import running_state
from cli.times import utc_text

app = typer.Typer(help="Reads and verifies the audit log.", no_args_is_help=True)
_VERIFY_SECONDS = 600.0
_VERIFY_COLUMNS = ("service", "is_intact", "entries", "first_broken_sequence", "finding")


@app.command()
def verify(
    *,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Recomputes the tenant's hash chain in every service's log.

    Exits with 1 and names the first changed entry where a chain does not hold. With --url it is the
    log of the service behind that address.
    """
    addresses = {"": url} if url else running_state(data_dir).targets
    rows: list[tuple[object, ...]] = []
    broken = []
    for service, address in addresses.items():
        with open_connection(data_dir, url, tenant, address=address) as connection:
            answer = connection.client.audit.VerifyAuditChain(
                VerifyAuditChainRequest(tenant_id=connection.tenant), timeout=_VERIFY_SECONDS
            )
        first = "" if answer.is_intact else answer.first_broken_sequence
        rows.append((service, answer.is_intact, answer.entries, first, answer.finding))
        if not answer.is_intact:
            broken.append(f"{service} from entry {first} on: {answer.finding}".strip())
    Output(form).rows(_VERIFY_COLUMNS, rows)
    if broken:
        raise CommandError(f"The audit log does not hold: {'; '.join(broken)}")


@app.command("list")
def list_entries(
    *,
    filter_text: Filter = "",
    limit: Limit = 50,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists changes, newest first."""
    with open_connection(data_dir, url, tenant) as connection:
        request = ListAuditEntriesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.audit.ListAuditEntries
        found = connection.collect(call, request, lambda page: page.entries, limit=limit)
    rows = [
        (entry.sequence, utc_text(entry.create_time), entry.actor, entry.action, entry.resource)
        for entry in found
    ]
    columns = ("sequence", "create_time", "actor", "action", "resource")
    Output(form).rows(columns, rows, content=found)


@app.command()
def search(
    *,
    start: Start = "",
    end: End = "",
    filter_text: Filter = "",
    limit: Limit = 50,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Finds changes in the logs of all services, newest first.

    Filter fields: service, actor, action, resource.
    """
    with open_connection(data_dir, url, tenant) as connection:
        request = SearchAuditEntriesRequest(
            tenant_id=connection.tenant, start=start, end=end, filter=filter_text
        )
        call = connection.client.asynchronous.compliance.ListAuditEntries
        found = connection.collect(call, request, lambda page: page.entries, limit=limit)
    rows = [
        (
            each.service,
            each.entry.sequence,
            utc_text(each.entry.create_time),
            each.entry.actor,
            each.entry.action,
            each.entry.resource,
        )
        for each in found
    ]
    columns = ("service", "sequence", "create_time", "actor", "action", "resource")
    Output(form).rows(columns, rows, content=found)

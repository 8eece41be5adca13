"""`finops import`: loads a cloud bill or a usage trace."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from finops.usage.v1.usage_model_pb2 import Import, ImportReject
from finops.usage.v1.usage_service_pb2 import (
    GetImportRequest,
    GetImportResponse,
    ImportUsageRequest,
    ImportUsageResponse,
    ListImportRejectsRequest,
)
from finops_sdk import ApiError, pages
from google.api.httpbody_pb2 import HttpBody

from cli.connection import Connection, open_connection
from cli.errors import CommandError, PartiallyRejected, UsageError
from cli.options import DEFAULT_DATA_DIR, DataDir, OutputFormat, Tenant, Url
from cli.output import Format, Output
from cli.row_count import count_rows
from cli.times import parse_instant

app = typer.Typer()
_PART_BYTES = 8 << 20
_PART_SECONDS = 300.0
_POLL_SECONDS = 0.1
_POLL_SECONDS_MAX = 1.0
_REJECT_COLUMNS = ("file", "row_number", "field", "reason", "excerpt")
_ENDED = (Import.STATE_SUCCEEDED, Import.STATE_FAILED, Import.STATE_CANCELLED)


class Kind(StrEnum):
    """Kinds of file."""

    FOCUS = "focus"
    AWS_CUR = "aws-cur"
    AZURE = "azure"
    OCI = "oci"
    LLM_TRACE = "llm-trace"
    NDJSON = "ndjson"
    CLOUDEVENTS = "cloudevents"


KindName = Annotated[Kind, typer.Argument(help="Kind of file.")]
SourceFile = Annotated[
    Path,
    typer.Argument(help="CSV, Parquet or NDJSON, plain or gzip.", exists=True, dir_okay=False),
]
Model = Annotated[
    str,
    typer.Option("--model", help="Model of an LLM trace that names none.", show_default=False),
]
Origin = Annotated[
    str,
    typer.Option(
        "--start", help="Origin of a trace whose clock starts at zero.", show_default=False
    ),
]
Source = Annotated[
    str,
    typer.Option(
        "--source", help="Source of the events. Default: import/KIND.", show_default=False
    ),
]
RejectsPath = Annotated[
    Path | None,
    typer.Option(
        "--rejects",
        help="Where refused rows are listed. Default: FILE.rejects.csv in this folder.",
        show_default=False,
    ),
]


@app.command("import")
def import_file(
    kind: KindName,
    file: SourceFile,
    *,
    tenant: Tenant = "",
    model: Model = "",
    start: Origin = "",
    source: Source = "",
    rejects: RejectsPath = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Imports a file; importing it again changes nothing.

    A bad row is refused with its number and reason, the rest goes in; then the exit code is 5.
    """
    output = Output(form)
    request = ImportUsageRequest(kind=kind.value, file_name=file.name, model=model, source=source)
    if start:
        request.start_time.CopyFrom(parse_instant(start, "--start"))
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        upload = _Upload(connection, request, file, output)
        job = upload.follow(upload.send())
        path = None
        if job.invalid or job.conflict:
            path = rejects or Path(f"{file.name}.rejects.csv")
            write_rejects(path, file, upload.rejects(job.import_id))
    output.record(
        {
            "accepted": job.accepted,
            "duplicate": job.duplicate,
            "conflict": job.conflict,
            "invalid": job.invalid,
            "rejects": str(path) if path else None,
        }
    )
    if job.state == Import.STATE_FAILED:
        raise CommandError(f"{file}: {job.failure}")
    if job.state == Import.STATE_CANCELLED:
        raise CommandError(f"The import {job.import_id} was cancelled; run it again to finish it")
    if path is not None:
        raise PartiallyRejected(
            f"{job.invalid + job.conflict:,} rows were refused; {path} says which and why"
        )


@dataclass(frozen=True, slots=True)
class _Upload:
    """One file on its way into the suite."""

    connection: Connection
    request: ImportUsageRequest
    file: Path
    output: Output

    def send(self) -> Import:
        """Sends the file in parts and returns the import, which then runs."""
        size = self.file.stat().st_size
        if size == 0:
            raise UsageError(f"{self.file} is empty")
        job = Import()
        part = ImportUsageRequest()
        part.CopyFrom(self.request)
        part.total_bytes = size
        with (
            self.file.open("rb") as reader,
            self.output.progress(f"sending {self.file.name}", size, "bytes") as advance,
        ):
            while job.received_bytes < size:
                reader.seek(job.received_bytes)
                content = reader.read(_PART_BYTES)
                if not content:
                    raise CommandError(f"{self.file} became shorter while it was read")
                part.import_id, part.offset = job.import_id, job.received_bytes
                part.content.CopyFrom(
                    HttpBody(content_type="application/octet-stream", data=content)
                )
                job = self._send_part(part, job)
                advance(job.received_bytes)
        return job

    def _send_part(self, part: ImportUsageRequest, before: Import) -> Import:
        try:
            answer = self.connection.client.usage.ImportUsage(part, timeout=_PART_SECONDS)
        except ApiError:
            # The part may have arrived while its answer was lost; the file goes on after it then.
            if not before.import_id:
                raise
            now = self._get(before.import_id)
            if now.received_bytes <= before.received_bytes:
                raise
            return now
        return _import_of(answer)

    def follow(self, job: Import) -> Import:
        """Waits until the import has ended, and shows how far it is."""
        pause = _POLL_SECONDS
        total = count_rows(self.file)
        with self.output.progress(f"importing {self.file.name}", total, "rows") as advance:
            while job.state not in _ENDED:
                time.sleep(pause)
                pause = min(pause * 1.5, _POLL_SECONDS_MAX)
                job = self._get(job.import_id)
                advance(job.rows)
        return job

    def rejects(self, import_id: str) -> Iterator[ImportReject]:
        """Yields every row that was refused, in file order."""
        request = ListImportRejectsRequest(
            tenant_id=self.connection.tenant, import_id=import_id, page_size=1000
        )
        client = self.connection.client
        for page in client.iterate(pages(client.asynchronous.usage.ListImportRejects, request)):
            yield from page.rejects

    def _get(self, import_id: str) -> Import:
        request = GetImportRequest(tenant_id=self.connection.tenant, import_id=import_id)
        return _import_of(self.connection.client.usage.GetImport(request))


def _import_of(answer: ImportUsageResponse | GetImportResponse) -> Import:
    job: Import = getattr(answer, "import")  # a keyword of Python's
    return job


def write_rejects(path: Path, file: Path, rejects: Iterator[ImportReject]) -> None:
    """Writes one line a refused row: file, row number, field, reason, beginning of the row."""
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(_REJECT_COLUMNS)
        for reject in rejects:
            writer.writerow(
                (file, reject.row_number, reject.field, reject.reject_reason, reject.excerpt)
            )

"""`finops prices`: the price book."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from finops.usage.v1.pricing_model_pb2 import Price, PricingModel
from finops.usage.v1.pricing_service_pb2 import ImportPricesRequest, ListPricesRequest
from google.api.httpbody_pb2 import HttpBody

from cli.connection import open_connection
from cli.errors import UsageError
from cli.options import (
    DEFAULT_DATA_DIR,
    DataDir,
    Filter,
    Limit,
    OutputFormat,
    Tenant,
    Url,
)
from cli.output import Format, Output
from cli.times import parse_instant, utc_text

app = typer.Typer(help="Shows prices and loads price catalogues.")
_CATALOGUE_BYTES_MAX = 64 << 20
_IMPORT_SECONDS = 300.0
_COLUMNS = (
    "price_id",
    "price_book_id",
    "resource_type",
    "meter",
    "provider",
    "resource_id",
    "region",
    "model",
    "unit_price",
    "per_quantity",
    "currency_code",
    "effective_start_time",
    "effective_end_time",
)


class Catalogue(StrEnum):
    """Kinds of price catalogue."""

    LITELLM = "litellm"
    GENAI = "genai"
    CSV = "csv"


@app.callback(invoke_without_command=True)
def prices(
    context: typer.Context,
    *,
    filter_text: Filter = "",
    limit: Limit = 200,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Lists prices: the tenant's own and the global ones."""
    if context.invoked_subcommand is not None:
        return
    with open_connection(data_dir, url, tenant) as connection:
        request = ListPricesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.pricing.ListPrices
        found = connection.collect(call, request, lambda page: page.prices, limit=limit)
    Output(form).rows(_COLUMNS, [_row(price) for price in found], content=found)


def _row(price: Price) -> tuple[object, ...]:
    tiers = ", ".join(
        f"{tier.unit_price} up to {tier.up_to}" if tier.up_to else tier.unit_price
        for tier in price.tiers
    )
    return (
        price.price_id,
        price.price_book_id,
        price.resource_type,
        price.meter,
        price.provider,
        price.resource_id,
        price.region,
        PricingModel.Name(price.model).removeprefix("PRICING_MODEL_").lower(),
        tiers,
        price.per_quantity or "1",
        price.currency_code,
        utc_text(price.effective_start_time),
        utc_text(price.effective_end_time),
    )


@app.command("import")
def import_prices(
    kind: Annotated[Catalogue, typer.Argument(help="Kind of catalogue.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="The catalogue; none for genai.", exists=True, dir_okay=False),
    ] = None,
    *,
    book: Annotated[str, typer.Option("--book", help="Price book to load into.")],
    effective: Annotated[
        str,
        typer.Option("--effective", help="From when the prices hold.", show_default=False),
    ] = "",
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: OutputFormat = Format.TABLE,
) -> None:
    """Loads a catalogue: litellm (JSON), genai (built-in public prices), csv (columns of Price)."""
    if (file is None) != (kind is Catalogue.GENAI):
        raise UsageError(
            "genai takes no file, it is built in" if file else f"{kind} needs a file to load"
        )
    request = ImportPricesRequest(kind=kind.value, price_book_id=book)
    if effective:
        request.effective_start_time.CopyFrom(parse_instant(effective, "--effective"))
    if file is not None:
        if file.stat().st_size > _CATALOGUE_BYTES_MAX:
            raise UsageError(f"{file} has more than 64 MiB; split it")
        request.content.CopyFrom(
            HttpBody(content_type="application/octet-stream", data=file.read_bytes())
        )
    with open_connection(data_dir, url, tenant) as connection:
        request.tenant_id = connection.tenant
        answer = connection.client.pricing.ImportPrices(request, timeout=_IMPORT_SECONDS)
    output = Output(form)
    output.record(
        {
            "created": answer.created,
            "unchanged": answer.unchanged,
            "skipped": list(answer.skipped) if form is Format.JSON else len(answer.skipped),
        }
    )
    if form is Format.TABLE and answer.skipped:
        output.note(f"skipped: {', '.join(answer.skipped[:10])} …")

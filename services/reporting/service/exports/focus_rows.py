"""Entries of usage as rows of FOCUS 1.2.

A row that came from a FOCUS bill is given back as it was: what an event holds, and the text of its
other columns. Any other usage, rated here or billed elsewhere, is described by what is known of it.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from services.reporting.domain.exports import Column, ExportQuestion
from services.reporting.domain.focus import native
from services.reporting.domain.focus.columns import (
    ALLOWED,
    AMOUNTS,
    COLUMNS,
    INSTANTS,
    allowed_spelling,
    exported_name,
)
from services.reporting.service.exports.focus_native import native_columns
from services.reporting.service.exports.peers import UsageEntries
from services.reporting.service.exports.tables import OpenTable, read_page
from services.reporting.service.exports.texts import instants
from services.reporting.service.exports.writing import plain

_PLAIN_NUMBER: Final = r"^-?[0-9]+(\.[0-9]+)?$"
# What an event holds of a bill's row, by FOCUS's names.
_FROM_EVENT: Final = {
    "BilledCost": "billed_cost",
    "EffectiveCost": "effective_cost",
    "ListCost": "list_cost",
    "ContractedCost": "contracted_cost",
    "BillingCurrency": "currency_code",
    "ChargeCategory": "charge_category",
    "ServiceName": "service",
    "ServiceCategory": "service_category",
    "ProviderName": "provider",
    "RegionId": "region",
    "ResourceId": "resource_id",
    "SubAccountId": "sub_account_id",
}


async def open_focus(entries: UsageEntries, question: ExportQuestion) -> OpenTable:
    """Opens the entries of usage as FOCUS; custom columns of the tenant's bills come last."""
    found = await entries.entries(question)
    names = {exported_name(name): name for name in found.bill_columns}
    custom = sorted(names.keys() - set(COLUMNS))
    header = [*COLUMNS, *custom]

    async def pages() -> AsyncGenerator[pa.Table, None]:
        async for page in found.pages:
            yield focus_page(read_page(page), question.wish.tenant_id, header, names)

    return OpenTable([Column(name) for name in header], pages())


def focus_page(
    page: pa.Table, tenant_id: str, header: Sequence[str], names: Mapping[str, str]
) -> pa.Table:
    """Returns a page of entries as rows of FOCUS, every value a text or null.

    names: of the columns that bills keep as text, by their names in `header`.
    """
    is_bill = pc.is_valid(page["bill_columns"]).combine_chunks()
    bills, others = pc.any(is_bill).as_py(), not pc.all(is_bill).as_py()
    billed = _bill_columns(page, header, names) if bills else {}
    described = native_columns(page, tenant_id) if others else {}
    nothing = pa.nulls(page.num_rows, pa.string())
    columns = []
    for name in header:
        of_bill, of_other = billed.get(name, nothing), described.get(name, nothing)
        columns.append(
            pc.if_else(is_bill, of_bill, of_other)
            if bills and others
            else of_bill
            if bills
            else of_other
        )
    return pa.table(columns, names=list(header))


def _bill_columns(
    page: pa.Table, header: Sequence[str], names: Mapping[str, str]
) -> dict[str, Any]:
    """Returns the columns of rows that came from a bill."""
    kept = _kept(page["bill_columns"], sorted({*names.values(), "Tags"}))
    columns = {name: kept[names[name]] for name in header if name in names}
    for name, attribute in _FROM_EVENT.items():
        columns[name] = or_null(plain(page[attribute]).combine_chunks())
    columns["ChargePeriodStart"] = instants(page["start_time"]).combine_chunks()
    columns["ChargePeriodEnd"] = instants(page["end_time"]).combine_chunks()
    tags = plain(page["tags"]).combine_chunks()
    no_tags = pc.if_else(pc.equal(tags, "{}"), pa.scalar(None, pa.string()), tags)
    columns["Tags"] = pc.coalesce(kept["Tags"], no_tags)
    for name in INSTANTS & columns.keys() & names.keys():
        columns[name] = _each(columns[name], _instant)
    for name in AMOUNTS & columns.keys() & names.keys():
        columns[name] = _numbers(columns[name])
    for name in ALLOWED.keys() & columns.keys() & names.keys():
        columns[name] = _each(columns[name], _spelled(name))
    return _unknown_to(names, columns, page.num_rows) | columns


def _unknown_to(names: Mapping[str, str], columns: dict[str, Any], count: int) -> dict[str, Any]:
    """Returns columns that no bill of the tenant has, because its FOCUS is older, but 1.2 demands.

    Only what follows from the other columns: where a bill has the column, its nulls stay.
    """
    nothing = pa.nulls(count, pa.string())

    def where(name: str, value: Any) -> Any:
        return pc.if_else(pc.is_valid(columns.get(name, nothing)), value, nothing)

    units = [columns.get(name, nothing) for name in ("ConsumedUnit", "PricingUnit")]
    quantities = [columns.get(name, nothing) for name in ("ConsumedQuantity", "PricingQuantity")]
    category = columns["ServiceCategory"]
    following = {
        "BillingAccountType": where("BillingAccountId", "Billing Account"),
        "SubAccountType": where("SubAccountId", "Sub Account"),
        "ServiceSubcategory": pc.binary_join_element_wise("Other (", category, ")", ""),
        "SkuMeter": where("SkuId", pc.coalesce(*units, native.CHARGES)),
        "PricingCurrency": columns["BillingCurrency"],
        "PricingCurrencyEffectiveCost": columns["EffectiveCost"],
        "PricingCurrencyListUnitPrice": columns.get("ListUnitPrice", nothing),
        "PricingCurrencyContractedUnitPrice": columns.get("ContractedUnitPrice", nothing),
        "CommitmentDiscountQuantity": where("CommitmentDiscountId", pc.coalesce(*quantities)),
        "CommitmentDiscountUnit": where("CommitmentDiscountId", pc.coalesce(*units)),
    }
    return {name: column for name, column in following.items() if name not in names}


def _kept(column: pa.ChunkedArray, names: Sequence[str]) -> pa.Table:
    """Reads the JSON that bills' rows keep their other columns in."""
    texts = pc.fill_null(column, "{}").combine_chunks()
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    content: bytes = pc.binary_join(whole.cast(pa.list_(pa.binary())), b"\n")[0].as_py()
    return pj.read_json(
        io.BytesIO(content + b"\n"),
        pj.ReadOptions(use_threads=False, block_size=len(content) + 2),
        pj.ParseOptions(
            explicit_schema=pa.schema([pa.field(name, pa.string()) for name in names]),
            unexpected_field_behavior="ignore",
        ),
    ).combine_chunks()


def or_null(column: Any) -> Any:
    """Returns texts with null for those that are empty."""
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _each(column: Any, change: Callable[[str], str]) -> Any:
    """Changes each distinct text once."""
    found = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = found.dictionary_encode()
    changed = pa.array([change(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, changed).cast(pa.string())


def _numbers(column: Any) -> Any:
    """Writes numbers without exponent or plus sign; most are so already."""
    is_plain = pc.match_substring_regex(column, _PLAIN_NUMBER)
    if pc.all(is_plain).as_py() in (True, None):
        return column
    return _each(column, _number)


def _number(text: str) -> str:
    try:
        return format(Decimal(text.strip()), "f")
    except InvalidOperation:
        return text


def _instant(text: str) -> str:
    """Returns an instant as FOCUS writes it; one without a zone is UTC."""
    try:
        at = datetime.fromisoformat(text.strip().replace(" UTC", "Z"))
    except ValueError:
        return text
    aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{aware:%Y-%m-%dT%H:%M:%SZ}"


def _spelled(column: str) -> Callable[[str], str]:
    return lambda text: allowed_spelling(column, text)

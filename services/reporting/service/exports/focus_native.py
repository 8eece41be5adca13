"""Usage that came from no FOCUS bill, described in FOCUS's columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from services.reporting.domain.focus import native
from services.reporting.domain.focus.columns import ALLOWED, allowed_spelling
from services.reporting.service.exports.texts import instants
from services.reporting.service.exports.writing import plain

_NULL: Final = pa.scalar(None, pa.string())
_SECOND: Final = pa.scalar(1_000_000, pa.duration("us"))


class _Page:
    """The columns of a page by their names, as plain texts."""

    def __init__(self, page: pa.Table) -> None:
        self._page = page
        self.rows = page.num_rows

    def __getitem__(self, name: str) -> Any:
        return plain(self._page[name]).combine_chunks()

    def constant(self, text: str) -> Any:
        """Returns the text in every row."""
        return pa.repeat(pa.scalar(text, pa.string()), self.rows)

    def named(self, name: str) -> Any:
        """Returns a column with null for empty texts."""
        column = self[name]
        return pc.if_else(pc.equal(column, ""), _NULL, column)

    def each(self, name: str, change: Callable[[str], str]) -> Any:
        """Returns a column with each distinct text changed."""
        encoded = self[name].dictionary_encode()
        changed = [change(text) for text in encoded.dictionary.to_pylist()]
        found = pa.DictionaryArray.from_arrays(encoded.indices, pa.array(changed, pa.string()))
        return found.cast(pa.string())


def native_columns(table: pa.Table, tenant_id: str) -> dict[str, Any]:
    """Returns every column that has a value in some row.

    The tenant is the billing account, the department the sub account where usage names none.
    Reversals and what replaces them are corrections. Source: FOCUS 1.2, sections on columns.
    """
    page = _Page(table)
    category = page.each("charge_category", _charge_category)
    provider = pc.coalesce(page.named("provider"), page.constant(native.OWN_PROVIDER))
    columns = {
        "BillingAccountId": page.constant(tenant_id),
        "BillingAccountName": page.constant(tenant_id),
        "BillingAccountType": page.constant("Tenant"),
        "BillingCurrency": page["currency_code"],
        "BilledCost": page["billed_cost"],
        "EffectiveCost": page["effective_cost"],
        "ListCost": page["list_cost"],
        "ContractedCost": page["contracted_cost"],
        "ChargeCategory": category,
        "ChargeDescription": pc.binary_join_element_wise(
            page["resource_type"], page.named("resource_id"), " ", null_handling="skip"
        ),
        "ChargeFrequency": pc.if_else(
            pc.equal(category, native.USAGE), "Usage-Based", page.constant("One-Time")
        ),
        "ProviderName": provider,
        "PublisherName": provider,
        "InvoiceIssuerName": provider,
        "RegionId": page.named("region"),
        "RegionName": page.named("region"),
        "ResourceId": page.named("resource_id"),
        "ResourceType": page["resource_type"],
    }
    columns["ResourceType"] = pc.if_else(
        pc.is_valid(columns["ResourceId"]), page["resource_type"], _NULL
    )
    is_corrected = pc.or_(page["is_reversal"], pc.greater(page["revision"], 1))
    columns["ChargeClass"] = pc.if_else(is_corrected, page.constant("Correction"), _NULL)
    return columns | _periods(page) | _service(page) | _account(page) | _measures(page, category)


def _charge_category(text: str) -> str:
    spelled = allowed_spelling("ChargeCategory", text)
    return spelled if spelled in ALLOWED["ChargeCategory"] else native.USAGE


def _periods(page: _Page) -> dict[str, Any]:
    start = pc.floor_temporal(page["start_time"], unit="second")
    # An instant has a period too: FOCUS's is half-open, so it lasts a second at least.
    end = pc.ceil_temporal(page["end_time"], unit="second")
    soonest = pc.add(start, _SECOND)
    end = pc.if_else(pc.greater(end, soonest), end, soonest)
    month = pc.floor_temporal(start, unit="month")
    # Thirty-two days beyond the first lies in the next month, whatever its length.
    beyond = pc.add(month, pa.scalar(32 * 86_400_000_000, pa.duration("us")))
    after = pc.floor_temporal(beyond, unit="month")
    found = {
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "BillingPeriodStart": month,
        "BillingPeriodEnd": after,
    }
    return {name: instants(column) for name, column in found.items()}


def _service(page: _Page) -> dict[str, Any]:
    """Returns service and category: one category a name, so a guess is part of the name."""
    given = page.each("service_category", _service_category)
    given = pc.if_else(pc.equal(given, ""), _NULL, given)
    category = pc.coalesce(given, page.each("resource_type", native.category_of))
    guessed = pc.binary_join_element_wise(
        page.named("service"), page["resource_type"], " ", null_handling="skip"
    )
    named = pc.coalesce(page.named("service"), page["resource_type"])
    name = pc.if_else(pc.is_valid(given), named, guessed)
    encoded = category.dictionary_encode()
    below = [native.subcategory_of(text) for text in encoded.dictionary.to_pylist()]
    subcategory = pa.DictionaryArray.from_arrays(encoded.indices, pa.array(below, pa.string()))
    return {
        "ServiceName": name,
        "ServiceCategory": category,
        "ServiceSubcategory": subcategory.cast(pa.string()),
    }


def _service_category(text: str) -> str:
    spelled = allowed_spelling("ServiceCategory", text)
    return spelled if spelled in ALLOWED["ServiceCategory"] else ""


def _account(page: _Page) -> dict[str, Any]:
    account = page.named("sub_account_id")
    department = page.named("department")
    kind = pc.if_else(
        pc.is_valid(account),
        page.constant("Account"),
        pc.if_else(pc.is_valid(department), page.constant("Department"), _NULL),
    )
    sub_account = pc.coalesce(account, department)
    tags = page["tags"]
    return {
        "SubAccountId": sub_account,
        "SubAccountName": sub_account,
        "SubAccountType": kind,
        "Tags": pc.if_else(pc.equal(tags, "{}"), _NULL, tags),
    }


def _measures(page: _Page, category: Any) -> dict[str, Any]:
    """Returns quantities, prices and what is priced; a tax has none of them."""
    unit = page.each("unit", native.unit_of)
    texts = (page[name].to_pylist() for name in ("quantity", "list_cost", "contracted_cost"))
    prices = [native.priced(*row) for row in zip(*texts, strict=True)]
    by_unit = pa.array([price.is_by_unit for price in prices], pa.bool_())
    is_usage = pc.equal(category, native.USAGE)
    is_tax = pc.equal(category, "Tax")

    def untaxed(column: Any) -> Any:
        return pc.if_else(is_tax, _NULL, column)

    listed = untaxed(pa.array([price.list_price for price in prices], pa.string()))
    contracted = untaxed(pa.array([price.contracted_price for price in prices], pa.string()))
    sku = pc.binary_join_element_wise(
        pc.coalesce(page.named("provider"), page.constant(native.OWN_PROVIDER)),
        page.named("service"),
        page["resource_type"],
        page.named("resource_id"),
        unit,
        "/",
        null_handling="skip",
    )
    return {
        "ConsumedQuantity": pc.if_else(is_usage, page["quantity"], _NULL),
        "ConsumedUnit": pc.if_else(is_usage, unit, _NULL),
        "PricingQuantity": untaxed(pa.array([price.quantity for price in prices], pa.string())),
        "PricingUnit": untaxed(pc.if_else(by_unit, unit, page.constant(native.CHARGES))),
        "PricingCategory": untaxed(page.constant("Standard")),
        "ListUnitPrice": listed,
        "ContractedUnitPrice": contracted,
        "PricingCurrency": page["currency_code"],
        "PricingCurrencyListUnitPrice": listed,
        "PricingCurrencyContractedUnitPrice": contracted,
        "PricingCurrencyEffectiveCost": page["effective_cost"],
        "SkuId": untaxed(sku),
        "SkuPriceId": untaxed(sku),
        "SkuMeter": untaxed(unit),
    }

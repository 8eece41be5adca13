"""FOCUS Cost and Usage, versions 1.0 to 1.4, as events.

Each row is an event whose cost is given: billed, effective, list and contracted, in
BillingCurrency, over the charge period. Attributes are the columns of the same name; besides:
provider is ProviderName, from 1.4 on ServiceProviderName. resource_type is ResourceType, else
ServiceCategory in snake case. Quantity and unit are the consumed ones, else those of pricing, else
1 `charge`. Department, project and user come from well-known tags. All tags are kept; so is the
text of every other column that has a value, custom ones too, so that an export gives it back.

A row is refused where the specification forbids it: a mandatory column that allows no null has no
value, a category outside its allowed values, a number, date, currency or JSON that is none, an end
before its start. Letter case does not count, and times without a zone are UTC, as providers differ.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from operator import itemgetter
from typing import NamedTuple

from services.usage.domain.event import Attributes, Costs
from services.usage.service.importers.attributes import (
    TagReader,
    cell_text,
    checked,
    national_currency,
    one_of,
    required_text,
    snake_case,
)
from services.usage.service.importers.charges import (
    ONE_CHARGE,
    BillLayout,
    Cells,
    EventReader,
    Key,
    Measured,
    Span,
    bill_reader,
    number_cell,
    optional_number_cell,
    ordered,
)
from services.usage.service.importers.focus_columns import (
    CHARGE_CATEGORIES,
    CHARGE_CLASSES,
    FOCUS_COLUMNS,
    SERVICE_CATEGORIES,
    FocusVersion,
    columns_of,
    mandatory_columns,
    version_of,
)
from services.usage.service.importers.rows import ImportKind, ImportOptions
from services.usage.service.importers.tables import Columns
from services.usage.service.importers.values import NO_VALUE, Remembered, Tags, instant, json_tags

_CHARGE_CATEGORIES = {text.lower(): text for text in CHARGE_CATEGORIES}
_CHARGE_CLASSES = {text.lower(): text for text in CHARGE_CLASSES}
_SERVICE_CATEGORIES = {text.lower(): text for text in SERVICE_CATEGORIES}
_SPAN_COLUMNS = ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd")


class _Texts(NamedTuple):
    """The cells that attributes are made of, in the order of `_TEXT_COLUMNS`."""

    service: str
    service_category: str
    resource_type: str
    resource_id: str
    region: str
    sub_account_id: str
    charge_category: str
    charge_class: str
    currency_code: str
    tags: str
    provider: str
    service_provider: str
    billing_account: str
    invoice_issuer: str
    publisher: str


_TEXT_COLUMNS = (
    "ServiceName",
    "ServiceCategory",
    "ResourceType",
    "ResourceId",
    "RegionId",
    "SubAccountId",
    "ChargeCategory",
    "ChargeClass",
    "BillingCurrency",
    "Tags",
    "ProviderName",
    "ServiceProviderName",
    "BillingAccountId",
    "InvoiceIssuerName",
    "PublisherName",
)
# Columns whose values an event holds as they are.
_IN_EVENT = frozenset(
    name.lower()
    for name in (
        "BilledCost",
        "BillingCurrency",
        "ChargeCategory",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "ListCost",
        "ProviderName",
        "RegionId",
        "ResourceId",
        "ServiceCategory",
        "ServiceName",
        "SubAccountId",
        "Tags",
    )
)
_ATTRIBUTE_SOURCES = {
    "resource_type": "ResourceType",
    "resource_id": "ResourceId",
    "service": "ServiceName",
    "provider": "ProviderName",
    "region": "RegionId",
    "sub_account_id": "SubAccountId",
    "unit": "ConsumedUnit",
    "user_id": "Tags",
    "department": "Tags",
    "project": "Tags",
}


def is_focus(columns: Columns) -> bool:
    """Tells by the header: at least half of what every version must have is there."""
    mandatory = mandatory_columns(FocusVersion.V1_4)
    return 2 * sum(column.name in columns for column in mandatory) >= len(mandatory)


def focus_variant(columns: Columns) -> str:
    """Returns what the header is, for example `FOCUS 1.2`."""
    return f"FOCUS {version_of(columns).value}"


def focus_ignored(columns: Columns) -> list[str]:
    """Returns the columns that FOCUS does not define."""
    known = {column.name.lower() for column in columns_of(version_of(columns))}
    return [name for name in columns.names if name.lower() not in known]


def focus_reader(columns: Columns, options: ImportOptions) -> EventReader:
    """Returns the reader of rows under this header. Raises MissingColumns."""
    version = version_of(columns)
    mandatory = mandatory_columns(version)
    columns.require(f"FOCUS {version.value}", *(column.name for column in mandatory))
    layout = BillLayout(
        source=options.source_of(ImportKind.FOCUS),
        attribute_cells=itemgetter(*(columns.find(name) for name in _TEXT_COLUMNS)),
        attributes=_AttributeReader(options, version).read,
        span_cells=itemgetter(*(columns.find(name) for name in _SPAN_COLUMNS)),
        span=_span,
        measured=_MeasuredReader(columns),
        costs=_CostsReader(columns),
        remainder=_RemainderReader(columns),
    )
    return bill_reader(layout)


def remainder_columns(columns: Columns) -> list[tuple[int, str]]:
    """Returns index and name of the columns that an event has no attribute for.

    They are in the order of their names. Names that FOCUS defines are spelled as it does; a file
    may spell them in other letters.
    """
    spelling = {column.name.lower(): column.name for column in FOCUS_COLUMNS}
    found = [
        (index, spelling.get(name.lower(), name))
        for index, name in enumerate(columns.names)
        if name.lower() not in _IN_EVENT
    ]
    return sorted(found, key=itemgetter(1))


class _RemainderReader:
    """Writes what a row says beyond its event as a JSON object of texts."""

    def __init__(self, columns: Columns) -> None:
        self._columns = [
            (index, f"{encode_basestring(name)}:") for index, name in remainder_columns(columns)
        ]
        self._tags_index = columns.find("Tags")
        self._tags = Remembered(_unusual_tags)

    def __call__(self, cells: Cells) -> str:
        parts = [
            name + encode_basestring(cells[index])
            for index, name in self._columns
            if cells[index] not in NO_VALUE
        ]
        tags = cells[self._tags_index]
        if tags not in NO_VALUE and (unusual := self._tags(tags)):
            parts.append(unusual)
        return f"{{{','.join(parts)}}}"


def _unusual_tags(text: str) -> str:
    """Returns tags whose values are not all texts, as a part of a JSON object; "" for others."""
    if json.loads(text) == dict(json_tags(text, "Tags")):
        return ""
    return f'"Tags":{encode_basestring(text)}'


class _AttributeReader:
    """Reads and checks everything that a row says in words."""

    def __init__(self, options: ImportOptions, version: FocusVersion) -> None:
        bearers = TagReader(options.tag_keys).bearers

        def tagged(text: str) -> tuple[Tags, tuple[str, str, str]]:
            tags = json_tags(text, "Tags")
            return tags, bearers(tags)

        self._tagged = Remembered(tagged)
        self._names_service_provider = version is FocusVersion.V1_4
        self._required = [
            (_TEXT_COLUMNS.index(column.name), column.name)
            for column in mandatory_columns(version)
            if not column.is_nullable and column.name in _TEXT_COLUMNS
        ]

    def read(self, unit: str, key: Key) -> Attributes:
        """Returns the attributes of rows with these texts."""
        for index, name in self._required:
            required_text(key[index], name)
        texts = _Texts(*key)
        if texts.charge_class not in NO_VALUE:
            one_of(texts.charge_class, "ChargeClass", _CHARGE_CLASSES)
        category = one_of(texts.service_category, "ServiceCategory", _SERVICE_CATEGORIES)
        tags, (user_id, department, project) = self._tagged(texts.tags)
        return checked(
            Attributes(
                resource_type=cell_text(texts.resource_type) or snake_case(category),
                unit=unit,
                currency_code=national_currency(texts.currency_code, "BillingCurrency"),
                user_id=user_id,
                department=department,
                project=project,
                resource_id=cell_text(texts.resource_id),
                service=cell_text(texts.service),
                service_category=category,
                provider=self._provider(texts),
                region=cell_text(texts.region),
                sub_account_id=cell_text(texts.sub_account_id),
                charge_category=one_of(texts.charge_category, "ChargeCategory", _CHARGE_CATEGORIES),
                tags=tags,
            ),
            _ATTRIBUTE_SOURCES,
        )

    def _provider(self, texts: _Texts) -> str:
        if self._names_service_provider:
            return cell_text(texts.service_provider)
        return cell_text(texts.provider)


def _span(key: Key) -> Span:
    for text, column in zip(key, _SPAN_COLUMNS, strict=True):
        required_text(text, column)
    start, end, billing_start, billing_end = (
        instant(text, column) for text, column in zip(key, _SPAN_COLUMNS, strict=True)
    )
    ordered(Span(billing_start, billing_end), "BillingPeriodEnd")
    return ordered(Span(start, end), "ChargePeriodEnd")


class _CostsReader:
    """Reads the four costs."""

    def __init__(self, columns: Columns) -> None:
        self._billed, self._effective, self._list, self._contracted = (
            number_cell(columns.find(name), name)
            for name in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
        )

    def __call__(self, cells: Cells) -> Costs:
        return Costs(
            self._billed(cells), self._effective(cells), self._list(cells), self._contracted(cells)
        )


class _MeasuredReader:
    """Reads what was consumed, else what was priced."""

    def __init__(self, columns: Columns) -> None:
        self._consumed, self._pricing = (
            optional_number_cell(columns.find(name), name)
            for name in ("ConsumedQuantity", "PricingQuantity")
        )
        self._consumed_unit = columns.find("ConsumedUnit")
        self._pricing_unit = columns.find("PricingUnit")

    def __call__(self, cells: Cells) -> Measured:
        consumed, pricing = self._consumed(cells), self._pricing(cells)
        unit = cells[self._consumed_unit]
        if consumed is not None and unit not in NO_VALUE:
            return Measured(consumed, unit)
        unit = cells[self._pricing_unit]
        if pricing is not None and unit not in NO_VALUE:
            return Measured(pricing, unit)
        return ONE_CHARGE

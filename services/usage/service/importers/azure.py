"""Azure cost exports of Enterprise Agreements and Customer Agreements, as events.

Mapped to FOCUS by the rules of the FinOps Foundation's converters: BilledCost and EffectiveCost are
the cost in billing currency, ServiceName is ConsumedService, SubAccountId the subscription. An
export holds either actual or amortized costs, so import one of the two. List and contracted cost,
which those rules leave open, are the billed one. The charge period is the day of `Date`, not the
stretch since the billing period began which those rules give. The unit is UnitOfMeasure as it is,
because Quantity counts in it: `10K` is ten thousand operations. Tags come with or without braces.
Department is the department tag, else the invoice section, which is the department of an
Enterprise Agreement.
"""

from __future__ import annotations

from datetime import timedelta
from operator import itemgetter
from typing import NamedTuple

from services.usage.domain.event import Attributes, Costs
from services.usage.service.importers.attributes import (
    TagReader,
    cell_text,
    checked,
    national_currency,
    required_text,
    snake_case,
)
from services.usage.service.importers.charges import (
    BillLayout,
    Cells,
    EventReader,
    Key,
    Span,
    bill_reader,
    measured_cells,
    number_cell,
    optional_number_cell,
)
from services.usage.service.importers.rows import ImportKind, ImportOptions
from services.usage.service.importers.service_categories import AZURE_CATEGORIES, service_category
from services.usage.service.importers.tables import Columns
from services.usage.service.importers.values import (
    NO_VALUE,
    Remembered,
    Tags,
    american_day,
    json_tags,
    rounded_number,
)

KIND_NAME = "an Azure cost export"
_COST = ("CostInBillingCurrency", "Cost", "PreTaxCost")
_CURRENCY = ("BillingCurrencyCode", "BillingCurrency", "Currency")
_SECTION = ("InvoiceSectionName", "InvoiceSection")
_REQUIRED = (
    "Date",
    _COST,
    _CURRENCY,
    "ChargeType",
    "ConsumedService",
    "SubscriptionId",
    "Quantity",
    "UnitOfMeasure",
)
_CATEGORY_OF_TYPE = {
    "usage": "Usage",
    "purchase": "Purchase",
    "tax": "Tax",
    "unusedreservation": "Usage",
    "unusedsavingsplan": "Usage",
}
_NO_SECTION = "Unassigned"
_DAY = timedelta(days=1)


class _Texts(NamedTuple):
    """The cells that attributes are made of."""

    service: str
    subscription: str
    charge_type: str
    currency_code: str
    location: str
    resource_id: str
    section: str
    tags: str
    meter_category: str


_TEXT_COLUMNS: tuple[tuple[str, ...], ...] = (
    ("ConsumedService",),
    ("SubscriptionId",),
    ("ChargeType",),
    _CURRENCY,
    ("ResourceLocation",),
    ("ResourceId", "InstanceId"),
    _SECTION,
    ("Tags",),
    ("MeterCategory",),
)
_ATTRIBUTE_SOURCES = {
    "service": "ConsumedService",
    "resource_id": "ResourceId",
    "sub_account_id": "SubscriptionId",
    "region": "ResourceLocation",
    "unit": "UnitOfMeasure",
}


def is_azure(columns: Columns) -> bool:
    """Tells by the header."""
    return "MeterCategory" in columns and "SubscriptionId" in columns and "Date" in columns


def azure_reader(columns: Columns, options: ImportOptions) -> EventReader:
    """Returns the reader of rows under this header. Raises MissingColumns."""
    columns.require(KIND_NAME, *_REQUIRED)
    cost_name = next(name for name in _COST if name in columns)
    cost = number_cell(columns.find(cost_name), cost_name, rounded_number)

    def costs(cells: Cells) -> Costs:
        amount = cost(cells)
        return Costs(amount, amount, amount, amount)

    quantity = optional_number_cell(columns.find("Quantity"), "Quantity", rounded_number)
    layout = BillLayout(
        source=options.source_of(ImportKind.AZURE),
        attribute_cells=itemgetter(*(columns.find(*names) for names in _TEXT_COLUMNS)),
        attributes=_AttributeReader(options).read,
        span_cells=itemgetter(columns.find("Date"), columns.width),
        span=_span,
        measured=measured_cells(quantity, columns.find("UnitOfMeasure")),
        costs=costs,
    )
    return bill_reader(layout)


class _AttributeReader:
    """Reads and checks everything that a row says in words."""

    def __init__(self, options: ImportOptions) -> None:
        self._bearers = TagReader(options.tag_keys).bearers
        self._tags = Remembered(_tags)

    def read(self, unit: str, key: Key) -> Attributes:
        """Returns the attributes of rows with these texts."""
        texts = _Texts(*key)
        charge_type = required_text(texts.charge_type, "ChargeType")
        service = cell_text(texts.service)
        category = service_category(service, AZURE_CATEGORIES)
        tags = self._tags(texts.tags)
        user_id, department, project = self._bearers(tags)
        return checked(
            Attributes(
                resource_type=_resource_type(texts, category),
                unit=unit,
                currency_code=national_currency(texts.currency_code, "BillingCurrency"),
                user_id=user_id,
                department=department or _section(texts.section),
                project=project,
                resource_id=cell_text(texts.resource_id),
                service=service,
                service_category=category,
                provider="Azure",
                region=cell_text(texts.location),
                sub_account_id=cell_text(texts.subscription),
                charge_category=_CATEGORY_OF_TYPE.get(charge_type.lower(), "Adjustment"),
                tags=tags,
            ),
            _ATTRIBUTE_SOURCES,
        )


def _section(text: str) -> str:
    section = cell_text(text)
    return "" if section == _NO_SECTION else section


def _tags(text: str) -> Tags:
    text = text.strip()
    if text in NO_VALUE or text.startswith("{"):
        return json_tags(text, "Tags")
    return json_tags("{" + text + "}", "Tags")


def _resource_type(texts: _Texts, category: str) -> str:
    """Returns `namespace/type` of the resource id, else the meter's or the service's category."""
    *_, last = texts.resource_id.lower().rpartition("/providers/")
    parts = last.split("/")
    if last != texts.resource_id.lower() and len(parts) > 1 and parts[1]:
        return f"{parts[0]}/{parts[1]}"
    return snake_case(cell_text(texts.meter_category) or category)


def _span(key: Key) -> Span:
    day = american_day(required_text(key[0], "Date"), "Date")
    return Span(day, day + _DAY)

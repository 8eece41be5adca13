"""Oracle Cloud Infrastructure cost reports, as events.

Mapped to FOCUS by the rules of the FinOps Foundation's converters: EffectiveCost is `cost/myCost`,
ServiceName `product/service`, SubAccountId the tenancy. BilledCost is `cost/myCostOverage` where
the row is flagged as overage and has it; those rules take it always, but it is blank in all other
rows, whose billed cost is `cost/myCost`. List and contracted cost, which the rules leave open, are
the effective one. Each `tags/` column that has a value is a tag; department, project and user are
found by the part of its name after the namespace.
"""

from __future__ import annotations

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
    ordered,
)
from services.usage.service.importers.rows import ImportKind, ImportOptions
from services.usage.service.importers.service_categories import OCI_CATEGORIES, service_category
from services.usage.service.importers.tables import Columns
from services.usage.service.importers.values import checked_tags, instant

KIND_NAME = "an OCI cost report"
_START, _END = "lineItem/intervalUsageStart", "lineItem/intervalUsageEnd"
_REQUIRED = (
    "lineItem/tenantId",
    _START,
    _END,
    "product/service",
    "usage/billedQuantity",
    "cost/myCost",
    "cost/currencyCode",
)
_TAG_PREFIX = "tags/"
_OCID = "ocid1"


class _Texts(NamedTuple):
    """The cells that attributes are made of, before those of the tags."""

    service: str
    tenancy: str
    currency_code: str
    region: str
    resource_id: str


_TEXT_COLUMNS = (
    "product/service",
    "lineItem/tenantId",
    "cost/currencyCode",
    "product/region",
    "product/resourceId",
)
_ATTRIBUTE_SOURCES = {
    "service": "product/service",
    "resource_id": "product/resourceId",
    "sub_account_id": "lineItem/tenantId",
    "region": "product/region",
    "unit": "cost/skuUnitDescription",
}


def is_oci(columns: Columns) -> bool:
    """Tells by the header."""
    return "cost/myCost" in columns


def oci_reader(columns: Columns, options: ImportOptions) -> EventReader:
    """Returns the reader of rows under this header. Raises MissingColumns."""
    columns.require(KIND_NAME, *_REQUIRED)
    tags = [
        (index, name.removeprefix(_TAG_PREFIX))
        for index, name in enumerate(columns.names)
        if name.startswith(_TAG_PREFIX)
    ]
    cells = [columns.find(name) for name in _TEXT_COLUMNS] + [index for index, _ in tags]
    quantity = optional_number_cell(columns.find("usage/billedQuantity"), "usage/billedQuantity")
    layout = BillLayout(
        source=options.source_of(ImportKind.OCI),
        attribute_cells=itemgetter(*cells),
        attributes=_AttributeReader([key for _, key in tags], options).read,
        span_cells=itemgetter(columns.find(_START), columns.find(_END)),
        span=_span,
        measured=measured_cells(quantity, columns.find("cost/skuUnitDescription")),
        costs=_CostsReader(columns),
    )
    return bill_reader(layout)


class _AttributeReader:
    """Reads and checks everything that a row says in words."""

    def __init__(self, tag_keys: list[str], options: ImportOptions) -> None:
        self._tag_keys = tag_keys
        self._bearers = TagReader(options.tag_keys).bearers

    def read(self, unit: str, key: Key) -> Attributes:
        """Returns the attributes of rows with these texts."""
        places = len(_TEXT_COLUMNS)
        texts = _Texts(*key[:places])
        service = required_text(texts.service, "product/service")
        pairs = zip(self._tag_keys, key[places:], strict=True)
        tags = checked_tags(((name, cell) for name, cell in pairs if cell_text(cell)), "tags")
        user_id, department, project = self._bearers(
            (name.partition(".")[2] or name, value) for name, value in tags
        )
        return checked(
            Attributes(
                resource_type=_resource_type(texts),
                unit=unit,
                currency_code=national_currency(texts.currency_code, "cost/currencyCode"),
                user_id=user_id,
                department=department,
                project=project,
                resource_id=cell_text(texts.resource_id),
                service=service,
                service_category=service_category(service, OCI_CATEGORIES),
                provider="Oracle",
                region=cell_text(texts.region),
                sub_account_id=required_text(texts.tenancy, "lineItem/tenantId"),
                charge_category="Usage",
                tags=tags,
            ),
            _ATTRIBUTE_SOURCES,
        )


def _resource_type(texts: _Texts) -> str:
    """Returns the type in the resource's OCID, else the service."""
    parts = texts.resource_id.split(".")
    if parts[0] == _OCID and len(parts) > 1 and parts[1]:
        return parts[1]
    return snake_case(texts.service)


def _span(key: Key) -> Span:
    start, end = key
    return ordered(Span(instant(start, _START), instant(end, _END)), _END)


class _CostsReader:
    """Reads what was billed and what it came to."""

    def __init__(self, columns: Columns) -> None:
        self._flag = columns.find("cost/overageFlag")
        self._cost = number_cell(columns.find("cost/myCost"), "cost/myCost")
        self._overage = optional_number_cell(
            columns.find("cost/myCostOverage"), "cost/myCostOverage"
        )

    def __call__(self, cells: Cells) -> Costs:
        cost = self._cost(cells)
        overage = self._overage(cells) if cells[self._flag].lower() == "true" else None
        return Costs(cost if overage is None else overage, cost, cost, cost)

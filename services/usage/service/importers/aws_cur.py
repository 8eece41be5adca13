"""AWS Cost and Usage Reports, the legacy CSV and its Athena form, as events.

The columns are matched in both of their spellings, `lineItem/UnblendedCost` and
`line_item_unblended_cost`. Mapped to FOCUS by the rules of the FinOps Foundation's converters:
BilledCost is the net unblended cost, else the unblended one; EffectiveCost follows the line item's
type; ListCost is the public rate times the usage, rounded to 18 digits, else the public cost, else
the billed one. ContractedCost, which a report does not hold, is the billed one. ServiceName is the
product code. Two things differ from those rules, which are older than FOCUS 1.0: a line item of
type Credit has the charge category `Credit`, and one of unknown type is refused, not left blank.
Resource and user-defined tags are the tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from services.kernel.money import EXACT
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
from services.usage.service.importers.rows import ImportKind, ImportOptions, RowProblem
from services.usage.service.importers.service_categories import AWS_CATEGORIES, service_category
from services.usage.service.importers.tables import Columns
from services.usage.service.importers.values import checked_tags, instant, rounded_to_scale

KIND_NAME = "an AWS Cost and Usage Report"
_REQUIRED = (
    "bill/PayerAccountId",
    "lineItem/UsageAccountId",
    "lineItem/LineItemType",
    "lineItem/UsageStartDate",
    "lineItem/UsageEndDate",
    "lineItem/ProductCode",
    "lineItem/UsageAmount",
    "lineItem/CurrencyCode",
    "lineItem/UnblendedCost",
)
_TAG_PREFIXES = ("resourceTags/user:", "resourceTags/", "resource_tags_user_", "resource_tags_")
_CATEGORY_OF_TYPE = {
    "Tax": "Tax",
    "Fee": "Purchase",
    "RIFee": "Purchase",
    "SavingsPlanUpfrontFee": "Purchase",
    "SavingsPlanRecurringFee": "Purchase",
    "Usage": "Usage",
    "DiscountedUsage": "Usage",
    "SavingsPlanCoveredUsage": "Usage",
    "SavingsPlanNegation": "Usage",
    "BundledDiscount": "Usage",
    "Discount": "Usage",
    "EdpDiscount": "Usage",
    "PrivateRateDiscount": "Usage",
    "RiVolumeDiscount": "Usage",
    "SppDiscount": "Usage",
    "Credit": "Credit",
    "Refund": "Adjustment",
}
_ZERO = Decimal(0)
_ARN_RESOURCE = 5  # arn:partition:service:region:account:resource
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class _Texts(NamedTuple):
    """The cells that attributes are made of, before those of the tags."""

    line_item_type: str
    product_code: str
    usage_account: str
    currency_code: str
    region: str
    region_code: str
    resource_id: str
    product_family: str


_TEXT_COLUMNS = (
    "lineItem/LineItemType",
    "lineItem/ProductCode",
    "lineItem/UsageAccountId",
    "lineItem/CurrencyCode",
    "product/region",
    "product/regionCode",
    "lineItem/ResourceId",
    "product/productFamily",
)
_ATTRIBUTE_SOURCES = {
    "service": "lineItem/ProductCode",
    "resource_id": "lineItem/ResourceId",
    "resource_type": "lineItem/ResourceId",
    "sub_account_id": "lineItem/UsageAccountId",
    "region": "product/region",
    "unit": "pricing/unit",
}


def is_aws_cur(columns: Columns) -> bool:
    """Tells by the header."""
    return bool({"lineItem/UnblendedCost", "line_item_unblended_cost"} & set(columns.names))


def aws_cur_reader(columns: Columns, options: ImportOptions) -> EventReader:
    """Returns the reader of rows under this header. Raises MissingColumns."""
    columns.require(KIND_NAME, *((name, _athena_name(name)) for name in _REQUIRED))
    tags = [
        (index, _tag_key(name))
        for index, name in enumerate(columns.names)
        if name.startswith(_TAG_PREFIXES)
    ]
    dates = ("lineItem/UsageStartDate", "lineItem/UsageEndDate")
    cells = [_find(columns, name) for name in _TEXT_COLUMNS] + [index for index, _ in tags]
    amount = optional_number_cell(_find(columns, "lineItem/UsageAmount"), "lineItem/UsageAmount")
    layout = BillLayout(
        source=options.source_of(ImportKind.AWS_CUR),
        attribute_cells=itemgetter(*cells),
        attributes=_AttributeReader([key for _, key in tags], options).read,
        span_cells=itemgetter(*(_find(columns, name) for name in dates)),
        span=_span,
        measured=measured_cells(amount, _find(columns, "pricing/unit")),
        costs=_CostsReader(columns),
    )
    return bill_reader(layout)


def _athena_name(name: str) -> str:
    return _WORD_STARTS.sub("_", name).replace("/", "_").lower()


def _find(columns: Columns, name: str) -> int:
    return columns.find(name, _athena_name(name))


def _tag_key(column: str) -> str:
    prefix = next(prefix for prefix in _TAG_PREFIXES if column.startswith(prefix))
    return column.removeprefix(prefix)


class _AttributeReader:
    """Reads and checks everything that a row says in words."""

    def __init__(self, tag_keys: list[str], options: ImportOptions) -> None:
        self._tag_keys = tag_keys
        self._bearers = TagReader(options.tag_keys).bearers

    def read(self, unit: str, key: Key) -> Attributes:
        """Returns the attributes of rows with these texts."""
        places = len(_TEXT_COLUMNS)
        texts = _Texts(*key[:places])
        item_type = required_text(texts.line_item_type, "lineItem/LineItemType")
        if item_type not in _CATEGORY_OF_TYPE:
            raise RowProblem("lineItem/LineItemType", f"is not known: {item_type[:40]!r}")
        service = required_text(texts.product_code, "lineItem/ProductCode")
        category = service_category(service, AWS_CATEGORIES)
        pairs = zip(self._tag_keys, key[places:], strict=True)
        tags = checked_tags(((name, cell) for name, cell in pairs if cell_text(cell)), "tags")
        user_id, department, project = self._bearers(tags)
        return checked(
            Attributes(
                resource_type=_resource_type(texts, category),
                unit=unit,
                currency_code=national_currency(texts.currency_code, "lineItem/CurrencyCode"),
                user_id=user_id,
                department=department,
                project=project,
                resource_id=cell_text(texts.resource_id),
                service=service,
                service_category=category,
                provider="AWS",
                region=cell_text(texts.region) or cell_text(texts.region_code),
                sub_account_id=required_text(texts.usage_account, "lineItem/UsageAccountId"),
                charge_category=_CATEGORY_OF_TYPE[item_type],
                tags=tags,
            ),
            _ATTRIBUTE_SOURCES,
        )


def _resource_type(texts: _Texts, category: str) -> str:
    """Returns the ARN's resource type, else the product family, else the service category."""
    parts = texts.resource_id.split(":")
    if parts[0] == "arn" and len(parts) > _ARN_RESOURCE:
        kind, _, name = parts[_ARN_RESOURCE].partition("/")
        if kind and (name or len(parts) > _ARN_RESOURCE + 1):
            return kind
    return snake_case(cell_text(texts.product_family) or category)


def _span(key: Key) -> Span:
    start, end = key
    return ordered(
        Span(instant(start, "lineItem/UsageStartDate"), instant(end, "lineItem/UsageEndDate")),
        "lineItem/UsageEndDate",
    )


class _CostsReader:
    """Reads the costs as the line item's type has them."""

    def __init__(self, columns: Columns) -> None:
        self._type = _find(columns, "lineItem/LineItemType")
        self._reservation = columns.find(
            "reservation/ReservationARN", "reservation_reservation_a_r_n"
        )
        self._unblended = number_cell(
            _find(columns, "lineItem/UnblendedCost"), "lineItem/UnblendedCost"
        )
        (
            self._net,
            self._amount,
            self._public_rate,
            self._public_cost,
            self._savings_plan,
            self._commitment,
            self._used_commitment,
            self._reservation_cost,
            self._unused_upfront,
            self._unused_recurring,
        ) = (
            optional_number_cell(_find(columns, name), name)
            for name in (
                "lineItem/NetUnblendedCost",
                "lineItem/UsageAmount",
                "pricing/publicOnDemandRate",
                "pricing/publicOnDemandCost",
                "savingsPlan/SavingsPlanEffectiveCost",
                "savingsPlan/TotalCommitmentToDate",
                "savingsPlan/UsedCommitment",
                "reservation/EffectiveCost",
                "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod",
                "reservation/UnusedRecurringFee",
            )
        )

        self._amortized: dict[str, Callable[[Cells, Decimal], Decimal]] = {
            "SavingsPlanCoveredUsage": self._covered_by_plan,
            "SavingsPlanRecurringFee": self._unused_plan,
            "SavingsPlanNegation": _nothing,
            "SavingsPlanUpfrontFee": _nothing,
            "DiscountedUsage": self._reserved,
            "RIFee": self._unused_reservation,
            "Fee": self._fee,
        }

    def __call__(self, cells: Cells) -> Costs:
        unblended = self._unblended(cells)
        net = self._net(cells)
        billed = unblended if net is None else net
        return Costs(billed, self._effective(cells, unblended), self._listed(cells, billed), billed)

    def _effective(self, cells: Cells, unblended: Decimal) -> Decimal:
        amortized = self._amortized.get(cells[self._type])
        return unblended if amortized is None else amortized(cells, unblended)

    def _covered_by_plan(self, cells: Cells, _: Decimal) -> Decimal:
        return _given(self._savings_plan(cells), "savingsPlan/SavingsPlanEffectiveCost")

    def _reserved(self, cells: Cells, _: Decimal) -> Decimal:
        return _given(self._reservation_cost(cells), "reservation/EffectiveCost")

    def _unused_plan(self, cells: Cells, _: Decimal) -> Decimal:
        used = self._used_commitment(cells) or _ZERO
        return EXACT.subtract(self._commitment(cells) or _ZERO, used)

    def _unused_reservation(self, cells: Cells, _: Decimal) -> Decimal:
        recurring = self._unused_recurring(cells) or _ZERO
        return EXACT.add(self._unused_upfront(cells) or _ZERO, recurring)

    def _fee(self, cells: Cells, unblended: Decimal) -> Decimal:
        """An upfront fee of a reservation is spread over the usage it covers."""
        return _ZERO if cell_text(cells[self._reservation]) else unblended

    def _listed(self, cells: Cells, billed: Decimal) -> Decimal:
        rate, amount = self._public_rate(cells), self._amount(cells)
        if rate is not None and amount is not None:
            return rounded_to_scale(EXACT.multiply(rate, amount))
        cost = self._public_cost(cells)
        return billed if cost is None else cost


def _nothing(_cells: Cells, _unblended: Decimal) -> Decimal:
    return _ZERO


def _given(cost: Decimal | None, column: str) -> Decimal:
    if cost is None:
        raise RowProblem(column, "has no value, which this type of line item must have")
    return cost

"""The columns of FOCUS Cost and Usage, versions 1.0 to 1.4: levels, nulls and allowed values.

Source: the FOCUS specification, https://focus.finops.org, sections on columns of each version.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from services.usage.service.importers.tables import Columns


class Level(Enum):
    """Whether a data set must have the column. CONDITIONAL: where the provider supports it."""

    MANDATORY = "Mandatory"
    CONDITIONAL = "Conditional"
    RECOMMENDED = "Recommended"


class Content(Enum):
    """What a column holds."""

    TEXT = "String"
    DECIMAL = "Decimal"
    INSTANT = "Date/Time"
    JSON = "JSON"


class FocusVersion(Enum):
    """Versions of FOCUS that can be imported."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"
    V1_3 = "1.3"
    V1_4 = "1.4"


class FocusColumn(NamedTuple):
    """One column: since when it is there, and the first version without it, if there is one."""

    name: str
    level: Level
    is_nullable: bool
    content: Content = Content.TEXT
    since: FocusVersion = FocusVersion.V1_0
    removed_in: FocusVersion | None = None


CHARGE_CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
CHARGE_CLASSES = ("Correction",)
SERVICE_CATEGORIES = (
    "AI and Machine Learning",
    "Analytics",
    "Business Applications",
    "Compute",
    "Databases",
    "Developer Tools",
    "Identity",
    "Integration",
    "Internet of Things",
    "Management and Governance",
    "Media",
    "Migration",
    "Mobile",
    "Multicloud",
    "Networking",
    "Security",
    "Storage",
    "Web",
    "Other",
)

_M, _C, _R = Level.MANDATORY, Level.CONDITIONAL, Level.RECOMMENDED
_DECIMAL, _INSTANT, _JSON, _TEXT = Content.DECIMAL, Content.INSTANT, Content.JSON, Content.TEXT
_V1_1, _V1_2 = FocusVersion.V1_1, FocusVersion.V1_2
_V1_3, _V1_4 = FocusVersion.V1_3, FocusVersion.V1_4

FOCUS_COLUMNS = (
    FocusColumn("AllocatedMethodDetails", _R, is_nullable=True, content=_JSON, since=_V1_3),
    FocusColumn("AllocatedMethodId", _C, is_nullable=True, since=_V1_3),
    FocusColumn("AllocatedResourceId", _C, is_nullable=True, since=_V1_3),
    FocusColumn("AllocatedResourceName", _C, is_nullable=True, since=_V1_3),
    FocusColumn("AllocatedTags", _C, is_nullable=True, content=_JSON, since=_V1_3),
    FocusColumn("AvailabilityZone", _R, is_nullable=True),
    FocusColumn("BilledCost", _M, is_nullable=False, content=_DECIMAL),
    FocusColumn("BillingAccountId", _M, is_nullable=False),
    FocusColumn("BillingAccountName", _M, is_nullable=True),
    FocusColumn("BillingAccountType", _C, is_nullable=False, since=_V1_2),
    FocusColumn("BillingCurrency", _M, is_nullable=False),
    FocusColumn("BillingPeriodEnd", _M, is_nullable=False, content=_INSTANT),
    FocusColumn("BillingPeriodStart", _M, is_nullable=False, content=_INSTANT),
    FocusColumn("CapacityReservationId", _C, is_nullable=True, since=_V1_1),
    FocusColumn("CapacityReservationStatus", _C, is_nullable=True, since=_V1_1),
    FocusColumn("ChargeCategory", _M, is_nullable=False),
    FocusColumn("ChargeClass", _M, is_nullable=True),
    FocusColumn("ChargeDescription", _M, is_nullable=True),
    FocusColumn("ChargeFrequency", _R, is_nullable=False),
    FocusColumn("ChargePeriodEnd", _M, is_nullable=False, content=_INSTANT),
    FocusColumn("ChargePeriodStart", _M, is_nullable=False, content=_INSTANT),
    FocusColumn("CommitmentDiscountCategory", _C, is_nullable=True),
    FocusColumn("CommitmentDiscountId", _C, is_nullable=True),
    FocusColumn("CommitmentDiscountName", _C, is_nullable=True),
    FocusColumn("CommitmentDiscountQuantity", _C, is_nullable=True, content=_DECIMAL, since=_V1_1),
    FocusColumn("CommitmentDiscountStatus", _C, is_nullable=True),
    FocusColumn("CommitmentDiscountType", _C, is_nullable=True),
    FocusColumn("CommitmentDiscountUnit", _C, is_nullable=True, since=_V1_1),
    FocusColumn(
        "CommitmentProgramEligibilityDetails", _C, is_nullable=True, content=_JSON, since=_V1_4
    ),
    FocusColumn("ConsumedQuantity", _C, is_nullable=True, content=_DECIMAL),
    FocusColumn("ConsumedUnit", _C, is_nullable=True),
    FocusColumn("ContractApplied", _C, is_nullable=True, content=_JSON, since=_V1_3),
    FocusColumn("ContractedCost", _M, is_nullable=False, content=_DECIMAL),
    FocusColumn("ContractedUnitPrice", _C, is_nullable=True, content=_DECIMAL),
    FocusColumn("EffectiveCost", _M, is_nullable=False, content=_DECIMAL),
    FocusColumn("HostProviderName", _M, is_nullable=True, since=_V1_3),
    FocusColumn("InvoiceDetailId", _C, is_nullable=True, since=_V1_4),
    # Recommended in 1.2, conditional since: neither makes it necessary.
    FocusColumn("InvoiceId", _R, is_nullable=True, since=_V1_2),
    FocusColumn("InvoiceIssuerName", _M, is_nullable=False),
    FocusColumn("ListCost", _M, is_nullable=False, content=_DECIMAL),
    FocusColumn("ListUnitPrice", _C, is_nullable=True, content=_DECIMAL),
    FocusColumn("PricingCategory", _C, is_nullable=True),
    # These two allow null in 1.2 and not in 1.4; a conditional column refuses no row here.
    FocusColumn("PricingCurrency", _C, is_nullable=True, since=_V1_2),
    FocusColumn(
        "PricingCurrencyContractedUnitPrice", _C, is_nullable=True, content=_DECIMAL, since=_V1_2
    ),
    FocusColumn(
        "PricingCurrencyEffectiveCost", _C, is_nullable=True, content=_DECIMAL, since=_V1_2
    ),
    FocusColumn(
        "PricingCurrencyListUnitPrice", _C, is_nullable=True, content=_DECIMAL, since=_V1_2
    ),
    FocusColumn("PricingQuantity", _M, is_nullable=True, content=_DECIMAL),
    FocusColumn("PricingUnit", _M, is_nullable=True),
    FocusColumn("ProviderName", _M, is_nullable=False, removed_in=_V1_4),
    FocusColumn("PublisherName", _M, is_nullable=False, removed_in=_V1_4),
    FocusColumn("RegionId", _C, is_nullable=True),
    FocusColumn("RegionName", _C, is_nullable=True),
    FocusColumn("ResourceId", _C, is_nullable=True),
    FocusColumn("ResourceName", _C, is_nullable=True),
    FocusColumn("ResourceType", _C, is_nullable=True),
    FocusColumn("ServiceCategory", _M, is_nullable=False),
    FocusColumn("ServiceName", _M, is_nullable=False),
    FocusColumn("ServiceProviderName", _M, is_nullable=False, since=_V1_3),
    FocusColumn("ServiceSubcategory", _R, is_nullable=False, since=_V1_1),
    FocusColumn("SkuId", _C, is_nullable=True),
    FocusColumn("SkuMeter", _C, is_nullable=True, since=_V1_1),
    FocusColumn("SkuPriceDetails", _C, is_nullable=True, content=_JSON, since=_V1_1),
    FocusColumn("SkuPriceId", _C, is_nullable=True),
    FocusColumn("SubAccountId", _C, is_nullable=True),
    FocusColumn("SubAccountName", _C, is_nullable=True),
    FocusColumn("SubAccountType", _C, is_nullable=True, since=_V1_2),
    FocusColumn("Tags", _C, is_nullable=True, content=_JSON),
)
_VERSIONS = tuple(FocusVersion)


def columns_of(version: FocusVersion) -> tuple[FocusColumn, ...]:
    """Returns the columns a version defines, by name."""
    place = _VERSIONS.index(version)
    return tuple(
        column
        for column in FOCUS_COLUMNS
        if _VERSIONS.index(column.since) <= place
        and (column.removed_in is None or place < _VERSIONS.index(column.removed_in))
    )


def mandatory_columns(version: FocusVersion) -> tuple[FocusColumn, ...]:
    """Returns the columns that every data set of a version has."""
    return tuple(column for column in columns_of(version) if column.level is _M)


def version_of(columns: Columns) -> FocusVersion:
    """Returns the version that a header is of: the first that defines all its FOCUS columns.

    A header that has the columns which 1.3 put in the place of ProviderName and PublisherName, and
    lacks these, is of 1.4, which removed them.
    """
    if "ServiceProviderName" in columns and "ProviderName" not in columns:
        return FocusVersion.V1_4
    since = [column.since for column in FOCUS_COLUMNS if column.name in columns]
    return max(since, key=_VERSIONS.index, default=FocusVersion.V1_0)

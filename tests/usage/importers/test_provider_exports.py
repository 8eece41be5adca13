"""Provider exports against plain sums of their columns, mapped by the published rules."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.kernel.money import EXACT, add_exactly
from services.usage.service.importers import ImportKind, ImportOptions, detect, open_import
from services.usage.service.importers.rows import MissingColumns
from tests.support.shared import shared_path
from tests.usage.importers.reading import (
    billed,
    events,
    grouped,
    measured,
    rejects,
    table,
    write_csv,
)

AZURE_FILES = (
    "azure_ea_actual_sample.csv",
    "azure_ea_actual_small.csv",
    "azure_ea_amortized_small.csv",
)
CUR_ROW = {
    "bill/PayerAccountId": "1",
    "lineItem/UsageAccountId": "2",
    "lineItem/LineItemType": "Usage",
    "lineItem/UsageStartDate": "2026-01-01T00:00:00Z",
    "lineItem/UsageEndDate": "2026-01-01T01:00:00Z",
    "lineItem/ProductCode": "AmazonEC2",
    "lineItem/UsageAmount": "2",
    "lineItem/CurrencyCode": "USD",
    "lineItem/UnblendedCost": "0.5",
    "lineItem/NetUnblendedCost": "",
    "lineItem/ResourceId": "arn:aws:ec2:us-east-1:2:instance/i-1",
    "pricing/publicOnDemandRate": "0.3",
    "pricing/publicOnDemandCost": "0.7",
    "pricing/unit": "Hrs",
    "reservation/EffectiveCost": "",
    "reservation/ReservationARN": "",
    "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": "",
    "reservation/UnusedRecurringFee": "",
    "savingsPlan/SavingsPlanEffectiveCost": "",
    "savingsPlan/TotalCommitmentToDate": "",
    "savingsPlan/UsedCommitment": "",
    "resourceTags/user:Project": "atlas",
    "resourceTags/aws:createdBy": "",
}
OCI_ROW = {
    "lineItem/tenantId": "ocid1.tenancy.oc1..a",
    "lineItem/intervalUsageStart": "2026-01-01T00:00Z",
    "lineItem/intervalUsageEnd": "2026-01-01T01:00Z",
    "product/service": "COMPUTE",
    "usage/billedQuantity": "1",
    "cost/myCost": "0.25",
    "cost/myCostOverage": "",
    "cost/overageFlag": "false",
    "cost/currencyCode": "USD",
    "cost/skuUnitDescription": "Hours",
    "tags/Finance.CostCenter": "",
}


@pytest.fixture
def expected() -> dict[str, Any]:
    path = shared_path("focus", "expected_provider_exports.json")
    totals: dict[str, Any] = json.loads(path.read_text())
    return totals


def test_aws_report_adds_up_by_product(expected: dict[str, Any]) -> None:
    path = shared_path("focus", "aws_cur_legacy_shared.csv.gz")

    report = events(path)
    by_service = grouped(report, "service")

    assert detect(path) is ImportKind.AWS_CUR
    assert len(report) == expected["aws_cur_rows"]
    assert billed(report) == Decimal(expected["aws_UnblendedCost_total"])
    assert {name: billed(items) for name, items in by_service.items()} == {
        name: Decimal(total) for name, total in expected["aws_by_ProductCode"].items()
    }


def test_aws_list_cost_is_the_public_rate_times_usage_else_the_public_cost() -> None:
    path = shared_path("focus", "aws_cur_legacy_shared.csv.gz")

    plain = add_exactly(
        EXACT.multiply(
            Decimal(row["pricing/publicOnDemandRate"]), Decimal(row["lineItem/UsageAmount"])
        )
        if row["pricing/publicOnDemandRate"]
        else Decimal(row["pricing/publicOnDemandCost"])
        for row in table(path)
    )

    assert add_exactly(event.cost.list for event in events(path) if event.cost) == plain


def test_oci_report_adds_up_by_service(expected: dict[str, Any]) -> None:
    path = shared_path("focus", "oci_cost_report_shared.csv.gz")

    report = events(path)
    by_service = grouped(report, "service")

    assert detect(path) is ImportKind.OCI
    assert len(report) == expected["oci_rows"]
    assert billed(report) == Decimal(expected["oci_myCost_total"])
    assert {name: billed(items) for name, items in by_service.items()} == {
        name: Decimal(total) for name, total in expected["oci_by_service"].items()
    }


@pytest.mark.parametrize("name", AZURE_FILES)
def test_azure_export_adds_up_with_each_cost_rounded_to_18_digits(name: str) -> None:
    path = shared_path("focus", name)
    rows = table(path)
    column = "Cost" if "Cost" in rows[0] else "CostInBillingCurrency"
    plain = [Decimal(row[column]) for row in rows]

    export = events(path)
    total = billed(export)

    assert detect(path) is ImportKind.AZURE
    assert len(export) == len(rows)
    assert total == add_exactly(cost.quantize(Decimal("1e-18"), context=EXACT) for cost in plain)
    assert abs(total - add_exactly(plain)) <= len(plain) * Decimal("5e-19")
    for service, items in grouped(export, "service").items():
        same = [
            cost for cost, row in zip(plain, rows, strict=True) if row["ConsumedService"] == service
        ]
        assert abs(billed(items) - add_exactly(same)) <= len(same) * Decimal("5e-19")


def test_azure_days_tags_and_departments_are_read() -> None:
    path = shared_path("focus", "azure_ea_actual_small.csv")

    export = events(path)
    storage = export[1]

    assert storage.start_at.isoformat() == "2023-09-04T00:00:00+00:00"
    assert storage.end_at.isoformat() == "2023-09-05T00:00:00+00:00"
    assert ("CostCenter", "1234") in storage.attributes.tags
    assert storage.attributes.department == "1234"
    assert storage.attributes.project == "databricks"
    assert storage.attributes.resource_type == "microsoft.storage/storageaccounts"
    assert export[0].attributes.department == "ACM", "without a tag it is the invoice section"
    assert export[0].attributes.charge_category == "Purchase"


@pytest.mark.parametrize(
    ("change", "costs"),
    [
        ({}, "0.5 0.5 0.6"),
        ({"lineItem/NetUnblendedCost": "0.4"}, "0.4 0.5 0.6"),
        ({"pricing/publicOnDemandRate": ""}, "0.5 0.5 0.7"),
        (
            {
                "lineItem/LineItemType": "SavingsPlanCoveredUsage",
                "savingsPlan/SavingsPlanEffectiveCost": "0.1",
            },
            "0.5 0.1 0.6",
        ),
        (
            {
                "lineItem/LineItemType": "SavingsPlanRecurringFee",
                "savingsPlan/TotalCommitmentToDate": "3",
                "savingsPlan/UsedCommitment": "2.25",
            },
            "0.5 0.75 0.6",
        ),
        ({"lineItem/LineItemType": "SavingsPlanNegation"}, "0.5 0 0.6"),
        (
            {"lineItem/LineItemType": "DiscountedUsage", "reservation/EffectiveCost": "0.2"},
            "0.5 0.2 0.6",
        ),
        (
            {
                "lineItem/LineItemType": "RIFee",
                "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": "0.25",
                "reservation/UnusedRecurringFee": "0.5",
            },
            "0.5 0.75 0.6",
        ),
        ({"lineItem/LineItemType": "Fee", "reservation/ReservationARN": "arn:aws:r"}, "0.5 0 0.6"),
        ({"lineItem/LineItemType": "Fee"}, "0.5 0.5 0.6"),
    ],
)
def test_aws_effective_cost_follows_the_line_items_type(
    tmp_path: Path, change: dict[str, str], costs: str
) -> None:
    path = write_csv(tmp_path / "cur.csv", [CUR_ROW | change])

    (event,) = events(path)

    assert event.cost is not None
    assert [event.cost.billed, event.cost.effective, event.cost.list] == [
        Decimal(text) for text in costs.split()
    ]


def test_aws_tags_resource_types_and_both_spellings_of_columns_are_read(tmp_path: Path) -> None:
    athena = {
        "bill_payer_account_id": "1",
        "line_item_usage_account_id": "2",
        "line_item_line_item_type": "Credit",
        "line_item_usage_start_date": "2026-01-01 00:00:00.000",
        "line_item_usage_end_date": "2026-01-01 01:00:00.000",
        "line_item_product_code": "AWSQuantum",
        "line_item_usage_amount": "1",
        "line_item_currency_code": "USD",
        "line_item_unblended_cost": "-3.5",
        "resource_tags_user_owner": "ada",
    }

    (legacy,) = events(write_csv(tmp_path / "legacy.csv", [CUR_ROW]))
    (credit,) = events(write_csv(tmp_path / "athena.csv", [athena]))

    assert legacy.attributes.resource_type == "instance"
    assert legacy.attributes.tags == (("Project", "atlas"),)
    assert legacy.attributes.project == "atlas"
    assert legacy.quantity == 2
    assert legacy.attributes.unit == "Hrs"
    assert credit.attributes.charge_category == "Credit"
    assert credit.attributes.user_id == "ada"
    assert credit.attributes.service_category == "Other"
    assert measured(credit) == "1 charge"
    assert billed([credit]) == Decimal("-3.5")


def test_aws_line_item_of_unknown_type_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "cur.csv", [CUR_ROW | {"lineItem/LineItemType": "Gift"}])

    (reject,) = rejects(path)

    assert (reject.row_number, reject.field) == (2, "lineItem/LineItemType")


def test_oci_overage_is_billed_only_where_it_is_flagged(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "oci.csv",
        [
            OCI_ROW | {"cost/myCostOverage": "0.75", "cost/overageFlag": "true"},
            OCI_ROW | {"cost/myCostOverage": "0", "tags/Finance.CostCenter": "cc-7"},
        ],
    )

    over, usual = events(path)

    assert over.cost is not None
    assert (over.cost.billed, over.cost.effective) == (Decimal("0.75"), Decimal("0.25"))
    assert billed([usual]) == Decimal("0.25")
    assert usual.attributes.department == "cc-7"
    assert usual.attributes.tags == (("Finance.CostCenter", "cc-7"),)


@pytest.mark.parametrize(
    ("kind", "row", "column"),
    [
        (ImportKind.AWS_CUR, CUR_ROW, "lineItem/CurrencyCode"),
        (ImportKind.OCI, OCI_ROW, "cost/currencyCode"),
    ],
)
def test_export_without_a_needed_column_is_refused_whole(
    tmp_path: Path, kind: ImportKind, row: dict[str, str], column: str
) -> None:
    path = write_csv(tmp_path / "x.csv", [{k: v for k, v in row.items() if k != column}])

    with pytest.raises(MissingColumns, match=column) as raised:
        open_import(kind, path, ImportOptions())

    assert raised.value.columns == (column,)

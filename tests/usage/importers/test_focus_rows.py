"""Which FOCUS rows and files are refused, and what the accepted ones become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from services.usage.domain.event import Costs
from services.usage.service.importers import ImportKind, ImportOptions, TagKeys, detect, open_import
from services.usage.service.importers.rows import MissingColumns
from tests.usage.importers.reading import (
    FOCUS_ROW,
    events,
    focus_csv,
    measured,
    read,
    rejects,
    write_csv,
)

FORBIDDEN = [
    ({"BilledCost": ""}, "BilledCost", "no value"),
    ({"BilledCost": "NULL"}, "BilledCost", "no value"),
    ({"BilledCost": "NaN"}, "BilledCost", "not a number"),
    ({"BilledCost": "Infinity"}, "BilledCost", "not a number"),
    ({"BilledCost": "1,25"}, "BilledCost", "not a number"),
    ({"BilledCost": "1_000"}, "BilledCost", "not a number"),
    ({"BilledCost": "$1"}, "BilledCost", "not a number"),
    ({"BilledCost": "0x10"}, "BilledCost", "not a number"),
    ({"BilledCost": "\u0661"}, "BilledCost", "not a number"),
    ({"BilledCost": "1e9999"}, "BilledCost", "20 digits before"),
    ({"BilledCost": "1e99999"}, "BilledCost", "not a number"),
    ({"EffectiveCost": "0.0000000000000000001"}, "EffectiveCost", "18 digits after"),
    ({"ListCost": "1e-19"}, "ListCost", "18 digits after"),
    ({"ContractedCost": "123456789012345678901"}, "ContractedCost", "20 digits before"),
    ({"PricingQuantity": "many"}, "PricingQuantity", "not a number"),
    ({"BillingCurrency": ""}, "BillingCurrency", "no value"),
    ({"BillingCurrency": "usd"}, "BillingCurrency", "ISO 4217"),
    ({"BillingCurrency": "US$"}, "BillingCurrency", "ISO 4217"),
    ({"BillingCurrency": "ZZZ"}, "BillingCurrency", "ISO 4217"),
    ({"ChargePeriodStart": "yesterday"}, "ChargePeriodStart", "not a date"),
    ({"ChargePeriodStart": "2026-02-30"}, "ChargePeriodStart", "not a date"),
    ({"ChargePeriodStart": "02/01/2026"}, "ChargePeriodStart", "not a date"),
    ({"ChargePeriodStart": "1969-12-31T23:59:59Z"}, "ChargePeriodStart", "1970"),
    ({"ChargePeriodEnd": "2200-01-01T00:00:00Z"}, "ChargePeriodEnd", "2199"),
    ({"ChargePeriodEnd": ""}, "ChargePeriodEnd", "no value"),
    ({"ChargePeriodEnd": "2026-01-01T23:59:59Z"}, "ChargePeriodEnd", "before the start"),
    ({"BillingPeriodEnd": "2025-12-31"}, "BillingPeriodEnd", "before the start"),
    ({"BillingPeriodStart": "2026-1-1"}, "BillingPeriodStart", "not a date"),
    ({"ChargeCategory": "Gift"}, "ChargeCategory", "one of Usage, Purchase, Tax, Credit"),
    ({"ChargeCategory": ""}, "ChargeCategory", "no value"),
    ({"ChargeClass": "Restatement"}, "ChargeClass", "one of Correction"),
    ({"ServiceCategory": "Gadgets"}, "ServiceCategory", "one of AI and Machine Learning"),
    ({"ServiceName": " "}, "ServiceName", "no value"),
    ({"ProviderName": "NULL"}, "ProviderName", "no value"),
    ({"PublisherName": ""}, "PublisherName", "no value"),
    ({"InvoiceIssuerName": ""}, "InvoiceIssuerName", "no value"),
    ({"BillingAccountId": ""}, "BillingAccountId", "no value"),
    ({"ServiceName": "x" * 257}, "ServiceName", "longer than 256"),
    ({"ServiceName": "a\x00b"}, "ServiceName", "NUL"),
    ({"PricingUnit": "u" * 65}, "ConsumedUnit", "longer than 64"),
    ({"Tags": "team=a"}, "Tags", "not a JSON object"),
    ({"Tags": '["a"]'}, "Tags", "not a JSON object"),
    ({"Tags": '{"a": NaN}'}, "Tags", "not a JSON object"),
    ({"Tags": '{"a": {"b": 1}}'}, "Tags", "an object or a list"),
    ({"Tags": '{"a": "1", "a": "2"}'}, "Tags", "two values"),
    ({"Tags": '{"": "1"}'}, "Tags", "without a name"),
    ({"Tags": json.dumps({"k" * 257: "1"})}, "Tags", "longer than 256"),
    ({"Tags": json.dumps({"k": "v" * 1025})}, "Tags", "longer than 1024"),
    ({"Tags": json.dumps({f"k{i}": "v" for i in range(65)})}, "Tags", "more than 64"),
    ({"Tags": "[" * 100_000}, "Tags", "not a JSON object"),
]


@pytest.mark.parametrize(("change", "field", "reason"), FORBIDDEN)
def test_forbidden_row_is_refused_with_line_field_and_reason_and_the_rest_goes_in(
    tmp_path: Path, change: Mapping[str, str], field: str, reason: str
) -> None:
    path = focus_csv(tmp_path, {}, change, {"BilledCost": "7"})

    first, refused, last = read(path, ImportKind.FOCUS)

    assert (first.row_number, refused.row_number, last.row_number) == (2, 3, 4)
    (reject,) = rejects(path)
    assert reject.field == field
    assert reason in reject.reason
    assert 0 < len(reject.text_excerpt) <= 200
    assert "\x00" not in reject.text_excerpt


def test_row_becomes_an_event(tmp_path: Path) -> None:
    (event,) = events(focus_csv(tmp_path, {}))

    assert event.source == "import/focus"
    assert event.start_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert event.end_at == datetime(2026, 1, 2, 1, tzinfo=UTC)
    assert event.cost == Costs(Decimal("1.25"), Decimal(1), Decimal(2), Decimal("1.5"))
    assert measured(event) == "1 Hours"
    assert event.attributes.resource_type == "compute"
    assert event.attributes.provider == "Example Cloud"


def test_what_no_attribute_holds_is_kept_as_the_row_has_it(tmp_path: Path) -> None:
    row = {"x_Team": "+red", "chargefrequency": "Usage-based", "Tags": '{"size": 2}'}

    (event,) = events(focus_csv(tmp_path, row))

    kept = json.loads(event.bill_columns)
    assert kept["PricingQuantity"] == "1"
    assert kept["BillingPeriodEnd"] == "2026-02-01T00:00:00Z"
    assert (kept["x_Team"], kept["ChargeFrequency"]) == ("+red", "Usage-based")
    assert kept["Tags"] == '{"size": 2}'
    assert not {"BilledCost", "ServiceName", "BillingAccountName"} & kept.keys()


def test_tags_that_an_event_holds_whole_are_not_kept_twice(tmp_path: Path) -> None:
    (event,) = events(focus_csv(tmp_path, {"Tags": '{"team": "red"}'}))

    assert "Tags" not in json.loads(event.bill_columns)


def test_source_and_tag_keys_can_be_given(tmp_path: Path) -> None:
    path = focus_csv(tmp_path, {"Tags": '{"squad": "red", "owner": "ada"}'})

    (event,) = events(path, options=ImportOptions(source="bill-7", tag_keys=TagKeys(("squad",))))

    assert event.source == "bill-7"
    assert event.attributes.department == "red"
    assert event.attributes.user_id == "ada"


@pytest.mark.parametrize(
    ("tags", "bearers"),
    [
        ({"CostCenter": "cc-1"}, ("", "cc-1", "")),
        ({"cost_center": "cc-1", "Department": "labs"}, ("", "labs", "")),
        ({"DEPT": "labs", "application": "web", "Project": "atlas"}, ("", "labs", "atlas")),
        ({"department": "", "dept": "labs"}, ("", "labs", "")),
        ({"User": "bob", "owner": "ada"}, ("ada", "", "")),
        ({"team": "red", "departments": "x", "ms:Department": "y"}, ("", "", "")),
    ],
)
def test_well_known_tags_say_who_bears_a_charge(
    tmp_path: Path, tags: Mapping[str, str], bearers: tuple[str, str, str]
) -> None:
    (event,) = events(focus_csv(tmp_path, {"Tags": json.dumps(tags)}))

    attributes = event.attributes

    assert (attributes.user_id, attributes.department, attributes.project) == bearers
    assert dict(attributes.tags) == tags


def test_tags_of_every_json_value_are_kept_as_text(tmp_path: Path) -> None:
    path = focus_csv(tmp_path, {"Tags": '{"b": true, "n": 1.50, "z": null, " org": "x", "e": 1e3}'})

    (event,) = events(path)

    assert event.attributes.tags == (
        (" org", "x"),
        ("b", "true"),
        ("e", "1e3"),
        ("n", "1.50"),
        ("z", ""),
    )


def test_providers_quirks_are_read(tmp_path: Path) -> None:
    quirks = {
        "BilledCost": "-1e-11",
        "EffectiveCost": "2.50000000000000000000",
        "ListCost": "1.5E+3",
        "ContractedCost": "0E-30",
        "ChargePeriodStart": "2026-01-02 00:00:00",
        "ChargePeriodEnd": "2026-01-02 05:30:00+05:00",
        "BillingPeriodEnd": "2026-02-01 00:00:00 UTC",
        "ChargeCategory": "credit",
        "ChargeClass": "NULL",
        "PricingQuantity": "NULL",
        "PricingUnit": "NULL",
        "Tags": "NULL",
    }

    (event,) = events(focus_csv(tmp_path, quirks))

    assert event.cost == Costs(Decimal("-1e-11"), Decimal("2.5"), Decimal(1500), Decimal(0))
    assert event.end_at == datetime(2026, 1, 2, 0, 30, tzinfo=UTC)
    assert event.attributes.charge_category == "Credit"
    assert measured(event) == "1 charge"
    assert event.attributes.tags == ()


def test_quantity_is_the_consumed_one_else_the_priced_one(tmp_path: Path) -> None:
    rows = [
        FOCUS_ROW | {"ConsumedQuantity": quantity, "ConsumedUnit": unit}
        for quantity, unit in (("3600", "Seconds"), ("", "Seconds"), ("3600", ""))
    ]

    consumed, priced, also_priced = events(write_csv(tmp_path / "f.csv", rows))

    assert measured(consumed) == "3600 Seconds"
    assert measured(priced) == "1 Hours"
    assert measured(also_priced) == "1 Hours"


def test_columns_are_found_in_any_order_and_letter_case_with_custom_ones_ignored(
    tmp_path: Path,
) -> None:
    row = {name.upper(): value for name, value in reversed(FOCUS_ROW.items())} | {"x_Team": "red"}
    path = write_csv(tmp_path / "f.csv", [row])

    rows = open_import(detect(path), path, ImportOptions())

    assert rows.ignored_columns == ("x_Team",)
    assert len(list(rows)) == 1


@pytest.mark.parametrize("column", ["BilledCost", "ChargeClass", "PricingUnit", "ProviderName"])
def test_file_without_a_mandatory_column_is_refused_whole(tmp_path: Path, column: str) -> None:
    path = write_csv(tmp_path / "f.csv", [{k: v for k, v in FOCUS_ROW.items() if k != column}])

    assert detect(path) is ImportKind.FOCUS
    with pytest.raises(MissingColumns, match=column) as raised:
        open_import(ImportKind.FOCUS, path, ImportOptions())

    assert raised.value.reason == "MISSING_COLUMNS"
    assert raised.value.metadata == {"kind": "FOCUS 1.0", "columns": column}


NEW_PROVIDERS = {"ServiceProviderName": "Reseller", "HostProviderName": ""}
WITHOUT_OLD_PROVIDERS = {
    name: value
    for name, value in FOCUS_ROW.items()
    if name not in ("ProviderName", "PublisherName")
}


@pytest.mark.parametrize(
    ("row", "variant", "provider"),
    [
        (FOCUS_ROW, "FOCUS 1.0", "Example Cloud"),
        (FOCUS_ROW | {"SkuMeter": "x"}, "FOCUS 1.1", "Example Cloud"),
        (FOCUS_ROW | {"InvoiceId": "x"}, "FOCUS 1.2", "Example Cloud"),
        (FOCUS_ROW | NEW_PROVIDERS, "FOCUS 1.3", "Example Cloud"),
        (WITHOUT_OLD_PROVIDERS | NEW_PROVIDERS, "FOCUS 1.4", "Reseller"),
        (FOCUS_ROW | NEW_PROVIDERS | {"InvoiceDetailId": ""}, "FOCUS 1.4", "Reseller"),
    ],
)
def test_version_and_provider_follow_the_columns(
    tmp_path: Path, row: dict[str, str], variant: str, provider: str
) -> None:
    path = write_csv(tmp_path / "f.csv", [row])

    rows = open_import(detect(path), path, ImportOptions())
    (event,) = events(path)

    assert rows.variant == variant
    assert event.attributes.provider == provider


def test_service_provider_is_mandatory_from_1_3_on(tmp_path: Path) -> None:
    row = WITHOUT_OLD_PROVIDERS | NEW_PROVIDERS | {"ServiceProviderName": ""}
    path = write_csv(tmp_path / "f.csv", [row])

    (reject,) = rejects(path)

    assert reject.field == "ServiceProviderName"

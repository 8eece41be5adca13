"""The rule checker: it finds a planted breach of every kind of rule, and only that one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from services.reporting.domain.focus.columns import COLUMNS
from services.reporting.domain.focus_rules.checks import Rows, judge
from services.reporting.domain.focus_rules.judging import Judgement, Outcome, Verdict
from services.reporting.domain.focus_rules.model import Check, RuleModel, UnknownRuleModel
from tests.support.shared import shared_path

CURRENCIES = frozenset({"USD", "EUR"})
SOUND: dict[str, Any] = dict.fromkeys(COLUMNS) | {
    "BilledCost": "3",
    "EffectiveCost": "3",
    "ListCost": "4.0",
    "ContractedCost": "3",
    "BillingAccountId": "acme",
    "BillingAccountName": "Acme",
    "BillingAccountType": "Tenant",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-06-01T00:00:00Z",
    "BillingPeriodEnd": "2026-07-01T00:00:00Z",
    "ChargePeriodStart": "2026-06-02T00:00:00Z",
    "ChargePeriodEnd": "2026-06-02T01:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeDescription": "Hours",
    "ChargeFrequency": "Usage-Based",
    "ConsumedQuantity": "2",
    "ConsumedUnit": "GB-Hours",
    "PricingQuantity": "2",
    "PricingUnit": "GB-Hours",
    "PricingCategory": "Standard",
    "ListUnitPrice": "2",
    "ContractedUnitPrice": "1.5",
    "PricingCurrency": "USD",
    "PricingCurrencyEffectiveCost": "3",
    "PricingCurrencyListUnitPrice": "2",
    "PricingCurrencyContractedUnitPrice": "1.5",
    "InvoiceIssuerName": "Cloud",
    "ProviderName": "Cloud",
    "PublisherName": "Cloud",
    "ServiceCategory": "Compute",
    "ServiceName": "Machines",
    "ServiceSubcategory": "Virtual Machines",
    "SkuId": "sku",
    "SkuMeter": "Hours",
    "SkuPriceId": "price",
    "Tags": '{"team": "red"}',
}
# One breach of every kind of check that rules of the model make.
PLANTED: list[tuple[str, dict[str, Any], str]] = [
    ("CheckNotValue", {"BilledCost": None}, "BilledCost-C-003-M"),
    ("CheckValue", {"ConsumedQuantity": None}, "ConsumedUnit-C-005-C"),
    ("OR", {"ChargeCategory": "Gift"}, "ChargeCategory-C-003-M"),
    ("AND", {"ServiceSubcategory": "Bots"}, "ServiceSubcategory-C-004-M"),
    ("CheckNotSameValue", {"InvoiceIssuerName": "Shop"}, "BilledCost-C-005-C"),
    ("CheckDecimalValue", {"BilledCost": "Infinity"}, "BilledCost-C-004-M"),
    ("TypeDecimal", {"BilledCost": "three"}, "BilledCost-C-001-M"),
    ("FormatNumeric", {"BilledCost": "+3"}, "BilledCost-C-002-M"),
    ("TypeString", {"ProviderName": 7}, "ProviderName-C-001-M"),
    ("FormatString", {"ProviderName": "Cl\ufffdud"}, "ProviderName-C-002-M"),
    ("TypeDateTime", {"ChargePeriodStart": "yesterday"}, "ChargePeriodStart-C-001-M"),
    ("FormatDateTime", {"ChargePeriodStart": "2026-06-02 00:00:00"}, "ChargePeriodStart-C-002-M"),
    ("CheckGreaterOrEqualThanValue", {"ListUnitPrice": "-2"}, "ListUnitPrice-C-008-M"),
    ("ColumnByColumnEqualsColumnValue", {"ListCost": "4.1"}, "ListCost-C-009-C"),
    ("CheckDistinctCount", {"ServiceCategory": "Storage"}, "ServiceName-C-005-C"),
    ("FormatUnit", {"ConsumedUnit": "GB//h"}, "ConsumedUnit-C-003-O"),
    ("FormatKeyValue", {"Tags": '{"a": {"b": 1}}'}, "Tags-C-001-M"),
    ("FormatCurrency", {"BillingCurrency": "usd"}, "BillingCurrency-C-003-M"),
    ("CheckNationalCurrency", {"BillingCurrency": "CREDITS"}, "BillingCurrency-C-006-M"),
]


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """The published rules, as they are written."""
    path = shared_path("focus", "reference", "focus_1_2_validation_rules.json.gz")
    found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return found


@pytest.fixture(scope="module")
def model(content: dict[str, Any]) -> RuleModel:
    """The published rules."""
    return RuleModel(content)


def verdicts_on(
    model: RuleModel, *rows: Mapping[str, object], unsupported: frozenset[str] = frozenset()
) -> dict[str, Verdict]:
    header = list(rows[0])
    judgement = Judgement(model, header, CURRENCIES, unsupported=unsupported)
    judgement.add({name: [row[name] for row in rows] for name in header})
    return {verdict.rule_id: verdict for verdict in judgement.verdicts()}


def failed(verdicts: Mapping[str, Verdict]) -> set[str]:
    return {
        name
        for name, verdict in verdicts.items()
        if verdict.outcome is Outcome.FAILED and verdict.rows
    }


def test_every_rule_of_the_model_has_a_verdict(model: RuleModel) -> None:
    verdicts = verdicts_on(model, SOUND)

    assert len(verdicts) == len(model.rules) == 621
    assert not failed(verdicts)
    dynamic = {name for name, rule in model.rules.items() if rule.is_dynamic}
    by_person = {name for name, each in verdicts.items() if each.outcome is Outcome.BY_PERSON}
    assert dynamic <= by_person
    assert all(model.rules[name].requirement is None or name in by_person for name in dynamic)


def test_every_kind_of_check_of_the_model_is_planted_or_tested_alone(
    content: dict[str, Any],
) -> None:
    kinds = set(content["CheckFunctions"])

    beside = {"ColumnPresent", "CheckModelRule", "CheckSameValue"}
    assert {kind for kind, _, _ in PLANTED} | beside == kinds


@pytest.mark.parametrize(("kind", "change", "rule_id"), PLANTED, ids=lambda each: str(each)[:40])
def test_planted_breach_is_found_with_its_row(
    model: RuleModel, kind: str, change: dict[str, Any], rule_id: str
) -> None:
    verdicts = verdicts_on(model, SOUND, SOUND | change, SOUND)

    assert rule_id in failed(verdicts), kind
    found = verdicts[rule_id]
    assert (found.rows, found.examples) == (1, (0,) if kind == "CheckDistinctCount" else (2,))
    if found.is_required:
        assert verdicts["CostAndUsage-D-000-M"].outcome is Outcome.FAILED


def test_missing_column_is_found_and_the_rules_about_it_do_not_apply(model: RuleModel) -> None:
    without = {name: value for name, value in SOUND.items() if name != "PricingUnit"}

    verdicts = verdicts_on(model, without)

    assert failed(verdicts) == {"CostAndUsage-D-068-M"}
    assert verdicts["PricingUnit-C-005-C"].outcome is Outcome.NOT_APPLICABLE


def test_column_for_what_a_provider_does_not_have_may_be_missing(model: RuleModel) -> None:
    without = {name: value for name, value in SOUND.items() if name != "AvailabilityZone"}

    verdicts = verdicts_on(model, without, unsupported=frozenset({"AVAILABILITY_ZONE_SUPPORTED"}))

    assert verdicts["CostAndUsage-D-003-C"].outcome is Outcome.NOT_APPLICABLE


def test_rule_that_the_specification_contradicts_is_an_erratum(model: RuleModel) -> None:
    verdicts = verdicts_on(model, SOUND)

    assert verdicts["CommitmentDiscountStatus-C-004-C"].outcome is Outcome.ERRATUM


def test_correction_may_break_what_other_rows_may_not(model: RuleModel) -> None:
    correction = SOUND | {"ChargeClass": "Correction", "ListUnitPrice": None, "SkuId": None}
    correction |= {"SkuMeter": None, "SkuPriceId": None}

    assert not failed(verdicts_on(model, correction))


def test_same_values_are_told_from_others() -> None:
    rows = Rows({"A": ["x", "x", None], "B": ["x", "y", None]}, CURRENCIES)

    found = judge(Check("CheckSameValue", ("A", "B")), rows)

    assert np.array_equal(found.holds, [True, False, True])


@pytest.mark.parametrize("content", [{}, {"Details": {}}, {"Details": {"FOCUSVersion": "1"}}])
def test_file_that_is_no_rule_model_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(UnknownRuleModel):
        RuleModel(content)


def test_kind_of_check_that_is_not_known_is_refused() -> None:
    with pytest.raises(UnknownRuleModel):
        judge(Check("CheckMoonPhase", ("A",)), Rows({"A": ["x"]}, CURRENCIES))

"""The main job: real bills go in by the command line, exact cost comes out over REST."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from services.kernel.money import EXACT, add_exactly
from tests.support.shared import shared_path
from tests.support.stack import RunningStack
from tests.usage.importers.reading import table

COSTS = "/api/v1/finops/cost-attribution"
EVER = {"start": "2020-01-01", "end": "2030-01-01", "page_size": "1000"}
FOCUS_FILES = {
    "acme": "focus/focus_1_0_sample_shared.csv.gz",
    "focus-1-2-aws": "focus_generated/focus_1_2_cost_and_usage_aws_5000.csv.gz",
    "focus-1-2-gcp": "focus_generated/focus_1_2_cost_and_usage_gcp_5000.csv.gz",
    "focus-1-3-gcp": "focus_generated/focus_1_3_cost_and_usage_gcp_5000.csv.gz",
}
DIMENSIONS = {
    "ProviderName": "provider",
    "ServiceCategory": "service_category",
    "ServiceName": "service",
    "SubAccountId": "sub_account",
    "ChargeCategory": "charge_category",
    "RegionId": "region",
}
EXPECTED_GROUPS_MAX = 40  # the published totals name so many groups and no more
AZURE_FILES = {
    "azure-sample": "azure_ea_actual_sample.csv",
    "azure-actual": "azure_ea_actual_small.csv",
    "azure-amortized": "azure_ea_amortized_small.csv",
}

pytestmark = pytest.mark.e2e
every_focus_file = pytest.mark.parametrize("tenant", FOCUS_FILES)


class Bills:
    """The bills of the tests, each imported once, by the first test that asks for it."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._imported: dict[str, dict[str, Any]] = {}

    def load(self, kind: str, path: Path, tenant: str) -> dict[str, Any]:
        """Imports a file into a tenant and returns what the command said; again only once asked."""
        if tenant not in self._imported:
            self._imported[tenant] = self.load_again(kind, path, tenant)
        return self._imported[tenant]

    def load_again(self, kind: str, path: Path, tenant: str) -> dict[str, Any]:
        """Imports a file whether or not it was imported before."""
        text = self._stack.finops("import", kind, path, "--tenant", tenant, "--format", "json")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def focus(self, tenant: str) -> dict[str, Any]:
        """Imports the FOCUS file of a tenant and returns the published totals of it."""
        name = FOCUS_FILES[tenant]
        self.load("focus", shared_path(name), tenant)
        return published("expected_aggregates.json")[name]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def bills(stack: RunningStack) -> Bills:
    return Bills(stack)


@cache
def published(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(shared_path("focus", name).read_text())
    return content


def costs(stack: RunningStack, tenant: str, **question: str) -> dict[str, Any]:
    return stack.ask(tenant, COSTS, {**EVER, **question})


def total(answer: dict[str, Any]) -> tuple[int, Decimal]:
    """Returns the events and the cost of an answer in one currency."""
    (only,) = answer["totals"]
    return int(only["events"]), Decimal(only["cost"]["amount"])


def groups(stack: RunningStack, tenant: str, dimension: str) -> dict[str, tuple[int, Decimal]]:
    """Returns events and billed cost of each group."""
    answer = costs(stack, tenant, group_by=dimension)
    return {
        row["group"][dimension]: (int(row["events"]), Decimal(row["cost"]["amount"]))
        for row in answer["rows"]
    }


def quoted(key: str) -> str:
    return '"' + key.replace('"', '\\"') + '"'


@every_focus_file
def test_a_bill_imported_twice_counts_once(stack: RunningStack, bills: Bills, tenant: str) -> None:
    rows = bills.focus(tenant)["rows"]
    path = shared_path(FOCUS_FILES[tenant])

    first = bills.load("focus", path, tenant)
    second = bills.load_again("focus", path, tenant)

    nothing_refused = {"conflict": 0, "invalid": 0, "rejects": None}
    assert first == {"accepted": rows, "duplicate": 0, **nothing_refused}
    assert second == {"accepted": 0, "duplicate": rows, **nothing_refused}
    assert total(costs(stack, tenant))[0] == rows


@every_focus_file
@pytest.mark.parametrize("cost_type", ["billed", "effective", "list", "contracted"])
def test_the_four_costs_are_exact(
    stack: RunningStack, bills: Bills, tenant: str, cost_type: str
) -> None:
    expected = bills.focus(tenant)

    answer = costs(stack, tenant, cost_type=cost_type)

    amount = Decimal(expected[f"sum_{cost_type.title()}Cost"])
    assert total(answer) == (expected["rows"], amount)


@every_focus_file
@pytest.mark.parametrize("column", DIMENSIONS)
def test_cost_by_dimension_is_exact(
    stack: RunningStack, bills: Bills, tenant: str, column: str
) -> None:
    expected = bills.focus(tenant)[f"BilledCost_by_{column}"]

    found = groups(stack, tenant, DIMENSIONS[column])

    assert {value: found[value] for value in expected} == {
        value: (item["rows"], Decimal(item["BilledCost"])) for value, item in expected.items()
    }
    assert len(found) == len(expected) or len(expected) == EXPECTED_GROUPS_MAX


@every_focus_file
def test_cost_by_currency_is_exact(stack: RunningStack, bills: Bills, tenant: str) -> None:
    expected = bills.focus(tenant)["BilledCost_by_BillingCurrency"]

    answer = costs(stack, tenant)

    found = {
        item["cost"]["currencyCode"]: (int(item["events"]), Decimal(item["cost"]["amount"]))
        for item in answer["totals"]
    }
    assert found == {
        code: (item["rows"], Decimal(item["BilledCost"])) for code, item in expected.items()
    }


@every_focus_file
def test_cost_by_tag_is_exact(stack: RunningStack, bills: Bills, tenant: str) -> None:
    expected = bills.focus(tenant)["BilledCost_by_tag"]
    keys = {pair.partition("=")[0] for pair in expected}

    found = {
        f"{key}={value}": amount
        for key in keys
        for value, (_, amount) in groups(stack, tenant, f"tag:{key}").items()
    }

    assert {pair: found[pair] for pair in expected} == {
        pair: Decimal(amount) for pair, amount in expected.items()
    }


@every_focus_file
def test_tagged_rows_and_untagged_cost_are_exact(
    stack: RunningStack, bills: Bills, tenant: str
) -> None:
    expected = bills.focus(tenant)
    terms = {key: f"tags.{quoted(key)}:*" for key in expected["tag_keys"]}

    with_key = {key: costs(stack, tenant, filter=term) for key, term in terms.items()}
    tagged = costs(stack, tenant, filter=" OR ".join(terms.values()))
    untagged = costs(stack, tenant, filter=" AND ".join(f"NOT {t}" for t in terms.values()))

    assert {key: total(answer)[0] for key, answer in with_key.items()} == expected["tag_keys"]
    assert total(tagged)[0] == expected["tagged_rows"]
    left = [Decimal(item["cost"]["amount"]) for item in untagged["totals"]]
    assert add_exactly(left) == Decimal(expected["untagged_BilledCost"])


@every_focus_file
def test_cost_by_day_is_exact(stack: RunningStack, bills: Bills, tenant: str) -> None:
    expected = bills.focus(tenant)["BilledCost_by_day"]

    answer = costs(stack, tenant, granularity="day")

    found = {row["startTime"][:10]: Decimal(row["cost"]["amount"]) for row in answer["rows"]}
    assert found == {day: Decimal(amount) for day, amount in expected.items()}


def test_aws_report_is_exact(stack: RunningStack, bills: Bills) -> None:
    expected = published("expected_provider_exports.json")
    path = shared_path("focus", "aws_cur_legacy_shared.csv.gz")

    imported = bills.load("aws-cur", path, "aws-cur")

    assert imported["accepted"] == expected["aws_cur_rows"]
    amount = Decimal(expected["aws_UnblendedCost_total"])
    assert total(costs(stack, "aws-cur")) == (expected["aws_cur_rows"], amount)
    found = {name: cost for name, (_, cost) in groups(stack, "aws-cur", "service").items()}
    assert found == {key: Decimal(text) for key, text in expected["aws_by_ProductCode"].items()}


def test_oci_report_is_exact(stack: RunningStack, bills: Bills) -> None:
    expected = published("expected_provider_exports.json")
    path = shared_path("focus", "oci_cost_report_shared.csv.gz")

    imported = bills.load("oci", path, "oci")

    assert imported["accepted"] == expected["oci_rows"]
    amount = Decimal(expected["oci_myCost_total"])
    assert total(costs(stack, "oci")) == (expected["oci_rows"], amount)
    found = {name: cost for name, (_, cost) in groups(stack, "oci", "service").items()}
    assert found == {key: Decimal(text) for key, text in expected["oci_by_service"].items()}


@pytest.mark.parametrize("tenant", AZURE_FILES)
def test_azure_export_is_exact_to_18_digits(stack: RunningStack, bills: Bills, tenant: str) -> None:
    path = shared_path("focus", AZURE_FILES[tenant])
    rows = table(path)
    column = "Cost" if "Cost" in rows[0] else "CostInBillingCurrency"
    kept = [Decimal(row[column]).quantize(Decimal("1e-18"), context=EXACT) for row in rows]

    imported = bills.load("azure", path, tenant)

    assert imported["accepted"] == len(rows)
    assert total(costs(stack, tenant)) == (len(rows), add_exactly(kept))

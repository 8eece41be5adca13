"""Every total of the real and the generated FOCUS files, to the last digit."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from services.kernel.money import add_exactly
from services.usage.domain.event import UsageEvent
from services.usage.service.importers import ImportKind, ImportOptions, detect, open_import
from tests.support.shared import shared_path
from tests.usage.importers.reading import billed, events, grouped

FILES = {
    "focus/focus_1_0_sample_shared.csv.gz": "FOCUS 1.0",
    "focus_generated/focus_1_2_cost_and_usage_aws_5000.csv.gz": "FOCUS 1.2",
    "focus_generated/focus_1_2_cost_and_usage_gcp_5000.csv.gz": "FOCUS 1.2",
    "focus_generated/focus_1_3_cost_and_usage_gcp_5000.csv.gz": "FOCUS 1.3",
}
ATTRIBUTES = {
    "ProviderName": "provider",
    "ServiceCategory": "service_category",
    "ServiceName": "service",
    "SubAccountId": "sub_account_id",
    "ChargeCategory": "charge_category",
    "RegionId": "region",
    "BillingCurrency": "currency_code",
}

pytestmark = pytest.mark.parametrize("name", FILES)


@cache
def expected(name: str) -> dict[str, Any]:
    path = shared_path("focus", "expected_aggregates.json")
    totals: dict[str, dict[str, Any]] = json.loads(path.read_text())
    return totals[name]


@cache
def parsed(name: str) -> tuple[UsageEvent, ...]:
    return tuple(events(shared_path(name)))


def test_kind_and_version_are_found(name: str) -> None:
    path = shared_path(name)

    rows = open_import(detect(path), path, ImportOptions())

    assert (rows.kind, rows.variant) == (ImportKind.FOCUS, FILES[name])
    assert rows.ignored_columns == (("Id",) if "1_0" in name else ())


def test_no_row_is_refused_and_the_four_costs_add_up(name: str) -> None:
    """opencost/opencost#2162, #2172, #3894: what was shown stood below the cloud's bill."""
    costs = [event.cost for event in parsed(name) if event.cost]

    assert len(costs) == expected(name)["rows"]
    assert add_exactly(cost.billed for cost in costs) == Decimal(expected(name)["sum_BilledCost"])
    for column, amounts in {
        "sum_EffectiveCost": (cost.effective for cost in costs),
        "sum_ListCost": (cost.list for cost in costs),
        "sum_ContractedCost": (cost.contracted for cost in costs),
    }.items():
        assert add_exactly(amounts) == Decimal(expected(name)[column])


@pytest.mark.parametrize("column", ATTRIBUTES)
def test_cost_by_attribute_adds_up(name: str, column: str) -> None:
    groups = grouped(parsed(name), ATTRIBUTES[column])

    totals = expected(name)[f"BilledCost_by_{column}"]

    assert len(groups) == len(totals) or len(totals) == 40, "the expected list stops at 40"
    for value, total in totals.items():
        assert len(groups[value]) == total["rows"]
        assert billed(groups[value]) == Decimal(total["BilledCost"])


def test_cost_by_tag_and_untagged_cost_add_up(name: str) -> None:
    all_events = parsed(name)

    tagged = [event for event in all_events if event.attributes.tags]
    untagged = [event for event in all_events if not event.attributes.tags]
    keys = Counter(key for event in all_events for key, _ in event.attributes.tags)

    assert len(tagged) == expected(name)["tagged_rows"]
    assert billed(untagged) == Decimal(expected(name)["untagged_BilledCost"])
    assert keys == expected(name)["tag_keys"]
    for tag, total in expected(name)["BilledCost_by_tag"].items():
        pair = tuple(tag.split("=", 1))
        assert billed(e for e in all_events if pair in e.attributes.tags) == Decimal(total)


def test_cost_by_day_adds_up(name: str) -> None:
    days: dict[str, list[UsageEvent]] = {}
    for event in parsed(name):
        days.setdefault(event.start_at.date().isoformat(), []).append(event)

    totals = {day: billed(items) for day, items in days.items()}

    assert totals == {
        day: Decimal(total) for day, total in expected(name)["BilledCost_by_day"].items()
    }


def test_importing_again_gives_the_same_events_with_ids_of_their_own(name: str) -> None:
    again = events(shared_path(name))

    assert tuple(again) == parsed(name)
    assert len({event.event_id for event in again}) == len(again)

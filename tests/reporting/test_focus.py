"""FOCUS: a bill that was imported comes back as it was, and usage of our own obeys the rules."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from finops.usage.v1 import (
    pricing_model_pb2,
    pricing_service_pb2,
    pricing_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
)
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.database import Database, PoolLimits
from services.reporting.domain.focus.columns import COLUMNS, exported_name
from services.reporting.domain.focus_rules.judging import Outcome, Verdict
from services.reporting.domain.focus_rules.model import RuleModel
from tests.reporting.conftest import Caller
from tests.reporting.exported import rows_of, total_of
from tests.reporting.focus_files import (
    breaches,
    content_of,
    import_file,
    judged,
    read_rows,
    value_of,
)
from tests.reporting.test_exports import DAY, costs, export, exporting, record, used
from tests.support.database import migrated
from tests.support.server import LocalServer
from tests.support.shared import shared_path

__all__ = ["exporting"]  # a fixture

EVER = {"start": "2020-01-01", "end": "2030-01-01"}
FILES = (
    ("focus", "focus_1_0_sample_shared.csv.gz"),
    ("focus_generated", "focus_1_2_cost_and_usage_aws_5000.csv.gz"),
    ("focus_generated", "focus_1_2_cost_and_usage_gcp_5000.csv.gz"),
    ("focus_generated", "focus_1_3_cost_and_usage_gcp_5000.csv.gz"),
)
COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")


@pytest.fixture(scope="session")
async def usage_database(owner_url: str) -> AsyncIterator[Database]:
    """The usage service's connections, for imports."""
    service = await migrated(owner_url, "usage")
    database = service.connect(PoolLimits(connections=4))
    yield database
    await database.close()


def meaning_of(rows: list[dict[str, Any]], names: dict[str, str]) -> Counter[tuple[Any, ...]]:
    """Returns the rows as bags of what their columns mean. names: column by column's name."""
    order = sorted(names)
    return Counter(tuple(value_of(row[names[name]]) for name in order) for row in rows)


@pytest.fixture(scope="session")
def model() -> RuleModel:
    """The published rules."""
    path = shared_path("focus", "reference", "focus_1_2_validation_rules.json.gz")
    return RuleModel(json.loads(gzip.decompress(path.read_bytes())))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file[1])
async def test_imported_bill_comes_back_column_by_column_and_breaks_no_more_rules(
    exporting: LocalServer,
    caller: Caller,
    usage_database: Database,
    model: RuleModel,
    file: tuple[str, str],
) -> None:
    content = content_of(shared_path(*file))
    bill = read_rows(content)

    assert await import_file(caller, usage_database, content) == len(bill)
    exported = rows_of(await export(exporting, caller, format="focus", **EVER), "focus")

    assert list(exported[0])[: len(COLUMNS)] == list(COLUMNS)
    header = list(bill[0])
    before = meaning_of(bill, {column: column for column in header})
    after = meaning_of(exported, {column: exported_name(column) for column in header})
    assert after == before
    for column in COSTS:
        total = total_of(exported, column)
        assert total == total_of(bill, column)
        asked = {**EVER, "cost_type": column.removesuffix("Cost").lower()}
        answer = await costs(caller, **asked)
        assert total == total_of(({"cost": each.cost.amount} for each in answer.totals), "cost")
    of_bill, of_export = judged(model, bill), judged(model, exported)
    show(file[1], of_export)
    assert breaches(of_export, only_required=True) <= breaches(of_bill)
    if file[0] == "focus_generated":
        assert not breaches(of_export)


def calls_of(count: int) -> list[usage_model_pb2.UsageEvent]:
    """Returns calls of a model, priced by their tokens."""
    return [
        usage_model_pb2.UsageEvent(
            event_id=f"call-{number}",
            source="gateway",
            start_time=stamp(number),
            resource_type="llm",
            quantity=str(101 + number),
            unit="token",
            components=[
                usage_model_pb2.UsageComponent(meter="input_token", quantity=str(100)),
                usage_model_pb2.UsageComponent(meter="output_token", quantity=str(1 + number)),
            ],
            resource_id="gpt-4o",
            provider="openai" if number % 2 else "",
            service="chat" if number % 3 else "",
            department="labs",
            user_id="ada",
            tags={"team": "=red"} if number % 4 else {},
        )
        for number in range(count)
    ]


async def test_usage_of_our_own_breaks_no_rule(
    exporting: LocalServer, caller: Caller, usage_server: LocalServer, model: RuleModel
) -> None:
    prices: Any = pricing_service_pb2_grpc.PricingServiceStub(
        usage_server.channel("org_admin", tenant=caller.tenant_id)
    )
    await prices.CreatePriceBook(
        pricing_service_pb2.CreatePriceBookRequest(
            price_book=pricing_model_pb2.PriceBook(price_book_id="own")
        )
    )
    for meter, price in (("input_token", "0.000003"), ("output_token", "0.000015")):
        await prices.CreatePrice(
            pricing_service_pb2.CreatePriceRequest(
                price=pricing_model_pb2.Price(
                    price_book_id="own",
                    resource_type="llm",
                    meter=meter,
                    currency_code="USD",
                    model=pricing_model_pb2.PRICING_MODEL_PER_UNIT,
                    tiers=[pricing_model_pb2.PriceTier(unit_price=price)],
                )
            )
        )
    calls = calls_of(40)
    given = [
        used(100, "12.5", resource_type="vm", unit="gb_hour", quantity="4", region="eu-1"),
        used(101, "3", service="Disks", service_category="storage", charge_category="Purchase"),
        used(102, "0.7", charge_category="Tax"),
        used(103, "-2", charge_category="Credit"),
        used(104, "0", quantity="0"),
    ]
    given[1].cost.effective = "0"
    await record(caller, *calls, *given)
    await caller.usage.AmendUsage(
        usage_service_pb2.AmendUsageRequest(
            source="gateway", event_id="call-1", amend_reason="a test call"
        )
    )

    rows = rows_of(await export(exporting, caller, format="focus", **EVER), "focus")

    assert len(rows) == len(calls) + len(given) + 1
    verdicts = judged(model, rows)
    show("native usage", verdicts)
    assert not breaches(verdicts)
    answer = await costs(caller, **EVER)
    assert total_of(rows, "BilledCost") == total_of(
        ({"cost": each.cost.amount} for each in answer.totals), "cost"
    )
    assert total_of(rows, "BilledCost") != 0
    assert Counter(row["ChargeClass"] for row in rows)["Correction"] == 1


def stamp(minutes: int) -> Timestamp:
    at = Timestamp()
    at.FromDatetime(DAY + timedelta(minutes=minutes))
    return at


def show(name: str, verdicts: dict[str, Verdict]) -> None:
    """Prints how many rules were run, passed and not applicable; pytest shows it with -s."""
    counts = Counter(verdict.outcome for verdict in verdicts.values())
    ran = counts[Outcome.PASSED] + counts[Outcome.FAILED] + counts[Outcome.ERRATUM]
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    sys.stdout.write(f"{name}: {len(verdicts)} rules, {ran} run; {told}\n")

"""Utilization, catalogues and carbon over real services."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from finops.optimizer.v1 import resource_model_pb2
from finops.optimizer.v1 import resource_service_pb2 as messages
from google.api.httpbody_pb2 import HttpBody

from tests.optimizer.conftest import Desk
from tests.optimizer.making import CATALOGUE, FACTORS, machine_hours
from tests.support.server import refused


async def load(desk: Desk, content: bytes = CATALOGUE) -> resource_model_pb2.Catalogue:
    request = messages.ImportCatalogueRequest(catalogue_id="acme", content=HttpBody(data=content))
    found: resource_model_pb2.Catalogue = (
        await desk.resources().ImportCatalogue(request)
    ).catalogue
    return found


def day(at: datetime) -> float:
    """Works by day, and an hour of it beyond its capacity, as on lent CPU time."""
    if at.hour == 14:
        return 1.14
    return 0.6 if 8 <= at.hour < 18 else 0.1


async def test_utilization_shows_percentiles_idle_shape_and_cost(desk: Desk) -> None:
    await load(desk)
    await desk.record(
        [
            *machine_hours("idle", lambda _: 0.002, days=30),
            *machine_hours("day", day, days=30, price="0.2"),
        ]
    )
    stub = desk.resources()
    ask = messages.ListResourceUtilizationRequest

    page = await stub.ListResourceUtilization(ask(start="2026-01-17", end="2026-02-16"))
    resources = {one.resource_id: one for one in page.resources}
    assert list(resources) == ["idle", "day"]
    assert resources["idle"].idle
    assert resources["idle"].idle_ratio == "1"
    assert resources["day"].profile == "daily"
    use = resources["day"].measures[0]
    assert Decimal(use.p95_ratio) == Decimal("0.6")
    assert (use.above_capacity_count, use.max_ratio[:4]) == (30, "1.14")
    assert resources["day"].cost.amount == "144"
    busy = await stub.ListResourceUtilization(
        ask(start="2026-01-17", end="2026-02-16", filter="cpu_p95 > 0.5 AND idle = false")
    )
    assert [one.resource_id for one in busy.resources] == ["day"]
    first = await stub.ListResourceUtilization(
        ask(start="2026-01-17", end="2026-02-16", page_size=1, order_by="resource_id")
    )
    second = await stub.ListResourceUtilization(
        ask(
            start="2026-01-17",
            end="2026-02-16",
            order_by="resource_id",
            page_token=first.next_page_token,
        )
    )
    assert [*first.resources, *second.resources] == [resources["day"], resources["idle"]]

    week = await stub.GetScalingProfile(
        messages.GetScalingProfileRequest(resource_id="day", start="2026-01-17", end="2026-02-16")
    )
    assert len(week.profile.hours) == 168
    assert week.profile.hours[9].mean_ratio == "0.6"
    unknown = await refused(
        stub.GetScalingProfile(messages.GetScalingProfileRequest(resource_id="none"))
    )
    assert unknown.reason == "RESOURCE_NOT_FOUND"


async def test_a_catalogue_is_loaded_once_listed_and_deleted(desk: Desk) -> None:
    loaded = await load(desk, CATALOGUE + b"odd,acme-cloud,eu,0,1,1,\n")
    again = await load(desk, CATALOGUE + b"odd,acme-cloud,eu,0,1,1,\n")
    stub = desk.resources()

    assert loaded.type_count == again.type_count == 4
    assert loaded.problems == ["row 5: vcpus must be above zero"]
    assert loaded.update_time == again.update_time
    types = await stub.ListInstanceTypes(
        messages.ListInstanceTypesRequest(
            filter='region = "eu" AND vcpus <= 4', order_by="hourly_price desc", page_size=1
        )
    )
    assert [one.instance_type for one in types.instance_types] == ["big.xlarge"]
    rest = await stub.ListInstanceTypes(
        messages.ListInstanceTypesRequest(
            filter='region = "eu" AND vcpus <= 4',
            order_by="hourly_price desc",
            page_token=types.next_page_token,
        )
    )
    assert [one.instance_type for one in rest.instance_types] == ["big.large"]
    listed = await stub.ListCatalogues(messages.ListCataloguesRequest())
    assert [one.catalogue_id for one in listed.catalogues] == ["acme"]
    delete = messages.DeleteCatalogueRequest(catalogue_id="acme")
    await stub.DeleteCatalogue(delete)
    assert not (await stub.ListCatalogues(messages.ListCataloguesRequest())).catalogues
    assert (await refused(stub.DeleteCatalogue(delete))).reason == "CATALOGUE_NOT_FOUND"
    bad = messages.ImportCatalogueRequest(catalogue_id="x", content=HttpBody(data=b"a,b\n1,2\n"))
    assert (await refused(stub.ImportCatalogue(bad))).reason == "UNREADABLE_FILE"


async def test_carbon_is_told_beside_cost_with_the_sources_of_its_factors(desk: Desk) -> None:
    await load(desk)
    stub = desk.resources()
    loaded = await stub.ImportEmissionFactors(
        messages.ImportEmissionFactorsRequest(content=HttpBody(data=FACTORS))
    )
    assert loaded.row_count == 2
    await desk.record(
        [
            *machine_hours("one", lambda _: 0.5, days=10),
            *machine_hours("other", lambda _: 0.5, days=10, kind="unknown"),
        ]
    )

    answer = await stub.GetCarbonFootprint(
        messages.GetCarbonFootprintRequest(
            start="2026-01-17", end="2026-01-27", group_by=["resource_id"]
        )
    )

    rows = {row.group["resource_id"]: row for row in answer.rows}
    # 240 hours x 29.504 W (8 CPUs at half load, 32 GiB) x 1.135 x 0.4 kg/kWh.
    assert Decimal(rows["one"].kg_co2e) == Decimal("3.21475584")
    assert rows["one"].covered_ratio == "1"
    assert rows["other"].kg_co2e == "0"
    assert answer.uncovered_cost_ratio == "0.5"
    assert list(answer.sources) == ["Example grid report 2025"]
    factors = await stub.ListEmissionFactors(messages.ListEmissionFactorsRequest(page_size=1))
    assert factors.factors[0].source == "Example grid report 2025"
    assert factors.next_page_token
    odd = await refused(
        stub.GetCarbonFootprint(messages.GetCarbonFootprintRequest(group_by=["colour"]))
    )
    assert odd.reason == "UNKNOWN_CARBON_DIMENSION"

"""Utilization, catalogues and carbon between contract and domain."""

from __future__ import annotations

from decimal import Decimal

from finops.optimizer.v1 import detail_model_pb2
from finops.optimizer.v1 import resource_model_pb2 as model
from finops.optimizer.v1 import resource_service_pb2 as messages
from google.protobuf.json_format import ParseDict

from services.kernel.listing import ListRequest, page_request
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest
from services.optimizer.convert.values import (
    from_amount,
    from_figure,
    from_instant,
    from_optional,
)
from services.optimizer.domain.catalogue import InstanceType, StoredCatalogue
from services.optimizer.domain.emission import EmissionFactor
from services.optimizer.domain.fit import UseStatistics
from services.optimizer.domain.statistics import HOURS_OF_WEEK
from services.optimizer.service.carbon import CarbonFootprint, CarbonRow
from services.optimizer.service.resources import ShownProfile, ShownResource

_SERVICE = "finops.optimizer.v1.ResourceService"


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")


def to_resource_page(
    request: messages.ListResourceUtilizationRequest, tenant_id: str
) -> PageRequest:
    """Returns which page of resources is asked, of which period."""
    return PageRequest(
        tenant_id=tenant_id,
        method=f"{_SERVICE}/ListResourceUtilization",
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
        arguments={"start": request.start, "end": request.end},
    )


def from_resources(page: Page[ShownResource]) -> messages.ListResourceUtilizationResponse:
    """Converts a page of resources."""
    return messages.ListResourceUtilizationResponse(
        resources=[_resource(one) for one in page.items], next_page_token=page.next_page_token
    )


def _resource(one: ShownResource) -> model.ResourceUtilization:
    subject = one.resource.subject
    return model.ResourceUtilization(
        resource_id=one.resource.resource_id,
        resource_type=subject.resource_type,
        department_id=subject.department,
        project=subject.project,
        provider=subject.provider,
        region=subject.region,
        instance_type=one.resource.instance_type,
        measures=[_measure(one, name) for name in sorted(one.use)],
        cost=from_amount(one.cost, subject.currency_code),
        idle_ratio=from_figure(one.idle_ratio),
        idle=one.is_idle,
        profile=one.shape,
        last_use_time=from_optional(one.last_used_at),
        recommendation_ids=one.recommendation_ids,
    )


def _measure(one: ShownResource, name: str) -> model.UtilizationStatistics:
    use: UseStatistics = one.use[name]
    samples = one.resource.utilization[name]
    return model.UtilizationStatistics(
        measure=name,
        mean_ratio=from_figure(use.mean),
        p50_ratio=from_figure(use.p50),
        p95_ratio=from_figure(use.p95),
        p99_ratio=from_figure(use.p99),
        max_ratio=from_figure(use.maximum),
        sample_count=use.sample_count,
        above_capacity_count=use.above_capacity_count,
        capacity="" if samples.capacity is None else format_decimal(samples.capacity),
        unit=samples.unit,
    )


def from_profile(found: ShownProfile) -> messages.GetScalingProfileResponse:
    """Converts a resource's week."""
    profile = model.ScalingProfile(
        resource_id=found.resource_id,
        hours=[
            model.ProfileHour(
                hour_of_week=hour,
                mean_ratio=from_figure(float(found.means[hour])),
                p95_ratio=from_figure(float(found.percentiles[hour])),
            )
            for hour in range(HOURS_OF_WEEK)
        ],
    )
    if found.policy is not None:
        policy = detail_model_pb2.ScalingPolicy()
        ParseDict(found.policy.detail(), policy)
        profile.policy.CopyFrom(policy)
        profile.monthly_saving.CopyFrom(from_amount(found.saving, found.currency_code))
    return messages.GetScalingProfileResponse(profile=profile)


def from_carbon(found: CarbonFootprint) -> messages.GetCarbonFootprintResponse:
    """Converts carbon by group."""
    return messages.GetCarbonFootprintResponse(
        rows=[_carbon_row(row, found.currency_code) for row in found.rows],
        total_kg_co2e=from_figure(found.total.total),
        uncovered_cost_ratio=from_figure(found.uncovered),
        sources=found.sources,
    )


def _carbon_row(row: CarbonRow, code: str) -> model.CarbonRow:
    kg: Decimal = row.footprint.total
    return model.CarbonRow(
        group=row.group,
        kg_co2e=from_figure(kg),
        operational_kg_co2e=from_figure(row.footprint.operational),
        embodied_kg_co2e=from_figure(row.footprint.embodied),
        energy_kwh=from_figure(row.footprint.energy_kwh),
        cost=from_amount(row.cost, code),
        kg_co2e_per_cost=from_figure(kg / row.cost) if row.cost else "",
        covered_ratio=from_figure(row.covered),
    )


def from_catalogue(stored: StoredCatalogue, problems: list[str] | None = None) -> model.Catalogue:
    """Converts a catalogue. problems: only after an import."""
    return model.Catalogue(
        catalogue_id=stored.catalogue_id,
        provider=stored.provider,
        currency_code=stored.currency_code,
        type_count=stored.type_count,
        problems=problems or [],
        content_hash=stored.content_hash,
        update_time=from_instant(stored.updated_at),
    )


def from_catalogues(page: Page[StoredCatalogue]) -> messages.ListCataloguesResponse:
    """Converts a page of catalogues."""
    return messages.ListCataloguesResponse(
        catalogues=[from_catalogue(one) for one in page.items],
        next_page_token=page.next_page_token,
    )


def from_types(page: Page[InstanceType]) -> messages.ListInstanceTypesResponse:
    """Converts a page of instance types."""
    return messages.ListInstanceTypesResponse(
        instance_types=[_type(one) for one in page.items], next_page_token=page.next_page_token
    )


def _type(one: InstanceType) -> model.InstanceType:
    return model.InstanceType(
        catalogue_id=one.catalogue_id,
        instance_type=one.name,
        family=one.family,
        provider=one.provider,
        region=one.region,
        vcpus=format_decimal(one.vcpus),
        memory_gib=format_decimal(one.memory_gib),
        gpus=format_decimal(one.gpus),
        gpu_model=one.gpu_model,
        hourly_price=from_amount(one.hourly_price, one.currency_code),
        idle_watts=from_figure(one.idle_watts),
        busy_watts=from_figure(one.busy_watts),
    )


def from_factors(page: Page[EmissionFactor]) -> messages.ListEmissionFactorsResponse:
    """Converts a page of emission factors."""
    return messages.ListEmissionFactorsResponse(
        factors=[
            model.EmissionFactor(
                provider=one.provider,
                region=one.region,
                resource_type=one.resource_type,
                factor=format_decimal(one.factor),
                unit=one.unit,
                source=one.source,
                valid_start_date=one.valid_from,
            )
            for one in page.items
        ],
        next_page_token=page.next_page_token,
    )

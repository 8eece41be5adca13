"""Catalogues, instance types and emission factors as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select

from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction
from services.optimizer.domain.catalogue import Catalogue, InstanceType, StoredCatalogue
from services.optimizer.domain.emission import EmissionFactor, EmissionFactors
from services.optimizer.tables.catalogues import catalogue, emission_factor, instance_type

_TEXT, _NUMBER = FieldType.STRING, FieldType.NUMBER
_CATALOGUES = Listing(
    filters={name: FilterField(_TEXT, catalogue.c[name]) for name in ("catalogue_id", "provider")},
    orders={"catalogue_id": catalogue.c.catalogue_id, "update_time": catalogue.c.updated_at},
    default_order="catalogue_id",
    tie_break="catalogue_id",
)
_types = instance_type.c
_TYPES = Listing(
    filters={
        name: FilterField(_TEXT, _types[name])
        for name in ("catalogue_id", "instance_type", "family", "provider", "region")
    }
    | {
        name: FilterField(_NUMBER, _types[name])
        for name in ("vcpus", "memory_gib", "gpus", "hourly_price")
    },
    orders={name: _types[name] for name in ("hourly_price", "instance_type", "vcpus", "memory_gib")}
    | {
        "place": (_types.catalogue_id + "/" + _types.instance_type + "/" + _types.region).label(
            "place"
        )
    },
    default_order="instance_type",
    tie_break="place",
)
_factors = emission_factor.c
_FACTORS = Listing(
    filters={
        name: FilterField(_TEXT, _factors[name]) for name in ("provider", "region", "resource_type")
    },
    orders={"provider": _factors.provider, "region": _factors.region}
    | {
        "place": (
            _factors.provider
            + "/"
            + _factors.region
            + "/"
            + _factors.resource_type
            + "/"
            + _factors.unit
        ).label("place")
    },
    default_order="provider",
    tie_break="place",
)


async def find(tx: Transaction, tenant_id: str, catalogue_id: str) -> StoredCatalogue | None:
    """Returns a catalogue, None where there is none of that id."""
    statement = select(catalogue).where(
        catalogue.c.tenant_id == tenant_id, catalogue.c.catalogue_id == catalogue_id
    )
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _catalogue(row)


async def replace(
    tx: Transaction, tenant_id: str, stored: StoredCatalogue, types: Sequence[InstanceType]
) -> None:
    """Stores a catalogue and its types in place of those before."""
    await remove(tx, tenant_id, stored.catalogue_id)
    await tx.execute(insert(catalogue).values(tenant_id=tenant_id, **stored._asdict()))
    if types:
        await tx.execute(
            insert(instance_type),
            [_type_values(tenant_id, stored.catalogue_id, one) for one in types],
        )


async def remove(tx: Transaction, tenant_id: str, catalogue_id: str) -> bool:
    """Deletes a catalogue with its types; False where there is none."""
    result = await tx.execute(
        delete(catalogue).where(
            catalogue.c.tenant_id == tenant_id, catalogue.c.catalogue_id == catalogue_id
        )
    )
    return bool(result.rowcount)


async def list_catalogues(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[StoredCatalogue]:
    """Returns a page of a tenant's catalogues."""
    statement = select(catalogue).where(catalogue.c.tenant_id == page.tenant_id)
    found = await _CATALOGUES.page(tx, statement, page, tokens)
    return Page([_catalogue(row) for row in found.items], found.next_page_token)


async def list_types(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[InstanceType]:
    """Returns a page of a tenant's instance types."""
    statement = select(instance_type, _TYPES.orders["place"]).where(
        _types.tenant_id == page.tenant_id
    )
    found = await _TYPES.page(tx, statement, page, tokens)
    return Page([_type(row) for row in found.items], found.next_page_token)


async def load_catalogue(tx: Transaction, tenant_id: str) -> Catalogue:
    """Returns all types that a tenant knows."""
    rows = await tx.execute(select(instance_type).where(_types.tenant_id == tenant_id))
    return Catalogue([_type(row) for row in rows.mappings()])


async def save_factors(tx: Transaction, tenant_id: str, factors: Sequence[EmissionFactor]) -> None:
    """Stores factors, in place of those for the same place and type."""
    await tx.driver.executemany(
        """
        INSERT INTO emission_factor
            (tenant_id, provider, region, resource_type, unit, factor, source, valid_from)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant_id, provider, region, resource_type, unit) DO UPDATE
        SET factor = excluded.factor, source = excluded.source, valid_from = excluded.valid_from
        """,
        [
            (
                tenant_id,
                one.provider,
                one.region,
                one.resource_type,
                one.unit,
                one.factor,
                one.source,
                one.valid_from,
            )
            for one in factors
        ],
    )


async def list_factors(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[EmissionFactor]:
    """Returns a page of a tenant's emission factors."""
    statement = select(emission_factor, _FACTORS.orders["place"]).where(
        _factors.tenant_id == page.tenant_id
    )
    found = await _FACTORS.page(tx, statement, page, tokens)
    return Page([_factor(row) for row in found.items], found.next_page_token)


async def load_factors(tx: Transaction, tenant_id: str) -> EmissionFactors:
    """Returns all factors that a tenant knows."""
    rows = await tx.execute(select(emission_factor).where(_factors.tenant_id == tenant_id))
    return EmissionFactors([_factor(row) for row in rows.mappings()])


def _catalogue(row: RowMapping) -> StoredCatalogue:
    return StoredCatalogue(*(row[name] for name in StoredCatalogue._fields))


_PLAIN = (
    *("family", "provider", "region", "vcpus", "memory_gib", "gpus", "gpu_model"),
    *("currency_code", "hourly_price", "reserved_hourly_price", "architecture", "is_current"),
    *("is_burstable", "idle_watts", "busy_watts"),
)


def _type_values(tenant_id: str, catalogue_id: str, one: InstanceType) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "catalogue_id": catalogue_id,
        "instance_type": one.name,
        **{name: getattr(one, name) for name in _PLAIN},
    }


def _type(row: RowMapping) -> InstanceType:
    values: dict[str, Any] = {name: row[name] for name in _PLAIN}
    return InstanceType(name=row["instance_type"], catalogue_id=row["catalogue_id"], **values)


def _factor(row: RowMapping) -> EmissionFactor:
    names = ("provider", "region", "resource_type", "unit", "factor", "source", "valid_from")
    values: dict[str, Any] = {name: row[name] for name in names}
    return EmissionFactor(**values)

"""Dimensions of cost: the value that attributes have along one, and attributes moved along it."""

from __future__ import annotations

from typing import Any

from services.usage.domain.event import Attributes

TAG_PREFIX = "tag:"
# Names as questions about cost use them, by the attribute that holds them.
FIELD_BY_DIMENSION = {
    "department": "department",
    "project": "project",
    "user": "user_id",
    "resource_type": "resource_type",
    "resource_id": "resource_id",
    "service": "service",
    "service_category": "service_category",
    "provider": "provider",
    "region": "region",
    "sub_account": "sub_account_id",
    "charge_category": "charge_category",
    "unit": "unit",
}


def is_dimension(name: str) -> bool:
    """Tells whether attributes have a value along a dimension of this name."""
    is_tag = name.startswith(TAG_PREFIX) and len(name) > len(TAG_PREFIX)
    return is_tag or name in FIELD_BY_DIMENSION


def value_of(attributes: Attributes, dimension: str) -> str:
    """Returns the value along a dimension, "" where there is none."""
    if dimension.startswith(TAG_PREFIX):
        return dict(attributes.tags).get(dimension.removeprefix(TAG_PREFIX), "")
    value: str = getattr(attributes, FIELD_BY_DIMENSION[dimension])
    return value


def moved_to(attributes: Attributes, dimension: str, value: str) -> Attributes:
    """Returns the attributes with another value along a dimension."""
    if not dimension.startswith(TAG_PREFIX):
        changed: dict[str, Any] = {FIELD_BY_DIMENSION[dimension]: value}
        return attributes._replace(**changed)
    tags = dict(attributes.tags) | {dimension.removeprefix(TAG_PREFIX): value}
    return attributes._replace(tags=tuple(sorted(tags.items())))

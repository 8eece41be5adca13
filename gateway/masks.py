"""The field mask that a partial update implies when it sends none.

Source: grpc-gateway's runtime/fieldmask.go; fields that callers cannot set are left out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protobuf import DescMessage, Registry

from gateway.descriptors import FIELD_BEHAVIOR, option
from gateway.fields import camel_case, fields_by_name, nested_of

OUTPUT_ONLY = 3  # google.api.FieldBehavior.OUTPUT_ONLY


def paths_of(message: DescMessage, document: Any, registry: Registry) -> list[str]:
    """Returns the paths that a JSON object sets, in proto names, down to lists, maps and scalars.

    Fields that only the service writes are skipped, so that a resource can be sent as it was read.
    """
    if not isinstance(document, dict):
        return []
    return list(_paths(message, document, "", registry))


def json_mask(paths: list[str]) -> str:
    """Returns paths as the JSON form of a field mask spells them."""
    return ",".join(".".join(camel_case(part) for part in path.split(".")) for path in paths)


def _paths(
    message: DescMessage, document: dict[str, Any], prefix: str, registry: Registry
) -> Iterator[str]:
    known = fields_by_name(message)
    for name, value in document.items():
        field = known.get(name)
        if field is None or OUTPUT_ONLY in (option(registry, field, FIELD_BEHAVIOR) or ()):
            continue
        path = f"{prefix}{field.name}"
        nested = nested_of(field)
        if nested is not None and isinstance(value, dict) and value:
            yield from _paths(nested, value, f"{path}.", registry)
        else:
            yield path

"""The field mask that a partial update implies when it sends none.

A field that the body holds is changed as a whole, a message too, as the services understand masks.
"""

from __future__ import annotations

from typing import Any

from protobuf import DescMessage, Registry

from gateway.descriptors import FIELD_BEHAVIOR, option
from gateway.fields import camel_case, fields_by_name

OUTPUT_ONLY = 3  # google.api.FieldBehavior.OUTPUT_ONLY


def paths_of(message: DescMessage, document: Any, registry: Registry) -> list[str]:
    """Returns the fields that a JSON object sets, in proto names.

    Fields that only the service writes are skipped, so that a resource can be sent as it was read.
    """
    if not isinstance(document, dict):
        return []
    known = fields_by_name(message)
    fields = [known[name] for name in document if name in known]
    return [
        field.name
        for field in fields
        if OUTPUT_ONLY not in (option(registry, field, FIELD_BEHAVIOR) or ())
    ]


def json_mask(paths: list[str]) -> str:
    """Returns paths as the JSON form of a field mask spells them."""
    return ",".join(".".join(camel_case(part) for part in path.split(".")) for path in paths)

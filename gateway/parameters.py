"""Path and query parameters as OpenAPI writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from protobuf import DescField, DescFieldValueMap, DescMessage

from gateway.fields import TEXTUAL, element_of, is_repeated, nested_of, resolve
from gateway.routes import Route
from gateway.rules import Schema
from gateway.schemas import Schemas, Side
from gateway.templates import REST, STAR, Template, Variable

# Deeper fields can be given, too; the document stops here so that it stays readable.
NESTING_MAX: Final = 3


def parameter_names(template: Template) -> list[str]:
    """Returns a name for each wildcard of the template's variables, without dots, each once.

    The last part of the field's path where it is free, so that `/things/{thing.id}` and
    `/things/{id}` are one path, as OpenAPI demands.
    """
    found: list[str] = []
    for variable in template.variables:
        places = _wildcards(template, variable)
        short = variable.field.rpartition(".")[2]
        name = short if short not in found else variable.field.replace(".", "_")
        many = [f"{name}_{number}" for number in range(1, len(places) + 1)]
        found.extend(many if len(places) > 1 else [name])
    return found


def path_text(template: Template, names: list[str]) -> str:
    """Returns the path as OpenAPI writes it; each wildcard of a variable is one parameter."""
    segments = list(template.segments)
    places = [place for v in template.variables for place in _wildcards(template, v)]
    for place, name in zip(places, names, strict=True):
        segments[place] = f"{{{name}}}"
    path = "/" + "/".join(segments)
    return f"{path}:{template.verb}" if template.verb else path


def path_parameters(route: Route, schemas: Schemas, names: list[str]) -> list[dict[str, Any]]:
    """Returns one parameter for each wildcard of the route's template."""
    found: list[dict[str, Any]] = []
    remaining = iter(names)
    for variable in route.template.variables:
        path = resolve(route.method.input, variable.field)
        assert path is not None  # noqa: S101 - the transcoder refused wrong rules at start
        schema = schemas.field(path[-1], Side.URL)
        description = schema.pop("description", "")
        if variable.is_multiple:
            schema = {"type": "string"}
        if schema.get("type") == "string" and "enum" not in schema:
            schema["minLength"] = max(1, schema.get("minLength", 1))
        found.extend(
            {
                "name": next(remaining),
                "in": "path",
                "required": True,
                "description": description,
                "schema": dict(schema),
            }
            for _ in _wildcards(route.template, variable)
        )
    return found


def query_parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    """Returns the parameters for the fields that neither path nor body gives."""
    taken = {variable.field for variable in route.template.variables}
    if route.binding.body:
        taken.add(route.binding.body)
    return list(_query(route.method.input, schemas, "", "", taken, required=True, level=1))


def _query(
    message: DescMessage,
    schemas: Schemas,
    prefix: str,
    proto_prefix: str,
    taken: set[str],
    *,
    required: bool,
    level: int,
) -> Iterator[dict[str, Any]]:
    demanded = schemas.required(message) if required else []
    for field in message.fields:
        proto_name = f"{proto_prefix}{field.name}"
        if proto_name in taken or schemas.is_written_by_service(field):
            continue
        name = f"{prefix}{field.json_name}"
        nested = nested_of(field)
        if nested is not None:
            if level < NESTING_MAX:
                yield from _query(
                    nested,
                    schemas,
                    f"{name}.",
                    f"{proto_name}.",
                    taken,
                    required=field in demanded,
                    level=level + 1,
                )
        elif _fits(field):
            yield _parameter(name, field, schemas, is_required=field in demanded)


def _fits(field: DescField) -> bool:
    """Tells whether text can hold the field, or one element of it."""
    inside = element_of(field)
    return not isinstance(inside, DescMessage) or inside.type_name in TEXTUAL


def _parameter(
    name: str, field: DescField, schemas: Schemas, *, is_required: bool
) -> dict[str, Any]:
    schema: Schema = schemas.field(field, Side.URL)
    found: dict[str, Any] = {
        "name": name,
        "in": "query",
        "required": is_required,
        "description": schema.pop("description", ""),
        "schema": schema,
    }
    if isinstance(field.value, DescFieldValueMap):
        found |= {"style": "deepObject", "explode": True}
    elif is_repeated(field):
        found |= {"style": "form", "explode": True}
    return found


def _wildcards(template: Template, variable: Variable) -> list[int]:
    """Returns the position of each wildcard of a variable."""
    end = len(template.segments) if variable.end is None else variable.end
    return [i for i in range(variable.start, end) if template.segments[i] in (STAR, REST)]

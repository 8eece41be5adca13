"""The OpenAPI 3.1 document of what the gateway serves, from descriptors and their comments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from gateway.compression import ENCODINGS
from gateway.descriptors import Catalog, Method
from gateway.operations import error_responses, error_schema, operation
from gateway.parameters import parameter_names, path_text
from gateway.routes import Router
from gateway.schemas import Schemas

OPENAPI_VERSION: Final = "3.1.0"
TITLE: Final = "FinOps"
DISTRIBUTION: Final = "finops-suite"
DESCRIPTION: Final = (
    "Meters usage, attributes cost, enforces budgets, bills, finds savings and forecasts spend.\n\n"
    "* JSON follows the ProtoJSON mapping: camelCase names (snake_case is read too), 64-bit "
    "integers as text, times in RFC 3339.\n"
    "* Send `Authorization: Bearer <JWT or API key>`.\n"
    "* `Grpc-Timeout` (for example `10S`) sets a deadline; `X-Request-Id` and `traceparent` are "
    "taken and given back.\n"
    f"* Answers are compressed as {', '.join(ENCODINGS)} where the caller accepts it; bodies may "
    "be sent with `Content-Encoding: gzip`.\n"
    "* Errors follow AIP-193; every one bears an `ErrorInfo` with a stable `reason`."
)
# A binding of any verb is shown under the one that callers use for it.
_SHOWN_VERBS: Final = {"*": "post"}


def openapi_document(catalog: Catalog, services: Iterable[str] | None = None) -> bytes:
    """Returns the document as JSON. services: those that are offered; None for all there are."""
    offered = None if services is None else frozenset(services)
    methods = [m for m in catalog.methods if offered is None or m.service in offered]
    schemas = Schemas(catalog)
    paths: dict[str, dict[str, Any]] = {}
    shapes: dict[str, list[str]] = {}
    for route in Router(methods).routes:
        verb = _SHOWN_VERBS.get(route.binding.verb, route.binding.verb.lower())
        shape = path_text(route.template, [""] * len(parameter_names(route.template)))
        # Paths of one shape are one path, so the first one's names serve all.
        names = shapes.setdefault(shape, parameter_names(route.template))
        path = paths.setdefault(path_text(route.template, names), {})
        path[verb] = operation(route, schemas, names)
    document = {
        "openapi": OPENAPI_VERSION,
        "info": {"title": TITLE, "version": _version(), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": _tags(methods, schemas),
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas.components, "Error": error_schema()},
            "responses": error_responses(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"


def _tags(methods: Iterable[Method], schemas: Schemas) -> list[dict[str, str]]:
    services = dict.fromkeys(method.service for method in methods)
    return [
        {"name": service.rpartition(".")[2], "description": schemas.comment(service)}
        for service in services
    ]

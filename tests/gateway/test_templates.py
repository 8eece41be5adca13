"""Path templates: the table of google/api/http.proto and grpc-gateway's httprule tests."""

from __future__ import annotations

import pytest

from gateway.descriptors import Catalog
from gateway.errors import MalformedPath, MethodNotAllowed, RouteNotFound
from gateway.routes import Router
from gateway.templates import TemplateSyntax, parse_template


@pytest.mark.parametrize(
    ("text", "segments", "verb"),
    [
        ("/", (), ""),
        ("/v1/messages", ("v1", "messages"), ""),
        ("/v1/*", ("v1", "*"), ""),
        ("/v1/**", ("v1", "**"), ""),
        ("/v1/{name}", ("v1", "*"), ""),
        ("/v1/{name=*}:get", ("v1", "*"), "get"),
        ("/v1/{name=projects/*/things/*}", ("v1", "projects", "*", "things", "*"), ""),
        ("/v1/{a.b.c}/x/{d=**}:run", ("v1", "*", "x", "**"), "run"),
        ("/v1/things:batchGet", ("v1", "things"), "batchGet"),
    ],
)
def test_a_template_is_read(text: str, segments: tuple[str, ...], verb: str) -> None:
    template = parse_template(text)

    assert template.segments == segments
    assert template.verb == verb


@pytest.mark.parametrize(
    "text",
    ["", "v1", "/v1/", "/v1//x", "/v1/{}", "/v1/{name", "/v1/{name=}", "/v1/{a={b}}", "/**/x",
     "/v1/{a}/{a}", "/v1/x:", "/v1/{1a}", "/v1/a{b}"],
)  # fmt: skip
def test_a_wrong_template_is_refused(text: str) -> None:
    with pytest.raises(TemplateSyntax):
        parse_template(text)


@pytest.mark.parametrize(
    ("verb", "path", "captured"),
    [
        ("GET", "/v1/projects/p1/things/t1", {"name": "projects/p1/things/t1"}),
        ("GET", "/v1/projects/p%201/things/t%2F1", {"name": "projects/p 1/things/t%2F1"}),
        ("GET", "/v1/files/a/b%20c/d", {"name": "a/b c/d"}),
        ("GET", "/v1/files/a%2Fb", {"name": "a%2Fb"}),
        ("GET", "/v1/files", {"name": ""}),
        ("GET", "/v1/pairs/c%2F1/n%3A2", {"child.id": "c/1", "name": "n:2"}),
        ("GET", "/v1/pairs/c1/n2:inspect", {"child.id": "c1", "name": "n2"}),
        ("GET", "/v1/pairs/c1/n2:other", {"child.id": "c1", "name": "n2:other"}),
        ("GET", "/v1/pairs/fixed/n2", {"name": "n2"}),
        ("REPORT", "/v1/report/r1", {"name": "r1"}),
        ("GET", "/v1/query/7/COLOR_RED", {"count": "7", "color": "COLOR_RED"}),
        ("POST", "/v1/children/%E2%82%AC", {"name": "€"}),
    ],
)
def test_a_path_gives_its_variables(
    catalog: Catalog, verb: str, path: str, captured: dict[str, str]
) -> None:
    assert Router(catalog.methods).match(verb, path).captured == captured


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/echo/", "/v1/pairs//x", "/v2/echo", "/v1/projects/p/things", "//"]
)
def test_a_path_without_binding_is_not_found(catalog: Catalog, path: str) -> None:
    with pytest.raises(RouteNotFound) as error:
        Router(catalog.methods).match("GET", path)

    assert error.value.reason == "ROUTE_NOT_FOUND"


def test_another_method_on_a_path_is_not_allowed(catalog: Catalog) -> None:
    router = Router(catalog.methods)

    with pytest.raises(MethodNotAllowed) as error:
        router.match("GET", "/v1/echo")

    assert error.value.allowed == ["POST"]
    assert error.value.reason == "METHOD_NOT_ALLOWED"
    assert router.verbs("/v1/things/x") == ["DELETE", "PATCH"]


def test_a_verb_after_a_colon_is_not_part_of_a_name(catalog: Catalog) -> None:
    router = Router(catalog.methods)

    assert router.verbs("/v1/items:watch") == ["GET"]
    with pytest.raises(MethodNotAllowed):
        router.match("PUT", "/v1/pairs/c1/n2:inspect")


def test_a_path_that_is_not_utf_8_is_malformed(catalog: Catalog) -> None:
    with pytest.raises(MalformedPath) as error:
        Router(catalog.methods).match("GET", "/v1/files/%ff")

    assert error.value.reason == "MALFORMED_PATH"


def test_two_methods_on_one_binding_are_refused(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="both bound to"):
        Router([*catalog.methods, catalog.methods[0]])

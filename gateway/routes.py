"""Finding the binding for a verb and a path.

A tree of path segments; literals win over `*`, and `*` over `**`, whatever the order of contracts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.descriptors import Binding, Method
from gateway.errors import MalformedPath, MethodNotAllowed, RouteNotFound
from gateway.templates import REST, STAR, Template, decode_segment, parse_template


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One binding of a method with its parsed template."""

    method: Method
    binding: Binding
    template: Template


@dataclass(frozen=True, slots=True)
class Match:
    """A route and what the path gave for its variables."""

    route: Route
    captured: dict[str, str]


@dataclass(slots=True)
class _Node:
    """One position in the tree; `leaves` maps a template's verb to HTTP verbs to routes."""

    literals: dict[str, _Node] = field(default_factory=dict)
    star: _Node | None = None
    rest: _Node | None = None
    leaves: dict[str, dict[str, Route]] = field(default_factory=dict)


class Router:
    """All routes of the gateway."""

    def __init__(self, methods: Iterable[Method]) -> None:
        """Parses every binding. Raises TemplateSyntax, and ValueError where two collide."""
        self._root = _Node()
        self.routes: list[Route] = []
        for method in methods:
            for binding in method.bindings:
                self._add(Route(method, binding, parse_template(binding.template)))

    def match(self, verb: str, raw_path: str) -> Match:
        """Returns the route for an HTTP verb and a path that is still percent-encoded.

        Raises RouteNotFound, MethodNotAllowed, MalformedPath. O(segments) for usual paths.
        """
        try:
            return self._match(verb, raw_path)
        except UnicodeDecodeError as error:
            raise MalformedPath("the path's percent-encoding is not UTF-8") from error

    def verbs(self, raw_path: str) -> list[str]:
        """Returns the HTTP verbs that some route takes on this path, in alphabetical order.

        Raises MalformedPath.
        """
        try:
            found = {verb for leaf, _ in self._leaves(raw_path) for verb in leaf}
        except UnicodeDecodeError as error:
            raise MalformedPath("the path's percent-encoding is not UTF-8") from error
        return sorted(found)

    def _match(self, verb: str, raw_path: str) -> Match:
        allowed: set[str] = set()
        for leaf, segments in self._leaves(raw_path):
            route = leaf.get(verb) or leaf.get(STAR)
            if route is not None:
                return Match(route, route.template.capture(segments))
            allowed.update(leaf)
        if allowed:
            raise MethodNotAllowed(sorted(allowed))
        raise RouteNotFound(f"No method is bound to {raw_path[:200]}.")

    def _leaves(self, raw_path: str) -> Iterator[tuple[dict[str, Route], list[str]]]:
        """Yields every leaf for the path, most specific first, with the path's segments."""
        segments = raw_path.removeprefix("/").split("/") if raw_path != "/" else []
        if segments and ":" in segments[-1]:
            last, _, verb = segments[-1].rpartition(":")
            shortened = [*segments[:-1], last]
            is_verb = False
            for node in _walk(self._root, shortened, 0):
                if verb in node.leaves:
                    is_verb = True
                    yield node.leaves[verb], shortened
            if is_verb:  # then it is no part of a resource's id
                return
        for node in _walk(self._root, segments, 0):
            if "" in node.leaves:
                yield node.leaves[""], segments

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.template.segments:
            node = _child(node, segment)
        verbs = node.leaves.setdefault(route.template.verb, {})
        if route.binding.verb in verbs:
            other = verbs[route.binding.verb].method.path
            raise ValueError(
                f"{route.method.path} and {other} are both bound to "
                f"{route.binding.verb} {route.binding.template}"
            )
        verbs[route.binding.verb] = route
        self.routes.append(route)


def _child(node: _Node, segment: str) -> _Node:
    if segment == STAR:
        node.star = node.star or _Node()
        return node.star
    if segment == REST:
        node.rest = node.rest or _Node()
        return node.rest
    return node.literals.setdefault(segment, _Node())


def _walk(node: _Node, segments: list[str], at: int) -> Iterator[_Node]:
    if at == len(segments):
        yield node
    else:
        literal = node.literals.get(decode_segment(segments[at]))
        if literal is not None:
            yield from _walk(literal, segments, at + 1)
        if node.star is not None and segments[at]:
            yield from _walk(node.star, segments, at + 1)
    if node.rest is not None:
        yield node.rest

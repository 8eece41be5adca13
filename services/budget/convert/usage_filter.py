"""A budget's scope as a filter of the usage service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from services.budget.domain.directory import Directory
from services.budget.domain.scope import PLAIN, Scope

_NAMES: Mapping[str, str] = {"user_id": "user"}


def scope_filter(scope: Scope, directory: Directory) -> str:
    """Returns the AIP-160 filter that takes the cost in scope and no other; "" for all."""
    return " AND ".join(_terms(scope, directory))


def _terms(scope: Scope, directory: Directory) -> Iterator[str]:
    department = scope.department_id
    if department:
        # `:` takes the departments below, and knows only what the directory has.
        is_tree = not scope.is_subtree_excluded and department in directory.parents
        yield f"department{':' if is_tree else ' = '}{_quoted(department)}"
    if scope.manager_id:
        is_line = scope.manager_id in directory.managers
        yield f"user{':' if is_line else ' = '}{_quoted(scope.manager_id)}"
    for name in PLAIN:
        if value := getattr(scope, name):
            yield f"{_NAMES.get(name, name)} = {_quoted(value)}"
    for key, value in scope.tags:
        yield f"tags.{_quoted(key)} = {_quoted(value)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
    return f'"{escaped}"'

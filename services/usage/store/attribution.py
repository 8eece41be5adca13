"""Dimensions as questions see them: with the directory's departments, lines and subtrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Subquery, func, literal, select

from services.kernel.filter import Comparator, FieldType, FilterField, FilterValue
from services.usage.tables import department, dimension, directory_user

_PLAIN = {
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
    "currency_code": "currency_code",
    "tags": "tags",
}


def attributed_dimensions(tenant_id: str) -> Subquery:
    """Returns a tenant's dimensions under the names of QueryCosts.

    Usage that names no department is the department's of its user.
    """
    user = directory_user.c
    resolved = func.coalesce(
        func.nullif(dimension.c.department, ""), user.department_id, literal("")
    )
    source = dimension.outerjoin(
        directory_user,
        (user.tenant_id == dimension.c.tenant_id) & (user.user_id == dimension.c.user_id),
    )
    return (
        select(
            dimension.c.dimension_id,
            resolved.label("department"),
            *(dimension.c[column].label(name) for name, column in _PLAIN.items()),
        )
        .select_from(source)
        .where(dimension.c.tenant_id == tenant_id)
        .subquery("dim")
    )


def manager_lines(tenant_id: str) -> Subquery:
    """Returns (manager_id, user_id) for everybody in each manager's line, the manager included."""
    table = directory_user.c
    mine = table.tenant_id == tenant_id
    managers = select(table.manager_id).where(mine, table.manager_id != "")
    line = (
        select(table.user_id.label("manager_id"), table.user_id.label("user_id"))
        .where(mine, table.user_id.in_(managers))
        .cte("line", recursive=True)
    )
    line = line.union(
        select(line.c.manager_id, table.user_id).where(mine, table.manager_id == line.c.user_id)
    )
    return select(line.c.manager_id, line.c.user_id).subquery("manager_line")


def line_of(tenant_id: str, manager_id: str) -> Select[*tuple[str]]:
    """Returns the ids of a manager and everybody below them."""
    table = directory_user.c
    line = select(literal(manager_id).label("user_id")).cte("one_line", recursive=True)
    line = line.union(
        select(table.user_id).where(
            table.tenant_id == tenant_id, table.manager_id == line.c.user_id
        )
    )
    return select(line.c.user_id)


def subtree_of(tenant_id: str, department_id: str) -> Select[*tuple[str]]:
    """Returns the ids of a department and all below it."""
    table = department.c
    tree = select(literal(department_id).label("department_id")).cte("subtree", recursive=True)
    tree = tree.union(
        select(table.department_id).where(
            table.tenant_id == tenant_id, table.parent_id == tree.c.department_id
        )
    )
    return select(tree.c.department_id)


def dimension_fields(dims: FromClause, tenant_id: str) -> dict[str, FilterField]:
    """Returns what a filter of QueryCosts may name.

    `department:"x"` takes the departments below too, `user:"x"` and `manager = "x"` her whole line.
    """

    def below(
        column: ColumnElement[Any], members: Callable[[str, str], Any], *comparators: Comparator
    ) -> Callable[[Comparator, FilterValue], ColumnElement[bool] | None]:
        def meaning(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
            if comparator not in comparators or not isinstance(value, str):
                return None
            return column.in_(members(tenant_id, value))

        return meaning

    fields = {
        name: FilterField(FieldType.STRING, dims.c[name])
        for name in (*_PLAIN, "department")
        if name != "tags"
    }
    fields["tags"] = FilterField(FieldType.LABELS, dims.c.tags)
    fields["department"] = FilterField(
        FieldType.STRING,
        dims.c.department,
        meaning=below(dims.c.department, subtree_of, Comparator.HAS),
    )
    fields["user"] = FilterField(
        FieldType.STRING, dims.c.user, meaning=below(dims.c.user, line_of, Comparator.HAS)
    )
    fields["manager"] = FilterField(
        FieldType.STRING,
        dims.c.user,
        meaning=below(dims.c.user, line_of, Comparator.HAS, Comparator.EQUAL),
    )
    return fields

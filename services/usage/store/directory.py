"""Departments and users as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Table,
    and_,
    delete,
    func,
    select,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services.kernel.database import Transaction
from services.kernel.filter import Comparator, FieldType, FilterField, FilterValue
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.directory import Department, User
from services.usage.store.attribution import line_of, subtree_of
from services.usage.tables import department as department_table
from services.usage.tables import directory_user as user_table

NAMED_MAX = 5  # members that a refusal names; more would not help to find them

_M = TypeVar("_M", Department, User)
_Meaning = Callable[[Comparator, FilterValue], ColumnElement[bool] | None]


class Members(NamedTuple):
    """Who hangs on somebody. named: the first NAMED_MAX of them by id."""

    total: int
    named: list[str]


class Link(NamedTuple):
    """A member and the one directly above it, "" at the top."""

    member_id: str
    above_id: str


@dataclass(frozen=True, slots=True)
class Hierarchy(Generic[_M]):
    """One kind of member, each with at most one above it.

    member_id, above_id: names of columns. build: a row's domain object, whose fields are columns.
    filters: what lists can be filtered by, for a tenant.
    """

    table: Table
    member_id: str
    above_id: str
    build: Callable[[RowMapping], _M]
    filters: Callable[[str], Mapping[str, FilterField]]

    async def find(self, tx: Transaction, tenant_id: str, member_id: str) -> _M | None:
        """Returns a member, None where there is none of that id."""
        statement = select(self.table).where(self._is(tenant_id, member_id))
        row = (await tx.execute(statement)).mappings().one_or_none()
        return None if row is None else self.build(row)

    async def page(self, tx: Transaction, request: PageRequest, tokens: PageTokens) -> Page[_M]:
        """Returns a page of a tenant's members."""
        listing = Listing(
            filters=self.filters(request.tenant_id),
            orders={self.member_id: self.table.c[self.member_id]},
            default_order=self.member_id,
            tie_break=self.member_id,
        )
        members = select(self.table).where(self.table.c.tenant_id == request.tenant_id)
        found = await listing.page(tx, members, request, tokens)
        return Page([self.build(row) for row in found.items], found.next_page_token)

    async def around(
        self, tx: Transaction, tenant_id: str, member_id: str, above_id: str
    ) -> list[Link]:
        """Returns the chain from `above_id` to the top, and everybody below the member.

        They are all that a move of the member there can make circular or too deep.
        """
        columns = self.table.c
        links = select(columns[self.member_id].label("member"), columns[self.above_id].label("up"))
        links = links.where(columns.tenant_id == tenant_id)
        chain = links.where(columns[self.member_id] == above_id).cte("chain", recursive=True)
        chain = chain.union(links.where(columns[self.member_id] == chain.c.up))
        below = links.where(columns[self.above_id] == member_id).cte("below", recursive=True)
        below = below.union(links.where(columns[self.above_id] == below.c.member))
        rows = await tx.execute(union(select(chain), select(below)))
        return [Link(member, up) for member, up in rows]

    async def insert(self, tx: Transaction, tenant_id: str, member: _M) -> bool:
        """Adds a member; False where its id is taken."""
        statement = insert(self.table).values(tenant_id=tenant_id, **asdict(member))
        added = await tx.execute(statement.on_conflict_do_nothing())
        return added.rowcount == 1

    async def update(self, tx: Transaction, tenant_id: str, member: _M) -> None:
        """Stores a member that is there."""
        values = asdict(member)
        condition = self._is(tenant_id, values[self.member_id])
        await tx.execute(update(self.table).where(condition).values(values))

    async def delete(self, tx: Transaction, tenant_id: str, member_id: str) -> None:
        """Removes a member."""
        await tx.execute(delete(self.table).where(self._is(tenant_id, member_id)))

    async def hanging_on(
        self, tx: Transaction, tenant_id: str, column: str, value: str
    ) -> Members | None:
        """Returns the members with that value in a column, None where there are none."""
        columns = self.table.c
        member = columns[self.member_id]
        condition = and_(columns.tenant_id == tenant_id, columns[column] == value)
        total = await tx.scalar(select(func.count()).select_from(self.table).where(condition))
        if not total:
            return None
        statement = select(member).where(condition).order_by(member).limit(NAMED_MAX)
        return Members(total, [str(each) for each in await tx.scalars(statement)])

    def _is(self, tenant_id: str, member_id: str) -> ColumnElement[bool]:
        columns = self.table.c
        return and_(columns.tenant_id == tenant_id, columns[self.member_id] == member_id)


def _texts(table: Table, *names: str) -> dict[str, FilterField]:
    return {name: FilterField(FieldType.STRING, table.c[name]) for name in names}


def _within(
    column: ColumnElement[str], members: Callable[[str, str], Select[Any]], tenant_id: str
) -> _Meaning:
    """Gives `:` the meaning "at any depth"."""

    def meaning(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
        if comparator is not Comparator.HAS or not isinstance(value, str):
            return None
        return column.in_(members(tenant_id, value))

    return meaning


def _department_filters(tenant_id: str) -> Mapping[str, FilterField]:
    table = department_table.c
    inside = _within(table.department_id, subtree_of, tenant_id)

    def below(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
        condition = inside(comparator, value)
        return None if condition is None else and_(condition, table.department_id != value)

    return _texts(department_table, "department_id", "display_name") | {
        "parent_id": FilterField(FieldType.STRING, table.parent_id, meaning=below)
    }


def _user_filters(tenant_id: str) -> Mapping[str, FilterField]:
    table = user_table.c
    return _texts(user_table, "user_id", "email") | {
        "department_id": FilterField(
            FieldType.STRING,
            table.department_id,
            meaning=_within(table.department_id, subtree_of, tenant_id),
        ),
        "manager_id": FilterField(
            FieldType.STRING,
            table.manager_id,
            meaning=_within(table.user_id, line_of, tenant_id),
        ),
    }


def _department_of(row: RowMapping) -> Department:
    return Department(row["department_id"], row["parent_id"], row["display_name"])


def _user_of(row: RowMapping) -> User:
    return User(
        row["user_id"],
        row["department_id"],
        row["manager_id"],
        row["display_name"],
        row["email"],
    )


DEPARTMENTS = Hierarchy(
    department_table, "department_id", "parent_id", _department_of, _department_filters
)
USERS = Hierarchy(user_table, "user_id", "manager_id", _user_of, _user_filters)

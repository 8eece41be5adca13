"""Lists as every service has them: filtered, ordered, cut into pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, RowMapping, Select

from services.kernel.filter import FilterField, compile_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens, after
from services.kernel.transaction import Transaction


class ListRequest(Protocol):
    """What every list's request message has."""

    page_size: int
    page_token: str
    filter: str
    order_by: str


def page_request(request: ListRequest, *, tenant_id: str, method: str) -> PageRequest:
    """Returns which page a request asks for. method: the RPC's full name."""
    return PageRequest(
        tenant_id=tenant_id,
        method=method,
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list can be filtered and ordered by.

    orders: each name that `order_by` may have, and its column, selected under its own name and
    never null. default_order: as `order_by` has it. tie_break: the unique one of them.
    """

    filters: Mapping[str, FilterField]
    orders: Mapping[str, ColumnElement[Any]]
    default_order: str
    tie_break: str

    async def page(
        self,
        tx: Transaction,
        statement: Select[*tuple[Any, ...]],
        request: PageRequest,
        tokens: PageTokens,
    ) -> Page[RowMapping]:
        """Returns one page of what the statement selects.

        Raises InvalidFilter, InvalidOrder, InvalidPageToken.
        """
        terms = parse_order(
            request.order_by, self.orders, default=self.default_order, tie_break=self.tie_break
        )
        order = [(self.orders[term.field], term.is_descending) for term in terms]
        statement = statement.where(compile_filter(request.filter, self.filters))
        key = tokens.decode(request)
        if key is not None:
            statement = statement.where(after(order, key))
        statement = statement.order_by(
            *(column.desc() if is_descending else column for column, is_descending in order)
        )
        rows = (await tx.execute(statement.limit(request.limit + 1))).mappings().all()
        return tokens.page(request, rows, lambda row: [row[column] for column, _ in order])

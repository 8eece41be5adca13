"""The list of collections: short, the same for every tenant, and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.kernel.filter import evaluate, parse_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.records import Collection

_ORDERS: Final = ("collection",)


def list_collections(
    collections: Sequence[Collection], page: PageRequest, tokens: PageTokens
) -> Page[Collection]:
    """Returns a page of collections, by name.

    Raises InvalidFilter, InvalidOrder, InvalidPageToken.
    """
    wanted = parse_filter(page.filter) if page.filter.strip() else None
    # Asked of no record too, so that a wrong filter is refused when nothing is kept.
    if wanted is not None:
        evaluate(wanted, {"collection": "", "personal": False})
    [order] = parse_order(page.order_by, _ORDERS, default="collection", tie_break="collection")
    after = tokens.decode(page)
    shown = sorted(
        (
            each
            for each in collections
            if wanted is None
            or evaluate(wanted, {"collection": each.name, "personal": each.personal})
        ),
        key=lambda each: each.name,
        reverse=order.is_descending,
    )
    if after is not None:
        last = str(after[0])
        shown = [each for each in shown if (each.name < last) is order.is_descending]
        shown = [each for each in shown if each.name != last]
    return tokens.page(page, shown[: page.limit + 1], lambda each: [each.name])

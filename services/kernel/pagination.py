"""Keyset pages: an opaque token holds the last row's sort key and fits one request only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, and_, literal, or_, tuple_

from services.kernel.errors import InvalidArgument

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000  # one answer stays far below gRPC's 4 MB of a message
TOKEN_LENGTH_MAX = 4096  # characters; the contracts' own bound on `page_token`
_SIGNATURE_BYTES = 16  # 2^-128 to guess: as good as a key

_T = TypeVar("_T")
KeyValue: TypeAlias = str | int | bool | Decimal | datetime


class InvalidPageToken(InvalidArgument):
    """The page token is not one of this list; repeat the call without it to start again."""

    reason = "INVALID_PAGE_TOKEN"


class InvalidPageSize(InvalidArgument):
    """A page has zero or more items; zero asks for the default."""

    reason = "INVALID_PAGE_SIZE"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of which list. A page token fits only the request whose other fields are equal.

    page_size: 0 is PAGE_SIZE_DEFAULT, more than PAGE_SIZE_MAX is cut to it; it may change from page
    to page. method: the RPC's full name. arguments: whatever else must not change between pages.
    Raises InvalidPageSize for a negative size.
    """

    tenant_id: str
    method: str
    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""
    arguments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.page_size < 0:
            raise InvalidPageSize(
                f"page_size is 0 to {PAGE_SIZE_MAX}, not {self.page_size}",
                page_size=self.page_size,
                page_size_max=PAGE_SIZE_MAX,
            )

    @property
    def limit(self) -> int:
        """Most items on the page, 1 to PAGE_SIZE_MAX."""
        return min(self.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)

    def identity(self) -> bytes:
        """Returns the text that a token is bound to, the same for the same list."""
        return json.dumps(
            [
                self.tenant_id,
                self.method,
                self.filter.strip(),
                self.order_by.strip(),
                sorted(self.arguments.items()),
            ]
        ).encode()


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """Items of one page, and the token of the next, empty on the last."""

    items: Sequence[_T]
    next_page_token: str = ""


class PageTokens:
    """Makes and reads page tokens.

    A token is the sort key's JSON and a keyed hash over it and the request's identity, in URL-safe
    base 64: it cannot be altered, made up, or carried to another tenant, list, filter or order.
    """

    def __init__(self, secret: bytes) -> None:
        """Takes a secret that all replicas share; tokens die when it changes."""
        self._key = hmac.digest(secret, b"page token", hashlib.sha256)

    def encode(self, request: PageRequest, key: Sequence[KeyValue]) -> str:
        """Returns the token of the page that begins after the row with this sort key."""
        body = json.dumps([_to_json(value) for value in key], separators=(",", ":")).encode()
        token = base64.urlsafe_b64encode(self._sign(request, body) + body).rstrip(b"=")
        return token.decode()

    def decode(self, request: PageRequest) -> tuple[KeyValue, ...] | None:
        """Returns the sort key after which the page begins, None for the first page.

        Raises InvalidPageToken, alike for a token that is altered and one of another request.
        """
        if not request.page_token:
            return None
        if len(request.page_token) > TOKEN_LENGTH_MAX:
            raise InvalidPageToken
        padding = "=" * (-len(request.page_token) % 4)
        try:
            raw = base64.b64decode(request.page_token + padding, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidPageToken from error
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(request, body)):
            raise InvalidPageToken
        return tuple(_from_json(value) for value in json.loads(body))

    def page(
        self, request: PageRequest, rows: Sequence[_T], key: Callable[[_T], Sequence[KeyValue]]
    ) -> Page[_T]:
        """Cuts rows, fetched with `limit + 1`, to a page: the row beyond it proves another page."""
        items = rows[: request.limit]
        if len(rows) <= request.limit:
            return Page(items)
        return Page(items, self.encode(request, key(items[-1])))

    def _sign(self, request: PageRequest, body: bytes) -> bytes:
        identity = request.identity()
        # The length first, so that no other pair of identity and body gives the same text.
        text = len(identity).to_bytes(4) + identity + body
        return hmac.digest(self._key, text, hashlib.sha256)[:_SIGNATURE_BYTES]


def after(
    order: Sequence[tuple[ColumnElement[Any], bool]], key: Sequence[KeyValue]
) -> ColumnElement[bool]:
    """Returns the condition for the rows that come after a sort key.

    order: each column, never null, and whether it descends; the last makes the order total.
    One direction throughout is one row comparison, which an index answers in one descent.
    Raises InvalidPageToken when the key has another length than the order.
    """
    if len(order) != len(key):
        raise InvalidPageToken
    values = [literal(value, column.type) for (column, _), value in zip(order, key, strict=True)]
    columns = [column for column, _ in order]
    directions = {is_descending for _, is_descending in order}
    if len(directions) == 1:
        row, bound = tuple_(*columns), tuple_(*values)
        return row < bound if directions == {True} else row > bound
    alternatives: list[ColumnElement[bool]] = []
    for index, (column, is_descending) in enumerate(order):
        beyond = column < values[index] if is_descending else column > values[index]
        equal = [columns[before] == values[before] for before in range(index)]
        alternatives.append(and_(*equal, beyond))
    return or_(*alternatives)


def _to_json(value: KeyValue) -> object:
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, datetime):
        return {"time": value.astimezone(UTC).isoformat()}
    return value


def _from_json(value: Any) -> KeyValue:
    match value:
        case {"decimal": text}:
            return Decimal(text)
        case {"time": text}:
            return datetime.fromisoformat(text)
        case str() | int():
            return value
        case _:
            raise InvalidPageToken

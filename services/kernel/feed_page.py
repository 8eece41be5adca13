"""Facts of a feed with their places: what readers and consumers hand each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from services.kernel.errors import InvalidArgument

_F_co = TypeVar("_F_co", covariant=True)

_POSITION = re.compile(r"(\d{20})-(\d{19})", re.ASCII)


class InvalidFeedPosition(InvalidArgument):
    """The position is not one that this feed gave out; start from the beginning or from a page."""

    reason = "INVALID_FEED_POSITION"


@dataclass(frozen=True, slots=True, order=True)
class FeedPosition:
    """A place between two facts; its text sorts as it does."""

    transaction_id: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.transaction_id:020d}-{self.sequence:019d}"

    @classmethod
    def parse(cls, text: str) -> FeedPosition:
        """Returns the position of a text, the start of none. Raises InvalidFeedPosition."""
        if not text:
            return START
        match = _POSITION.fullmatch(text)
        if match is None:
            raise InvalidFeedPosition(position=text[:80])
        return cls(int(match[1]), int(match[2]))


START = FeedPosition(0, 0)  # before the oldest fact that is kept


@dataclass(frozen=True, slots=True)
class FeedItem(Generic[_F_co]):
    """One fact, whose it is and where it stands.

    appended_at and traceparent: None where the feed's table has no such column. begins: of a fact
    that stands for several changes, the position of the first; `position` is that of the last.
    """

    position: FeedPosition
    tenant_id: str
    fact: _F_co
    appended_at: datetime | None = None
    traceparent: str | None = None
    begins: FeedPosition | None = None

    def is_divided_by(self, position: FeedPosition) -> bool:
        """Tells whether a part of the fact stands up to a position, and a part beyond it."""
        return self.begins is not None and self.begins <= position < self.position


@dataclass(frozen=True, slots=True)
class FeedPage(Generic[_F_co]):
    """Some facts in order, possibly none; reading goes on after `position`.

    is_full: there may be more at once. is_pending: some wait for an older transaction to end.
    """

    items: Sequence[FeedItem[_F_co]]
    position: FeedPosition
    is_full: bool = False
    is_pending: bool = False


def joined(pages: Sequence[FeedPage[_F_co]]) -> FeedPage[_F_co]:
    """Returns pages that follow each other as one."""
    last = pages[-1]
    if len(pages) == 1:
        return last
    items = [item for page in pages for item in page.items]
    return FeedPage(items, last.position, is_full=last.is_full, is_pending=last.is_pending)

"""Updates of resources: the stored one with some of its fields taken from the request."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)


def merged(current: _M, message: _M, fields: Collection[str]) -> _M:
    """Returns a copy of the current message with the named fields as the other one has them."""
    result = type(current)()
    result.CopyFrom(current)
    chosen = type(current)()
    chosen.CopyFrom(message)
    for field in message.DESCRIPTOR.fields:
        if field.name in fields:
            result.ClearField(field.name)
        else:
            chosen.ClearField(field.name)
    result.MergeFrom(chosen)
    return result

"""Identifiers: time-ordered ids that the suite makes, and the form of callers' own ids."""

from __future__ import annotations

import os
import re
import time

from services.kernel.errors import InvalidArgument

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
# Two characters at once: an id is made for every decision and every fact.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RESOURCE_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@:\-]{0,62}", re.ASCII)


class InvalidResourceId(InvalidArgument):
    """An id has 1 to 63 letters, digits, dots, dashes, underscores, colons or at signs."""

    reason = "INVALID_RESOURCE_ID"


def new_id() -> str:
    """Returns 26 lower-case characters that sort by creation time to the millisecond.

    48 bits of time and 80 random bits: two ids of one millisecond collide with probability 2^-80.
    Source: the ULID layout.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def require_resource_id(value: str) -> str:
    """Returns the id unchanged. Raises InvalidResourceId."""
    if _RESOURCE_ID.fullmatch(value) is None:
        raise InvalidResourceId(f"{value[:80]!r} is not a valid id", value=value[:80])
    return value

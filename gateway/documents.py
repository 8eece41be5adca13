"""Bounds on JSON text, checked before any parser sees it.

The codec recurses on the machine's stack: text nested some thousand levels deep would end the
process, so the depth is measured first, in one pass of vector operations.
"""

from __future__ import annotations

import numpy as np

from gateway.errors import MalformedBody

_CHUNK_BYTES = 1 << 20
_QUOTE = ord('"')
_STEPS = np.zeros(256, dtype=np.int32)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_KEPT = b'[]{}"'
_DROPPED = bytes(set(range(256)) - set(_KEPT))


def check_depth(text: bytes, depth_max: int) -> None:
    """Raises MalformedBody where JSON text nests deeper than `depth_max`. O(n), 1 MiB at a time.

    Text that is not JSON passes or fails at random; the parser refuses it afterwards.
    """
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return
    if json_depth(text) > depth_max:
        raise MalformedBody(f"the JSON is nested more than {depth_max} levels deep")


def json_depth(text: bytes) -> int:
    """Returns how deep the brackets outside of strings nest."""
    # Two backslashes first: what is left before a quote then truly escapes it.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    symbols = np.frombuffer(plain.translate(None, _DROPPED), dtype=np.uint8)
    depth = deepest = 0
    quotes = 0
    for start in range(0, len(symbols), _CHUNK_BYTES):
        chunk = symbols[start : start + _CHUNK_BYTES]
        is_quote = chunk == _QUOTE
        is_inside = np.bitwise_xor.accumulate(is_quote) ^ (quotes == 1)
        levels = np.cumsum(np.where(is_inside, 0, _STEPS[chunk]), dtype=np.int32) + depth
        deepest = max(deepest, int(levels.max()))
        depth = int(levels[-1])
        quotes = (quotes + int(is_quote.sum())) & 1
    return deepest

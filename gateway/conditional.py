"""Answers that a caller may keep and ask for again by their tag."""

from __future__ import annotations

import hashlib
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

from gateway.errors import NOT_MODIFIED

TAG_HEX_DIGITS: Final = 32


def revalidated(headers: Headers, body: bytes, kind: str) -> Response:
    """Returns the answer with its tag, or 304 without a body where the caller holds the same one.

    The tag is weak: a compressed answer bears the same one. Caches must ask before they reuse it.
    """
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:TAG_HEX_DIGITS]}"'
    kept = {"etag": tag, "cache-control": "private, no-cache", "vary": "authorization, accept"}
    if _matches(headers.get("if-none-match", ""), tag):
        return Response(None, NOT_MODIFIED, kept)
    return Response(body, headers=kept, media_type=kind)


def _matches(condition: str, tag: str) -> bool:
    bare = tag.removeprefix("W/")
    tags = [candidate.strip().removeprefix("W/") for candidate in condition.split(",")]
    return "*" in tags or bare in tags

"""Signed links: whoever holds one may fetch one file until it expires, without a token."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

_MAC_BYTES: Final = 24  # 2^-192 to guess; short enough that a mail does not break the link
# How long a link serves that is sent to people: as long as a mail is likely to be read.
SENT_LINK_TIME: Final = timedelta(days=7)
_DIVIDER: Final = "."  # not among the characters of base 64 for URLs


class Links:
    """Makes and checks signed links.

    A signature is a keyed hash over tenant, file and expiry, and the tenant, which a caller without
    a token has no other way to name.
    """

    def __init__(self, secret: bytes) -> None:
        """secret: shared by all replicas; links die when it changes."""
        self._key = hmac.digest(secret, b"file link", hashlib.sha256)

    def path(self, tenant_id: str, file_id: str, expires_at: datetime, *, file_name: str) -> str:
        """Returns the path under which `DownloadExport` serves a file until an instant.

        file_name: what browsers save it as; the signature does not hold it.
        """
        expires = int(expires_at.timestamp())
        query = urlencode(
            {"expires": expires, "signature": self.signature(tenant_id, file_id, expires)}
        )
        place = "/".join(quote(part, safe="") for part in (file_id, file_name))
        return f"/api/v1/finops/files/{place}?{query}"

    def signature(self, tenant_id: str, file_id: str, expires: int) -> str:
        """Returns the signature, at most 96 characters. expires: seconds since 1970."""
        return self._mac(tenant_id, file_id, expires) + _DIVIDER + tenant_id

    def tenant_of(self, signature: str, file_id: str, expires: int, *, now: datetime) -> str | None:
        """Returns the tenant whose file the link opens; None for a link that is forged or over."""
        mac, _, tenant_id = signature.partition(_DIVIDER)
        expected = self._mac(tenant_id, file_id, expires)
        is_right = hmac.compare_digest(mac.encode(), expected.encode())
        return tenant_id if is_right and now.astimezone(UTC).timestamp() < expires else None

    def _mac(self, tenant_id: str, file_id: str, expires: int) -> str:
        parts = (tenant_id.encode(), file_id.encode(), str(expires).encode())
        # Lengths first, so that no other three texts give the same bytes.
        text = b"".join(len(part).to_bytes(4) + part for part in parts)
        mac = hmac.digest(self._key, text, hashlib.sha256)[:_MAC_BYTES]
        return base64.urlsafe_b64encode(mac).decode()


class LinkParts(NamedTuple):
    """What a link consists of. expires: seconds since 1970."""

    file_id: str
    file_name: str
    expires: int
    signature: str


def parts_of(path: str) -> LinkParts:
    """Returns the parts of a path that `Links.path` gave."""
    split = urlsplit(path)
    file_id, file_name = map(unquote, split.path.rsplit("/", 2)[1:])
    query = parse_qs(split.query)
    return LinkParts(file_id, file_name, int(query["expires"][0]), query["signature"][0])

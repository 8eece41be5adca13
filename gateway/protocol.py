"""HTTP/1.1 as the gateway speaks it: even what is no HTTP is refused in the form of AIP-193."""

from __future__ import annotations

import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_ERROR: Final = {
    "code": 400,
    "status": "INVALID_ARGUMENT",
    "message": "The request is no HTTP/1.1, or its target or a header is too long to be read.",
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "MALFORMED_HTTP",
            "domain": "finops.dev",
        }
    ],
}
_BODY: Final = json.dumps({"error": _ERROR}, separators=(",", ":")).encode()
_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class HttpProtocol(HttpToolsProtocol):
    """Reads requests from one connection."""

    def send_400_response(self, _: str) -> None:
        """Refuses bytes that cannot be parsed, before any application sees them."""
        self.transport.write(_ANSWER)
        self.transport.close()

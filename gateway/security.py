"""Headers that tell browsers what an answer may do, and bounds on what a request may bring."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import HeadersTooLarge, TargetTooLong
from gateway.settings import GatewaySettings

# What services answer is never a page: nothing in it may load, run or be framed.
CALL_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"
# Pages run their own scripts only; Swagger UI and charts set styles and draw inline images.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self' blob:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
_TRANSPORT: Final = "max-age=31536000; includeSubDomains"
_PAGE_TYPES: Final = ("text/html", "text/css", "text/javascript", "application/javascript")


class SecurityHeaders:
    """ASGI middleware: adds the headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        """Takes the application inside."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, with a `send` that adds the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_secure = scope.get("scheme") == "https"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(raw=message["headers"]), scope, is_secure=is_secure)
            await send(message)

        await self._app(scope, receive, guarded)


def check_request(scope: Scope, settings: GatewaySettings) -> None:
    """Raises TargetTooLong or HeadersTooLarge where the request's head is over its bounds."""
    target = len(scope["raw_path"]) + len(scope["query_string"])
    if target > settings.target_bytes_max:
        raise TargetTooLong(limit=settings.target_bytes_max)
    head = sum(len(name) + len(value) for name, value in scope["headers"])
    if head > settings.header_bytes_max:
        raise HeadersTooLarge(limit=settings.header_bytes_max)


def _add(headers: MutableHeaders, scope: Scope, *, is_secure: bool) -> None:
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    is_page = scope.get("finops.is_page", False)
    headers.setdefault("content-security-policy", PAGE_POLICY if is_page else CALL_POLICY)
    if is_secure:
        headers.setdefault("strict-transport-security", _TRANSPORT)

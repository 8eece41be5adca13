"""The gateway's own pages: the contract, its documentation, and the dashboard's files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from openapi_ui_bundles.swagger_ui import static_path
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from gateway.conditional import revalidated
from gateway.descriptors import Catalog
from gateway.errors import FOUND, MethodNotAllowed
from gateway.openapi import openapi_document
from gateway.peers import Peers
from gateway.transcode import JSON

PAGE_KEY: Final = "finops.is_page"  # tells the security headers that a page is allowed scripts
DASHBOARD: Final = Path(__file__).parent / "dashboard"
DOCS_FILES: Final = (
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "favicon-32x32.png",
)
_VERBS: Final = ("GET", "HEAD")
_KEEP: Final = {"cache-control": "public, max-age=3600"}

_DOCS: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FinOps API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_DOCS_START: Final = """window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    docExpansion: "none",
    filter: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    layout: "BaseLayout",
  });
});
"""

Handler = Callable[[Request], Awaitable[Response]]


class Pages:
    """Finds the handler of the paths that are the gateway's own."""

    def __init__(self, catalog: Catalog, peers: Peers, dashboard: Path = DASHBOARD) -> None:
        """dashboard: folder whose files are served from `/` on, if it holds an index.html."""
        self._catalog = catalog
        self._peers = peers
        self._document: tuple[frozenset[str], bytes] = (frozenset(), b"")
        self._handlers: dict[str, Handler] = {
            "/": self._root,
            "/openapi.json": self._openapi,
            "/docs": _docs,
            "/docs/start.js": _docs_start,
        }
        for name in DOCS_FILES:
            self._handlers[f"/docs/{name}"] = _file(Path(static_path) / name)
        if (dashboard / "index.html").is_file():
            self._add_dashboard(dashboard)

    def add(self, path: str, handler: Handler) -> None:
        """Adds a page."""
        self._handlers[path] = handler

    async def answer(self, request: Request) -> Response | None:
        """Returns the page's response, None where no page is at the path.

        Raises MethodNotAllowed.
        """
        handler = self._handlers.get(request.scope["path"])
        if handler is None:
            return None
        if request.method not in _VERBS:
            raise MethodNotAllowed(list(_VERBS))
        return await handler(request)

    def _add_dashboard(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self._handlers[f"/{path.relative_to(folder).as_posix()}"] = _file(path)
        self._handlers["/"] = self._handlers["/index.html"]

    async def _root(self, _request: Request) -> Response:
        return RedirectResponse("/docs", FOUND)

    async def _openapi(self, request: Request) -> Response:
        services = self._peers.services
        if self._document[0] != services or not self._document[1]:
            # It takes about a second for some hundred paths: calls go on meanwhile.
            document = await asyncio.to_thread(openapi_document, self._catalog, services)
            self._document = (services, document)
        return revalidated(request.headers, self._document[1], JSON)


async def _docs(request: Request) -> Response:
    request.scope[PAGE_KEY] = True
    return HTMLResponse(_DOCS)


async def _docs_start(_request: Request) -> Response:
    return Response(_DOCS_START, headers=_KEEP, media_type="text/javascript")


def _file(path: Path) -> Handler:
    async def answer(request: Request) -> Response:
        request.scope[PAGE_KEY] = path.suffix == ".html"
        headers = {"cache-control": "no-cache"} if path.suffix == ".html" else _KEEP
        return FileResponse(path, headers=headers)

    return answer

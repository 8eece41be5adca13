"""One request on its way to a service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from gateway.routes import Match, Route
from gateway.transcode import Transcoder


@dataclass(frozen=True, slots=True)
class Call:
    """One request, matched and ready to be sent."""

    request: Request
    match: Match
    transcoder: Transcoder
    start: Callable[..., Any]
    metadata: list[tuple[str, str]]
    timeout: float
    credential: str | None

    @property
    def route(self) -> Route:
        """The route that the request took."""
        return self.match.route

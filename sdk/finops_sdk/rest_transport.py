"""Calls over REST, for where only HTTP passes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.message import Message

from finops_sdk.errors import ApiError, from_json
from finops_sdk.methods import Method
from finops_sdk.rest_mapping import from_http, parse_message, to_http
from finops_sdk.transport import Token

_CONNECT_SECONDS = 5.0
_QUIET_SECONDS = 60.0  # streams send a heartbeat every 15 s


class RestTransport:
    """Sends each call to the gateway, mapped to JSON as the contracts say."""

    def __init__(
        self, url: str, token: Token, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Takes the gateway's address, `https://host[:port][/prefix]`."""
        self._client = httpx.AsyncClient(base_url=url.rstrip("/"), transport=transport)
        self._token = token

    async def call(self, method: Method, request: Message, timeout_seconds: float) -> Message:
        """Sends one message and returns the answer."""
        http = to_http(method, request)
        headers = self._headers() | {"grpc-timeout": f"{int(timeout_seconds * 1000)}m"}
        if http.body is not None:
            headers["content-type"] = http.content_type
        try:
            answer = await self._client.request(
                http.verb,
                http.path,
                params=http.query,
                content=http.body,
                headers=headers,
                timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            )
        except httpx.HTTPError as error:
            raise _unanswered(error) from None
        if answer.is_error:
            raise _error(answer)
        try:
            return from_http(method, answer.headers.get("content-type", ""), answer.content)
        except (ValueError, json_format.ParseError) as error:
            raise _not_ours(answer) from error

    async def stream(
        self,
        method: Method,
        requests: AsyncIterator[Message],
        timeout_seconds: float | None,
    ) -> AsyncIterator[Message]:
        """Sends messages as NDJSON, or one as a GET, and yields each line of the answer."""
        limit = httpx.Timeout(timeout_seconds or _QUIET_SECONDS, connect=_CONNECT_SECONDS)
        headers = self._headers() | {"accept": "application/x-ndjson"}
        if method.takes_stream:
            headers["content-type"] = "application/x-ndjson"
            opened = self._client.stream(
                method.verb,
                method.template,
                content=_lines(requests),
                headers=headers,
                timeout=limit,
            )
        else:
            http = to_http(method, await anext(requests))
            opened = self._client.stream(
                http.verb,
                http.path,
                params=http.query,
                content=http.body,
                headers=headers,
                timeout=limit,
            )
        try:
            async with opened as answer:
                if answer.is_error:
                    await answer.aread()
                    raise _error(answer)
                async for line in answer.aiter_lines():
                    if line.strip():
                        yield _message(method, line)
        except httpx.HTTPError as error:
            raise _unanswered(error) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    def _headers(self) -> dict[str, str]:
        token = self._token()
        return {"authorization": f"Bearer {token}"} if token else {}


async def _lines(requests: AsyncIterator[Message]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield json.dumps(json_format.MessageToDict(request)).encode() + b"\n"


def _message(method: Method, line: str) -> Message:
    content: Any = json.loads(line)
    if isinstance(content, dict) and "error" in content:
        raise from_json(httpx.codes.INTERNAL_SERVER_ERROR, content)
    if isinstance(content, dict) and set(content) == {"result"}:
        content = content["result"]
    return parse_message(method, content)


def _error(answer: httpx.Response) -> ApiError:
    try:
        content = answer.json()
    except ValueError:
        content = None
    error = from_json(answer.status_code, content)
    after = answer.headers.get("retry-after", "")
    if error.retry_after is None and after.isdigit():
        error.retry_after = float(after)
    return error


def _unanswered(error: httpx.HTTPError) -> ApiError:
    is_late = isinstance(error, httpx.TimeoutException) and not isinstance(
        error, httpx.ConnectTimeout
    )
    code = grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.UNAVAILABLE
    return ApiError(code=code, message=f"{type(error).__name__}: {error}".rstrip(": "))


def _not_ours(answer: httpx.Response) -> ApiError:
    return ApiError(
        code=grpc.StatusCode.UNKNOWN,
        message=f"{answer.request.url} did not answer in JSON of this API; check the address",
    )

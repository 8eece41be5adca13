"""Carrying out one REST request as one gRPC call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc
import grpc.aio
from starlette.requests import Request
from starlette.responses import Response

from gateway.bodies import BodyReader
from gateway.call import Call
from gateway.conditional import revalidated
from gateway.descriptors import Catalog
from gateway.errors import (
    NO_CONTENT,
    ClientClosed,
    MethodNotAllowed,
    RouteNotFound,
    UnsupportedMediaType,
)
from gateway.headers import (
    JSON_TYPES,
    NDJSON_TYPES,
    TENANT_METADATA,
    content_type_of,
    deadline_of,
    metadata_of,
    overrides_of,
)
from gateway.limits import RateLimits, credential_digest, tenant_in
from gateway.peers import Peers, ServiceUnavailable
from gateway.query import parse_query
from gateway.routes import Match, Router
from gateway.settings import GatewaySettings
from gateway.streams import OpenStreams
from gateway.transcode import AFTER_SEQUENCE, REQUEST_ID, Transcoder
from services.kernel.errors import DeadlineExceeded

# Most answers are there by then; watching for a caller that goes away costs each of them.
UNWATCHED_SECONDS = 0.1
ROUTE_KEY = "finops.route"  # where the request's scope keeps the template, for metrics and spans


class Calls:
    """Answers every request that is not for one of the gateway's own pages."""

    def __init__(
        self, settings: GatewaySettings, catalog: Catalog, peers: Peers, limits: RateLimits
    ) -> None:
        """Parses all routes. Raises TemplateSyntax or ValueError where a contract is wrong."""
        self._settings = settings
        self._catalog = catalog
        self._peers = peers
        self._limits = limits
        self._all = Router(catalog.methods)
        self._offered = Router(())
        self._transcoders = {
            (route.method.path, route.binding): Transcoder(
                route, catalog.registry, depth_max=settings.json_depth_max
            )
            for route in self._all.routes
        }
        self.streams = OpenStreams(settings)

    def refresh(self) -> None:
        """Takes in what the peers offer now."""
        self._offered = Router(m for m in self._catalog.methods if self._peers.offers(m.service))

    async def answer(self, request: Request, request_id: str) -> Response:
        """Returns the response. Raises what `gateway.errors.failure_of` turns into one."""
        authorization = request.headers.get("authorization")
        credential = credential_digest(authorization)
        address = request.client.host if request.client else "unknown"
        allowance = await self._limits.take(credential, address)
        request.scope.setdefault("state", {})["allowance"] = allowance
        path = request.scope["raw_path"].decode("ascii", "replace")
        if request.method == "OPTIONS":
            return self._options(path)
        match = self._match(request.method, path)
        request.scope[ROUTE_KEY] = match.route.binding.template
        return await self._carry_out(self._call(request, match, credential, request_id))

    def _options(self, path: str) -> Response:
        verbs = self._offered.verbs(path)
        if not verbs:
            raise RouteNotFound
        allowed = sorted({*verbs, "OPTIONS"} | ({"HEAD"} if "GET" in verbs else set()))
        return Response(None, NO_CONTENT, {"allow": ", ".join(allowed)})

    def _match(self, verb: str, path: str) -> Match:
        wanted = "GET" if verb == "HEAD" else verb
        try:
            match = self._offered.match(wanted, path)
        except RouteNotFound:
            if not self._peers.are_all_known and self._all.verbs(path):
                raise ServiceUnavailable from None
            raise
        if verb == "HEAD" and match.route.method.gives_stream:
            raise MethodNotAllowed(["GET"])
        return match

    def _call(
        self, request: Request, match: Match, credential: str | None, request_id: str
    ) -> Call:
        method = match.route.method
        settings = self._settings
        is_stream = method.gives_stream or method.takes_stream
        timeout = deadline_of(
            request.headers,
            settings.stream_seconds if is_stream else settings.unary_seconds,
            settings.stream_seconds_max if is_stream else settings.unary_seconds_max,
        )
        if timeout <= 0:
            raise DeadlineExceeded
        return Call(
            request=request,
            match=match,
            transcoder=self._transcoders[method.path, match.route.binding],
            start=self._peers.of(method).call(method),
            metadata=metadata_of(request.headers, request_id, method.policy.forwarded_headers),
            timeout=timeout,
            credential=credential,
        )

    async def _carry_out(self, call: Call) -> Response:
        method = call.route.method
        if method.takes_stream:
            _check_type(call, NDJSON_TYPES)
            if method.gives_stream:
                return await self.streams.exchange(call, self._learn)
            return await self._upload(call)
        payload = await self._payload(call)
        if method.gives_stream:
            return await self.streams.watch(call, payload, self._learn)
        return await self._unary(call, payload)

    async def _unary(self, call: Call, payload: bytes) -> Response:
        rpc = call.start(payload, timeout=call.timeout, metadata=call.metadata)
        answer = await self._result(call, rpc)
        body, kind = call.transcoder.response(answer)
        if call.route.method.policy.cacheable and call.route.binding.verb == "GET":
            return revalidated(call.request.headers, body, kind)
        return Response(body, headers={"cache-control": "no-store"}, media_type=kind)

    async def _upload(self, call: Call) -> Response:
        rpc = call.start(timeout=call.timeout, metadata=call.metadata)
        async with self.streams.writing(call, rpc) as failed:
            try:
                answer = await _result(rpc)
            except (grpc.aio.AioRpcError, asyncio.CancelledError):
                failed.reraise()
                raise
        await self._learn(call, rpc)
        body, kind = call.transcoder.response(answer)
        return Response(body, headers={"cache-control": "no-store"}, media_type=kind)

    async def _result(self, call: Call, rpc: Any) -> bytes:
        """Returns the answer, or cancels the call when the caller goes away."""
        try:
            answer = await _until_disconnect(_result(rpc), call.request)
        except grpc.aio.AioRpcError as error:
            self._learn_from(call, error)
            raise
        finally:
            rpc.cancel()
        await self._learn(call, rpc)
        return answer

    async def _payload(self, call: Call) -> bytes:
        headers = call.request.headers
        transcoder = call.transcoder
        content_type = content_type_of(headers)
        if transcoder.takes_body and not transcoder.takes_raw_body:
            _check_type(call, JSON_TYPES)
        is_json = not transcoder.takes_raw_body
        reader = BodyReader(
            call.request.receive,
            headers,
            bytes_max=self._settings.json_bytes_max if is_json else self._settings.body_bytes_max,
            seconds_max=self._settings.body_seconds_max,
        )
        return transcoder.request(
            await reader.read(),
            content_type.kind,
            captured=call.match.captured,
            parameters=parse_query(call.request.scope["query_string"]),
            overrides=overrides_of(
                headers,
                has_request_id=transcoder.has_field(REQUEST_ID),
                has_position=transcoder.has_field(AFTER_SEQUENCE),
            ),
        )

    async def _learn(self, call: Call, rpc: Any) -> None:
        """Remembers which tenant the service authenticated the credential for.

        A stream says so as it begins, a single answer as it ends.
        """
        if call.credential is None:
            return
        tenant = tenant_in(await rpc.initial_metadata() or (), TENANT_METADATA)
        if tenant is None and rpc.done():
            tenant = tenant_in(await rpc.trailing_metadata() or (), TENANT_METADATA)
        if tenant is not None:
            self._limits.known.learn(call.credential, tenant)

    def _learn_from(self, call: Call, error: grpc.aio.AioRpcError) -> None:
        if call.credential is None:
            return
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            self._limits.known.forget(call.credential)
            return
        metadata = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
        tenant = tenant_in(metadata, TENANT_METADATA)
        if tenant is not None:
            self._limits.known.learn(call.credential, tenant)


def _check_type(call: Call, pattern: Any) -> None:
    kind = content_type_of(call.request.headers).kind[:100]
    if kind and pattern.fullmatch(kind) is None:
        raise UnsupportedMediaType(f"the method does not take {kind}", content_type=kind)


async def _result(rpc: Any) -> bytes:
    answer: bytes = await rpc
    return answer


async def _until_disconnect(work: Coroutine[Any, Any, bytes], request: Request) -> bytes:
    """Returns the result of the work. Raises ClientClosed when the caller goes away before."""
    task = asyncio.ensure_future(work)
    gone: asyncio.Future[Any] = task
    try:
        await asyncio.wait((task,), timeout=UNWATCHED_SECONDS)
        if task.done():
            return task.result()
        gone = asyncio.ensure_future(request.receive())
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientClosed
        return task.result()
    finally:
        gone.cancel()
        task.cancel()

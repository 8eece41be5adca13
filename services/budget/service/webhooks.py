"""Posts notifications to webhooks, signed as Standard Webhooks says."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

from services.budget.domain.alert_errors import AddressRefused
from services.budget.domain.delivery import EXCERPT_CHARACTERS, DeliveryAttempt
from services.budget.domain.egress import EgressPolicy
from services.budget.domain.notification import Notification
from services.budget.service.egress import checked_address
from services.kernel.clock import Clock, SystemClock

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0  # from the first byte sent to the last byte read
ANSWER_BYTES_MAX = 64 * 1024  # more of an answer is not read
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """One request. secrets: each signs, the new one first."""

    url: str
    message_id: str
    secrets: Sequence[str]
    headers: Mapping[str, str]
    body: str


def webhook_body(notification: Notification, created_at: datetime) -> str:
    """Returns the JSON that programs get: the same in every attempt, so that repeats are equal."""
    envelope = {
        "type": notification.event_type,
        "timestamp": created_at.isoformat(),
        "title": notification.title,
        "severity": notification.severity.name,
        "data": notification.payload,
    }
    if notification.link:
        envelope["link"] = notification.link
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False)


class WebhookSender:
    """Sends one request a call; follows no redirect."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        clock: Clock | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Takes where requests may go. answer_seconds: a receiver has so long."""
        self._policy = policy
        self._clock = clock or SystemClock()
        self._answer_seconds = answer_seconds
        # One for all: reading the authorities takes longer than a request.
        self._tls = httpx.create_ssl_context()

    async def send(self, call: WebhookCall) -> DeliveryAttempt:
        """Makes one attempt; whatever goes wrong is in what it returns."""
        began_at = self._clock.now()
        loop = asyncio.get_running_loop()
        began = loop.time()
        signature = _signature(call, began_at)
        status, content, error, retry_after = 0, b"", "", ""
        try:
            async with asyncio.timeout(self._answer_seconds):
                status, content, retry_after = await self._post(call, began_at, signature)
        except TimeoutError:
            error = f"no answer within {self._answer_seconds:g} seconds"
        except AddressRefused as refused:
            error = refused.message
        except (httpx.HTTPError, OSError, UnicodeError) as failed:
            error = f"{type(failed).__name__}: {failed}"[:EXCERPT_CHARACTERS]
        if not error and not httpx.codes.is_success(status):
            error = f"answered {status}"
            if httpx.codes.is_redirect(status):
                error += "; redirects are not followed"
        text = content.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        return DeliveryAttempt(
            attempted_at=began_at,
            latency=timedelta(seconds=loop.time() - began),
            http_status=status,
            response_excerpt=text[:EXCERPT_CHARACTERS],
            response_digest=hashlib.sha256(content).hexdigest() if status else "",
            error=error,
            signature=signature,
            retry_after=_wait(retry_after, began_at) if error else None,
        )

    async def _post(
        self, call: WebhookCall, at: datetime, signature: str
    ) -> tuple[int, bytes, str]:
        """Returns status, the answer's first bytes and its Retry-After."""
        url = httpx.URL(call.url)
        parts = urlsplit(call.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        address = await checked_address(self._policy, host, port)
        headers = {
            **call.headers,
            "host": url.netloc.decode(),
            "content-type": "application/json; charset=utf-8",
            "user-agent": "FinOps-Webhooks/1",
            "webhook-id": call.message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature,
        }
        timeout = httpx.Timeout(self._answer_seconds, connect=CONNECT_SECONDS)
        # Neither proxies of the environment nor redirects: the request goes where it was checked.
        async with (
            httpx.AsyncClient(
                timeout=timeout, verify=self._tls, trust_env=False, follow_redirects=False
            ) as client,
            client.stream(
                "POST",
                url.copy_with(host=address),
                headers=headers,
                content=call.body.encode(),
                extensions={"sni_hostname": host},
            ) as answer,
        ):
            content = b""
            async for chunk in answer.aiter_raw():
                content += chunk[: ANSWER_BYTES_MAX - len(content)]
                if len(content) >= ANSWER_BYTES_MAX:
                    break
            return answer.status_code, content, answer.headers.get("retry-after", "")


def _signature(call: WebhookCall, at: datetime) -> str:
    return " ".join(
        Webhook(secret).sign(call.message_id, at.replace(microsecond=0), call.body)
        for secret in call.secrets
    )


def _wait(retry_after: str, now: datetime) -> timedelta | None:
    """Returns what a Retry-After header asks for, in seconds or as a date."""
    if retry_after.isdecimal():
        return timedelta(seconds=min(int(retry_after), 86_400))
    try:
        return max(parsedate_to_datetime(retry_after) - now, timedelta(0))
    except (ValueError, TypeError):
        return None

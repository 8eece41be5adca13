"""Stripe's errors as faults of the port."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import stripe

from services.billing.service.provider.port import (
    AnsweredBadly,
    Declined,
    KeyRejected,
    NoAnswer,
    ProviderFault,
    Refused,
    Throttled,
)

_T = TypeVar("_T")
_CONFLICT, _TOO_MANY, _SERVER = 409, 429, 500
_ACTION = ("authentication_required", "invoice_payment_intent_requires_action")


async def asked(call: Awaitable[_T]) -> _T:
    """Awaits a call of the SDK. Raises the ProviderFault that its error means."""
    try:
        return await call
    except stripe.StripeError as error:
        raise fault_of(error) from error


def is_gone(error: stripe.StripeError) -> bool:
    """Tells whether Stripe does not have the object, or has it no more."""
    return _code(error) == "resource_missing"


def fault_of(error: stripe.StripeError) -> ProviderFault:
    """Returns what an error means for the step that met it."""
    status = error.http_status or 0
    code = _code(error)
    # Stripe's words for people may name people; its codes do not.
    text = f"{type(error).__name__} {code}".strip()
    request_id = error.request_id or ""
    if isinstance(error, stripe.APIConnectionError) or not status:
        return NoAnswer(text)
    if isinstance(error, stripe.CardError) or code in _ACTION:
        detail = getattr(error.error, "decline_code", None) if error.error is not None else None
        reason = "authentication_required" if code in _ACTION else detail or code
        return Declined(text, decline_code=reason, http_status=status, request_id=request_id)
    kind: type[ProviderFault]
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        kind = KeyRejected
    elif status == _CONFLICT:
        # The same key is under way: its outcome is not known yet.
        kind = NoAnswer
    elif status == _TOO_MANY and code != "lock_timeout":
        kind = Throttled
    elif status >= _SERVER or status == _TOO_MANY:
        kind = AnsweredBadly
    else:
        kind = Refused
    return kind(text, http_status=status, request_id=request_id)


def _code(error: stripe.StripeError) -> str:
    """Returns the body's code: for some statuses the SDK leaves `error.code` empty."""
    body = error.json_body
    inner = body.get("error") if isinstance(body, dict) else None
    return str((inner.get("code") if isinstance(inner, dict) else None) or error.code or "")

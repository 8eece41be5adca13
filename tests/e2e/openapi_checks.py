"""What schemathesis, started by test_openapi.py, has to know of this API.

Named by the environment variable SCHEMATHESIS_HOOKS.
"""

from __future__ import annotations

import json
from typing import Any

import schemathesis

BODYLESS = ("HEAD", "OPTIONS")


@schemathesis.serializer("application/x-ndjson")
def ndjson(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Sends text as the lines that it is, and anything else as one line of JSON."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.check
def refusals_follow_aip_193(
    _: schemathesis.CheckContext, response: schemathesis.Response, __: schemathesis.Case[Any]
) -> None:
    """Holds every refusal to the form of AIP-193, with a reason."""
    if response.status_code < 400 or response.request.method in BODYLESS:
        return
    assert response.headers["content-type"] == ["application/json"], response.content
    error = response.json()["error"]
    reasons = [detail["reason"] for detail in error["details"] if "reason" in detail]
    assert error["code"] == response.status_code
    assert error["status"].isupper()
    assert error["message"]
    assert len(reasons) == 1

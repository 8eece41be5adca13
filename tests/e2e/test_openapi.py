"""The REST interface keeps its own description, and bodies of any kind are refused clearly."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.connection import local_token
from tests.support.stack import RunningStack

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SECONDS = 60
API = "/api/v1/finops"
USAGE = f"{API}/usage"
WATCHES = ":watch$"  # streams that never end
MEBIBYTE = 1 << 20
BODY_BYTES = 100 * MEBIBYTE
TENANT = "openapi"

pytestmark = pytest.mark.e2e


def credential(stack: RunningStack, *roles: str, tenant: str = TENANT) -> str:
    return f"Bearer {local_token(stack.data_dir, tenant, roles=roles or ('org_admin',))()}"


def test_every_check_of_schemathesis_passes(stack: RunningStack, tmp_path: Path) -> None:
    result = subprocess.run(
        [
            *(SCHEMATHESIS, "--no-color", "--config-file", HERE / "schemathesis.toml"),
            *("run", f"{stack.state.rest_url}/openapi.json", "--checks", "all"),
            *("--header", f"Authorization: {credential(stack)}", "--seed", "1"),
            *("--max-time", str(SECONDS), "--max-examples", "20", "--rate-limit", "90/s"),
            *("--request-timeout", "10", "--no-shrink", "--suppress-health-check", "all"),
            *("--continue-on-failure", "--exclude-path-regex", WATCHES),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=5 * SECONDS,
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if "PROXY" not in name.upper()},
            "SCHEMATHESIS_HOOKS": "tests.e2e.openapi_checks",
            "PYTHONPATH": str(ROOT),
        },
    )

    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr


def event(**changed: Any) -> dict[str, Any]:
    return {
        "eventId": "e1",
        "source": "test",
        "startTime": "2026-03-10T12:00:00Z",
        "resourceType": "vm",
        "quantity": "1",
        "unit": "hour",
        **changed,
    }


def events(*items: Any) -> bytes:
    return json.dumps({"events": list(items)}).encode()


def noise() -> bytes:
    return random.Random(1).randbytes(10_000)


WRONG_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "10,000 random bytes": noise(),
    "half an object": events(event())[:-3],
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no events": b"{}",
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"events":' * 100_000 + b"1" + b"}" * 100_000,
    "events of another type": events("text"),
    "a quantity of another type": events(event(quantity={"value": 1})),
    "tags of another type": events(event(tags=[1])),
    "a field that does not exist": events(event(colour="red")),
    "not a number": events(event(retries=math.nan)),
    "infinity": events(event(latencyMs=math.inf)),
    "an int32 beyond its range": events(event(retries=2**31)),
    "an int64 beyond its range": events(event(latencyMs=2**63)),
    "a number of 10,000 digits": b'{"events":[{"retries":' + b"9" * 10_000 + b"}]}",
    "a double beyond its range": b'{"events":[{"utilization":1e999}]}',
    "half a surrogate pair": b'{"events":[{"eventId":"\\ud800"}]}',
    "not UTF-8": b'{"events":[{"eventId":"\xff"}]}',
}


@pytest.fixture(scope="module")
def known(stack: RunningStack) -> httpx.Headers:
    """The headers of one caller: strangers share the narrow limit of their address.

    Of another tenant than schemathesis', whose queued work may go on for a while.
    """
    return httpx.Headers({"authorization": credential(stack, tenant="bodies")})


@pytest.fixture
def unchanged(stack: RunningStack, known: httpx.Headers) -> Iterator[httpx.Headers]:
    """Yields the headers of a caller whose requests must store nothing."""
    before = stored(stack, known)
    yield known
    assert stored(stack, known) == before


def stored(stack: RunningStack, headers: httpx.Headers) -> list[Any]:
    """Returns what the tenant has: events, imports and the length of its audit log."""
    paths = {
        f"{USAGE}?start=1970-01-02&end=2199-01-01&page_size=1000": "events",
        f"{API}/imports?page_size=1000": "imports",
        f"{API}/audit-entries?page_size=1000": "entries",
        f"{API}/users?page_size=1000": "users",
    }
    found = []
    for path, field in paths.items():
        answer = stack.rest.get(path, headers=headers)
        assert answer.status_code == httpx.codes.OK, answer.text
        found.append(answer.json()[field])
    return found


def reason_of(answer: httpx.Response) -> str:
    """Returns the reason of a refusal, which must follow AIP-193."""
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert error["message"]
    assert error["status"]
    [reason] = [detail["reason"] for detail in error["details"] if "reason" in detail]
    return str(reason)


@pytest.mark.parametrize("name", WRONG_BODIES)
@pytest.mark.parametrize("path", [USAGE, f"{USAGE}:amend", f"{API}/users", f"{API}/api-keys"])
def test_a_wrong_body_is_refused_and_stores_nothing(
    stack: RunningStack, unchanged: httpx.Headers, path: str, name: str
) -> None:
    headers = {**unchanged, "content-type": "application/json"}
    answer = stack.rest.post(path, content=WRONG_BODIES[name], headers=headers)

    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert reason_of(answer)


@pytest.mark.parametrize(
    "changed",
    [
        {"quantity": "NaN"},
        {"quantity": "1e400"},
        {"quantity": "9" * 21},
        {"quantity": "-1"},
        {"utilization": "NaN"},
        {"utilization": "Infinity"},
        {"eventId": "a\x00"},
        {"tags": {"a": "\x00"}},
        {"startTime": "1969-12-31T23:59:59Z"},
        {"eventId": "x" * 257},
        {"outcome": -1},
    ],
)
def test_an_event_that_json_can_write_and_no_rule_allows_is_named_invalid(
    stack: RunningStack, unchanged: httpx.Headers, changed: dict[str, Any]
) -> None:
    answer = stack.rest.post(
        USAGE,
        content=events(event(**changed)),
        headers={**unchanged, "content-type": "application/json"},
    )

    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["statuses"] == ["RECORD_STATUS_INVALID"]
    assert answer.json()["problems"]


def chunks() -> Iterable[bytes]:
    part = b" " * MEBIBYTE
    yield b'{"events":['
    for _ in range(BODY_BYTES // MEBIBYTE):
        yield part


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream"])
@pytest.mark.parametrize("path", [USAGE, f"{USAGE}:import?kind=focus", f"{API}/prices:import"])
def test_a_body_of_100_mb_is_too_large(
    stack: RunningStack, unchanged: httpx.Headers, path: str, content_type: str
) -> None:
    headers = {**unchanged, "content-type": content_type}
    try:
        answer = stack.rest.post(path, content=chunks(), headers=headers)
    except httpx.WriteError:
        # The gateway closed before all was sent; the length alone is refused the same way.
        sized = {**headers, "content-length": str(BODY_BYTES)}
        answer = stack.rest.post(path, content=b"", headers=sized)

    assert answer.status_code in {
        httpx.codes.REQUEST_ENTITY_TOO_LARGE,
        httpx.codes.UNSUPPORTED_MEDIA_TYPE,
    }, answer.text
    assert reason_of(answer)

"""`finops keys renew` asks every service, as the platform's admin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from finops.records.v1 import records_service_pb2

from cli.stack.state import read_state
from tests.cli import conftest
from tests.cli.conftest import Result, Suite

ROTATE = "/finops.records.v1.RecordsService/RotateEncryptionKeys"


@pytest.fixture
def rotating(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    request_class = records_service_pb2.RotateEncryptionKeysRequest
    monkeypatch.setitem(conftest.REQUESTS, ROTATE, request_class)
    suite.answers[ROTATE] = records_service_pb2.RotateEncryptionKeysResponse(
        secret_count=3, key_id="0a0b"
    )
    return suite


def test_a_tenants_data_keys_are_renewed_in_every_service(
    finops: Callable[..., Result], rotating: Suite, data_dir: Path
) -> None:
    result = finops("keys", "renew", "--tenant", "acme", "--dry-run", "--format", "csv")

    assert result.code == 0, result.err
    assert result.out.splitlines() == ["service,secrets,data_key", "usage,3,0a0b"]
    (request,) = rotating.requests
    assert isinstance(request, records_service_pb2.RotateEncryptionKeysRequest)
    assert (request.tenant_id, request.dry_run) == ("acme", True)
    assert request.request_id
    assert rotating.claims(data_dir)["roles"] == ["platform_admin"]


def test_a_service_elsewhere_is_asked_by_its_address(
    finops: Callable[..., Result],
    rotating: Suite,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINOPS_TOKEN", "token")
    port = read_state(data_dir).processes["usage"].port
    result = finops("keys", "renew", "--tenant", "acme", "--url", f"grpc://127.0.0.1:{port}")

    assert result.code == 0, result.err
    assert rotating.tokens == ["Bearer token"]


def test_nobodys_keys_are_renewed_where_no_tenant_is_named(
    finops: Callable[..., Result], rotating: Suite
) -> None:
    result = finops("keys", "renew")

    assert result.code == 2
    assert "--tenant" in result.err
    assert rotating.requests == []

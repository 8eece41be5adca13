"""What contracts say of their methods."""

from __future__ import annotations

import pytest
from grpc_health.v1 import health_pb2  # noqa: F401 - loads the contract
from grpc_reflection.v1alpha import reflection_pb2  # noqa: F401 - loads the contract

from services.kernel.method_policy import ContractIncomplete, policy_of, require_complete
from tests.support.echo import PACKAGE, EchoRequest, EchoResponse, path


def test_a_policy_is_read_from_the_contract() -> None:
    write, echo, greet = (policy_of(path(name)) for name in ("Write", "Echo", "Greet"))

    assert (write.permission, write.is_audited, write.is_idempotent) == ("usage.amend", True, True)
    assert (echo.permission, echo.is_audited, echo.is_idempotent) == ("echo.read", False, False)
    assert (echo.request_type, echo.response_type) == (EchoRequest, EchoResponse)
    assert not echo.is_public
    assert greet.is_public


@pytest.mark.parametrize(
    ("method", "is_repeatable"), [("Echo", True), ("Write", True), ("Append", False)]
)
def test_what_changes_something_without_a_request_id_is_not_repeatable(
    method: str,
    is_repeatable: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert policy_of(path(method)).is_repeatable is is_repeatable


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_health_and_reflection_are_public(method: str) -> None:
    assert policy_of(method).is_public


def test_a_whole_contract_is_complete() -> None:
    require_complete([f"{PACKAGE}.EchoService"])


def test_every_method_at_fault_is_named() -> None:
    with pytest.raises(ContractIncomplete) as incomplete:
        require_complete([f"{PACKAGE}.EchoService", f"{PACKAGE}.IncompleteService"])

    text = str(incomplete.value)
    assert "IncompleteService.Unguarded has no permission; add to its contract" in text
    assert "IncompleteService.Misspelt: permission 'Echo Write'" in text
    assert "IncompleteService.Unrepeatable is idempotent, so its request needs a field" in text


def test_an_unknown_method_has_no_policy() -> None:
    with pytest.raises(KeyError):
        policy_of(path("Nothing"))

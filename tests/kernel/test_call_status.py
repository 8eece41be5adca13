"""Statuses that fit into metadata."""

from __future__ import annotations

from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.call_status import (
    MESSAGE_LENGTH_MAX,
    STATUS_BYTES_MAX,
    bounded,
    code_named,
)
from services.kernel.errors import FieldViolations, InvalidArgument, to_status


def test_a_small_status_stays_as_it_is() -> None:
    status = to_status(InvalidArgument("text", field="a"))
    before = status_pb2.Status.FromString(status.SerializeToString())

    assert bounded(status) == before


def test_the_first_violations_are_kept() -> None:
    status = bounded(to_status(FieldViolations([(f"field_{n}", "d" * 100) for n in range(500)])))
    kept = error_details_pb2.BadRequest()
    status.details[-1].Unpack(kept)
    fields = [violation.field for violation in kept.field_violations]

    assert 10 < len(fields) < 500
    assert fields == [f"field_{n}" for n in range(len(fields))]


@given(st.text(max_size=2_000), st.lists(st.text(max_size=3_000), min_size=1, max_size=20))
def test_whatever_is_said_fits(text: str, violations: list[str]) -> None:
    error = FieldViolations([(violation, violation) for violation in violations])
    status = to_status(error)
    status.message = text

    bounded(status)

    assert status.ByteSize() <= STATUS_BYTES_MAX
    assert len(status.message) <= MESSAGE_LENGTH_MAX


def test_a_method_that_sets_no_code_ends_well() -> None:
    assert code_named(None) == "OK"

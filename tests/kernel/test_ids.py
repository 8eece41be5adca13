"""Ids that the suite makes sort by time; ids that callers give have one form."""

from __future__ import annotations

import re
import time

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.ids import InvalidResourceId, new_id, require_resource_id

EPOCH_MILLISECONDS = 1_767_225_600_000


def test_ids_differ() -> None:
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000


def test_an_id_has_26_characters_that_nobody_confuses() -> None:
    assert re.fullmatch(r"[0-9abcdefghjkmnpqrstvwxyz]{26}", new_id())


def test_an_id_of_a_later_millisecond_sorts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for step in range(50):
        instant = (EPOCH_MILLISECONDS + step) * 1_000_000
        monkeypatch.setattr(time, "time_ns", lambda instant=instant: instant)
        ids.append(new_id())

    assert ids == sorted(ids)
    assert len({made[:10] for made in ids}) == 50


def test_an_id_is_a_valid_resource_id() -> None:
    made = new_id()

    assert require_resource_id(made) == made


@pytest.mark.parametrize(
    "value", ["a", "0", "acme", "ada@example.com", "team:eng", "a.b_c-d", "x" * 63]
)
def test_a_valid_id_is_returned_unchanged(value: str) -> None:
    assert require_resource_id(value) == value


@pytest.mark.parametrize(
    "value",
    ["", " ", "-a", ".a", "a b", "a/b", "a\n", "a'b", "a\\b", "a%", "é", "x" * 64, "x" * 5000],
)
def test_another_form_is_refused(value: str) -> None:
    with pytest.raises(InvalidResourceId) as caught:
        require_resource_id(value)

    assert caught.value.reason == "INVALID_RESOURCE_ID"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {"value": value[:80]}


@given(st.text())
def test_a_valid_id_needs_no_quoting_in_sql_or_a_path(value: str) -> None:
    try:
        require_resource_id(value)
    except InvalidResourceId:
        return

    assert not set(value) & set("'\"\\/%?#& \n\0")

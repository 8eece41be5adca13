"""Rows have ids of their own that a second import finds again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.usage.service.importers import identity
from services.usage.service.importers.identity import Occurrences, RowIdentity
from services.usage.service.importers.rows import ImportTooLarge
from tests.usage.importers.reading import FOCUS_ROW, events, focus_csv, write_csv


def test_identical_rows_are_charges_of_their_own(tmp_path: Path) -> None:
    other = {"BilledCost": "2"}

    first, second, between, third = events(focus_csv(tmp_path, {}, {}, other, {}))

    assert len(first.event_id) == 32
    assert second.event_id == f"{first.event_id}-2"
    assert third.event_id == f"{first.event_id}-3"
    assert between.event_id not in second.event_id


def test_every_column_counts_even_those_nobody_reads(tmp_path: Path) -> None:
    rows = [FOCUS_ROW | {"x_Line": line} for line in ("1", "2")]

    first, second = events(write_csv(tmp_path / "f.csv", rows))

    assert first.event_id != second.event_id
    assert first[2:-1] == second[2:-1]


def test_order_of_columns_and_spelling_of_null_do_not_count(tmp_path: Path) -> None:
    turned = {name: value or "NULL" for name, value in reversed(FOCUS_ROW.items())}

    (event,) = events(write_csv(tmp_path / "turned.csv", [turned]))

    assert event == events(focus_csv(tmp_path, {}))[0]


def test_values_do_not_run_into_each_other() -> None:
    ids = RowIdentity(["a", "b"])

    assert len({ids.id_of(cells) for cells in (("1", "2"), ("12", ""), ("", "12"), ("", "1"))}) == 4


def test_a_table_of_one_column_has_ids() -> None:
    ids = RowIdentity(["a"])

    assert ids.id_of(["1", ""]) != ids.id_of(["2", ""])


@given(st.lists(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1), max_size=200))
def test_occurrences_are_counted_as_a_dictionary_would(keys: list[int]) -> None:
    seen: Counter[int] = Counter()
    occurrences = Occurrences()

    for key in keys:
        seen[key or 1] += 1

        assert occurrences.count(key) == seen[key or 1]


def test_occurrences_stay_right_while_the_table_grows() -> None:
    occurrences = Occurrences()
    keys = [key * 0x9E3779B97F4A7C15 % 2**64 for key in range(1, 20_000)]

    assert {occurrences.count(key) for key in keys} == {1}
    assert {occurrences.count(key) for key in keys} == {2}


def test_more_rows_than_memory_allows_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_SLOTS_MAX", 1 << 13)
    monkeypatch.setattr(identity, "REPEATED_ROWS_MAX", 2)
    many, repeated = Occurrences(), Occurrences()

    with pytest.raises(ImportTooLarge) as raised:
        for key in range(1, 10_000):
            many.count(key)
    with pytest.raises(ImportTooLarge):
        for key in (1, 1, 2, 2, 3, 3):
            repeated.count(key)

    assert raised.value.reason == "IMPORT_TOO_LARGE"

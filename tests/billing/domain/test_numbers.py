"""The numbers that people write on their transfers."""

from __future__ import annotations

import pytest

from services.billing.domain.draft import number_of, numbers_in

NUMBER = number_of("INV", "acme", 42)
LONGER = number_of("INV", "acme", 420_000_042)


@pytest.mark.parametrize(
    "text",
    [
        NUMBER,
        f"for {NUMBER} thanks",
        f"({NUMBER.lower()})",
        NUMBER.replace("-", " "),
        NUMBER.replace("-", ""),
        f"{NUMBER}/{NUMBER}",
    ],
)
def test_a_number_is_found_however_it_is_written(text: str) -> None:
    assert numbers_in(text, "INV") == {NUMBER}


@pytest.mark.parametrize(
    "text", ["", "INV", f"X{NUMBER}", f"{NUMBER}7", NUMBER[:-1], NUMBER.replace("INV", "CN")]
)
def test_part_of_another_number_is_none(text: str) -> None:
    assert NUMBER not in numbers_in(text, "INV")


def test_each_number_of_a_text_is_found_whole() -> None:
    assert numbers_in(f"{LONGER}, {NUMBER}", "INV") == {LONGER, NUMBER}

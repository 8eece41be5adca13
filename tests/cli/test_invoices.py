"""What `finops invoices` writes, and where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.invoices import _opened, _short


def test_a_file_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "x.csv"

    with pytest.raises(CommandError, match=r"x\.csv cannot be written: No such file"):
        _opened(path)


def test_a_rate_is_shown_with_the_digits_that_people_compare() -> None:
    assert _short("0.895094880057286072323666308628714") == "0.8950948801"
    assert _short("150") == "150"

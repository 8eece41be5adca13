"""What may be asked about cost, and about which period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from services.kernel.period import Period, zone
from services.usage.domain.question import (
    CostQuestion,
    InvalidInstant,
    UnknownDimension,
    read_instant,
    read_period,
)

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
KOLKATA = zone("Asia/Kolkata")  # 5.5 hours ahead of UTC


def question(*group_by: str) -> CostQuestion:
    return CostQuestion("acme", Period(NOW, NOW + timedelta(hours=1)), zone("UTC"), group_by)


def test_a_question_groups_by_dimensions_and_tags() -> None:
    assert question("project", "tag:env").group_by == ("project", "tag:env")


@pytest.mark.parametrize("name", ["colour", "", "tag:", "TAG:env"])
def test_an_unknown_dimension_is_named(name: str) -> None:
    with pytest.raises(UnknownDimension) as caught:
        question("project", name)

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "UNKNOWN_DIMENSION"
    assert caught.value.metadata == {"dimension": name}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T00:00:00Z", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T00:00:00+05:30", datetime(2026, 2, 28, 18, 30, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 2, 28, 18, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_instant_and_a_date_begins_in_the_zone(text: str, expected: datetime) -> None:
    assert read_instant(text, KOLKATA) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-02-30",
        "2026-03-01T00:00:00",
        "0001-01-01",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_what_names_no_instant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInstant) as caught:
        read_instant(text, KOLKATA)

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_INSTANT"
    assert caught.value.metadata == {"value": text}


def test_a_period_without_bounds_is_the_last_30_days() -> None:
    period = read_period("", "", zone("UTC"), now=NOW)

    assert period == Period(datetime(2026, 2, 8, tzinfo=UTC), datetime(2026, 3, 10, 13, tzinfo=UTC))

"""Dates as contracts write them."""

from __future__ import annotations

from datetime import date

from services.usage.domain.question import InvalidInstant


def to_date(text: str) -> date:
    """Converts `2026-03-01`. Raises InvalidInstant for what no calendar has."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInstant(
            f"{text[:40]!r} is no date of the calendar", value=text[:40]
        ) from error

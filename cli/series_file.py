"""Series in a CSV file: a column of times, one of values, and perhaps one that names the series."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cli.errors import UsageError

MONTH_DAYS_MIN, MONTH_DAYS_MAX = 28, 31


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file. value: NaN where the cell is empty."""

    group: str
    time_text: str
    time: datetime
    value: float


def read_rows(
    path: Path, *, time_column: str, value_column: str, group_column: str | None
) -> Iterator[Row]:
    """Yields the rows in the file's order. Raises UsageError naming the line that is wrong."""
    try:
        file = path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    with file:
        reader = csv.DictReader(file)
        wanted = [time_column, value_column, *([group_column] if group_column else [])]
        missing = [name for name in wanted if name not in (reader.fieldnames or [])]
        if missing:
            raise UsageError(
                f"{path} has no column {', '.join(missing)}; "
                f"it has {', '.join(reader.fieldnames or ['none'])}"
            )
        for cells in reader:
            text = (cells[time_column] or "").strip()
            try:
                yield Row(
                    group=cells[group_column] if group_column else "",
                    time_text=text,
                    time=parse_time(text),
                    value=parse_value(cells[value_column]),
                )
            except ValueError as error:
                raise UsageError(f"{path}, line {reader.line_num}: {error}") from error


def parse_time(text: str) -> datetime:
    """Reads a date, an ISO 8601 instant (UTC unless it says otherwise), or a step number.

    A step number counts days from the beginning of Unix time.
    """
    if text.isdigit() and len(text) < len("20260101"):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(text))
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_value(text: str | None) -> float:
    """Reads a number; an empty cell or NaN is a gap."""
    cleaned = (text or "").strip()
    if not cleaned:
        return math.nan
    value = float(cleaned)
    if math.isinf(value):
        message = f"{cleaned} is no finite number"
        raise ValueError(message)
    return value


def next_times(rows: list[Row], count: int) -> list[str]:
    """Continues the times of a series in their own notation: numbers, dates or instants."""
    last = rows[-1]
    if last.time_text.isdigit() and len(last.time_text) < len("20260101"):
        return [str(int(last.time_text) + step) for step in range(1, count + 1)]
    gaps = sorted(
        (after.time - before.time for before, after in pairwise(rows)),
    )
    step = gaps[len(gaps) // 2] if gaps else timedelta(days=1)
    if MONTH_DAYS_MIN <= step.days <= MONTH_DAYS_MAX:
        times = [months_later(last.time, months) for months in range(1, count + 1)]
    else:
        times = [last.time + step * number for number in range(1, count + 1)]
    if len(last.time_text) == len("2026-01-01"):
        return [moment.date().isoformat() for moment in times]
    separator = "T" if "T" in last.time_text else " "
    if last.time_text.endswith("Z") or "+" in last.time_text:
        return [moment.isoformat(sep=separator) for moment in times]
    return [moment.replace(tzinfo=None).isoformat(sep=separator) for moment in times]


def months_later(moment: datetime, months: int) -> datetime:
    """Returns the same day so many months later, the month's last day where it has no such."""
    month = moment.month - 1 + months
    year, month = moment.year + month // 12, month % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    last_day = (following - timedelta(days=1)).day
    return moment.replace(year=year, month=month, day=min(moment.day, last_day))

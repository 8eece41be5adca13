"""Writes small files, reads files back as events, and sums columns without the importers."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from services.kernel.money import add_exactly
from services.usage.domain.event import UsageEvent
from services.usage.service.importers import (
    ImportKind,
    ImportOptions,
    Parsed,
    Rejected,
    Row,
    detect,
    open_import,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
# The least a FOCUS 1.0 file has, with a row that is in order.
FOCUS_ROW = {
    "BilledCost": "1.25",
    "BillingAccountId": "payer-1",
    "BillingAccountName": "",
    "BillingCurrency": "USD",
    "BillingPeriodEnd": "2026-02-01T00:00:00Z",
    "BillingPeriodStart": "2026-01-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeClass": "",
    "ChargeDescription": "Hours of a machine",
    "ChargePeriodEnd": "2026-01-02T01:00:00Z",
    "ChargePeriodStart": "2026-01-02T00:00:00Z",
    "ContractedCost": "1.5",
    "EffectiveCost": "1",
    "InvoiceIssuerName": "Example Cloud",
    "ListCost": "2",
    "PricingQuantity": "1",
    "PricingUnit": "Hours",
    "ProviderName": "Example Cloud",
    "PublisherName": "Example Cloud",
    "ServiceCategory": "Compute",
    "ServiceName": "Machines",
    "Tags": "",
}


def read(
    path: Path, kind: ImportKind | None = None, options: ImportOptions | None = None
) -> list[Row]:
    """Returns all rows of a file, of the kind it is found to be where none is named."""
    rows = open_import(kind or detect(path), path, options or ImportOptions())
    return list(rows)


def events(
    path: Path, kind: ImportKind | None = None, options: ImportOptions | None = None
) -> list[UsageEvent]:
    """Returns the events of a file that has no refused row."""
    rows = read(path, kind, options)
    assert [row for row in rows if isinstance(row, Rejected)] == []
    return [row.event for row in rows if isinstance(row, Parsed)]


def rejects(
    path: Path, kind: ImportKind | None = None, options: ImportOptions | None = None
) -> list[Rejected]:
    """Returns the refused rows of a file."""
    return [row for row in read(path, kind, options) if isinstance(row, Rejected)]


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Writes rows under the header of the first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def focus_csv(folder: Path, *changes: Mapping[str, str]) -> Path:
    """Writes a FOCUS 1.0 file with one row a change to the row that is in order."""
    return write_csv(folder / "focus.csv", [FOCUS_ROW | dict(change) for change in changes])


def table(path: Path) -> list[dict[str, str]]:
    """Returns a CSV file's rows as plain text by column."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def measured(item: UsageEvent) -> str:
    """Returns an event's quantity and unit, as one would say them."""
    return f"{item.quantity} {item.attributes.unit}"


def billed(items: Iterable[UsageEvent]) -> Decimal:
    """Returns the exact sum of billed costs."""
    return add_exactly(item.cost.billed for item in items if item.cost)


def grouped(items: Iterable[UsageEvent], by: str) -> dict[str, list[UsageEvent]]:
    """Returns events by one of their attributes."""
    groups: dict[str, list[UsageEvent]] = {}
    for item in items:
        groups.setdefault(getattr(item.attributes, by), []).append(item)
    return groups

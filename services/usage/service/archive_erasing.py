"""Finds a person in an archive file, and writes the file anew without them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from services.kernel.records_person import Person

ROWS_A_BATCH: Final = 20_000  # in memory at once
_JSON: Final = ("dimension", "bill_columns")
_WORDS: Final = "amend_reason"


def count(path: Path, tenant_id: str, person: Person) -> int:
    """Returns how many rows of the tenant name the person."""
    return sum(1 for _ in rows(path, tenant_id, person))


def rows(path: Path, tenant_id: str, person: Person) -> Iterator[str]:
    """Yields those rows as JSON objects of texts."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS_A_BATCH):
            for row in batch.to_pylist():
                if row["tenant_id"] == tenant_id and _without(row, person) != row:
                    yield json.dumps(row)


def replace(path: Path, tenant_id: str, person: Person) -> int:
    """Puts the pseudonym in the person's place, and returns in how many rows.

    Other texts, amounts among them, are copied as they are.
    """
    total = 0
    made = path.with_suffix(".erasing")
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            with pq.ParquetWriter(made, schema, compression="zstd") as writer:
                for batch in file.iter_batches(batch_size=ROWS_A_BATCH):
                    found = batch.to_pylist()
                    changed = [
                        _without(row, person) if row["tenant_id"] == tenant_id else row
                        for row in found
                    ]
                    total += sum(new != old for new, old in zip(changed, found, strict=True))
                    writer.write_table(pa.Table.from_pylist(changed, schema=schema))
        if total:
            os.replace(made, path)  # noqa: PTH105 - atomic, whatever stands there
    finally:
        made.unlink(missing_ok=True)
    return total


@lru_cache(maxsize=1)
def _values(subject_id: str) -> re.Pattern[str]:
    person = Person(subject_id)
    spelled = {*person.spellings(), *person.spellings(is_within_text=True)}
    value = "|".join(re.escape(each) for each in sorted(spelled))
    return re.compile(rf'([:\[,]\s*(\\?)")(?:{value})(?=\2"\s*[,}}\]])')


def _without(row: dict[str, Any], person: Person) -> dict[str, Any]:
    """Returns a row with the pseudonym, which is empty where it is only sought."""
    pattern = _values(person.subject_id)
    changed = dict(row)
    for name in _JSON:
        if row.get(name):
            changed[name] = pattern.sub(lambda found: f"{found[1]}{person.pseudonym}", row[name])
    if row.get(_WORDS):
        changed[_WORDS] = person.in_words(row[_WORDS])
    return changed

"""Persons in the files of archived months: counted, exported, replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from services.kernel.records_person import Person
from services.kernel.transaction import Transaction
from services.usage.store import archive

ROWS_AT_ONCE: Final = 1_000


class ArchivedPersons:
    """Implements `kernel.records.Special` over the files in a folder."""

    def __init__(self, folder: Path) -> None:
        """folder: where months are written."""
        self._folder = folder

    async def count(self, tx: Transaction, tenant_id: str, subject_id: str) -> int:
        """Returns how many archived events name the person."""
        await archive.wait_for_files(tx)
        total = 0
        for path in self._files():
            total += await asyncio.to_thread(_count, path, tenant_id, Person(subject_id))
        return total

    async def erase(self, tx: Transaction, tenant_id: str, subject_id: str, pseudonym: str) -> int:
        """Writes each file that names the person anew, and puts it in the old one's place.

        A file is either the old or the new one, whatever happens meanwhile. Files hold all
        tenants, so that one erasure after another writes them.
        """
        await archive.wait_for_files(tx)
        await archive.lock_files(tx)
        total = 0
        person = Person(subject_id, pseudonym)
        for path in self._files():
            total += await asyncio.to_thread(_replace, path, tenant_id, person)
        return total

    async def export(self, tx: Transaction, tenant_id: str, subject_id: str) -> AsyncIterator[str]:
        """Yields the person's archived events, of which few are in memory at a time."""
        await archive.wait_for_files(tx)
        for path in self._files():
            rows = await asyncio.to_thread(_rows, path, tenant_id, Person(subject_id))
            while part := await asyncio.to_thread(_next, rows):
                for row in part:
                    yield row

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("usage-events-*.parquet"))


# The library of these files takes 40 MB, so that it is loaded only when there are any.
def _count(path: Path, tenant_id: str, person: Person) -> int:
    from services.usage.service import archive_erasing  # noqa: PLC0415 - as said

    return archive_erasing.count(path, tenant_id, person)


def _replace(path: Path, tenant_id: str, person: Person) -> int:
    from services.usage.service import archive_erasing  # noqa: PLC0415 - as said

    return archive_erasing.replace(path, tenant_id, person)


def _rows(path: Path, tenant_id: str, person: Person) -> Iterator[str]:
    from services.usage.service import archive_erasing  # noqa: PLC0415 - as said

    return archive_erasing.rows(path, tenant_id, person)


def _next(rows: Iterator[str]) -> list[str]:
    return list(islice(rows, ROWS_AT_ONCE))

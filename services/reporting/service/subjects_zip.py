"""A ZIP that is written as records come, without a file or the whole of it in memory."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime


class _Outflow(io.RawIOBase):
    """What a ZIP writes to: it cannot be sought in, and gives away what was written so far."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        part = bytes(content)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


class RecordsArchive:
    """One JSON array a collection, and a list of what there is, in one ZIP.

    digest: SHA-256 over all that `take` gave.
    """

    def __init__(self, made_at: datetime) -> None:
        """made_at: the time of each file in it."""
        self._outflow = _Outflow()
        self._zip = zipfile.ZipFile(self._outflow, "w", zipfile.ZIP_DEFLATED)
        self._made_at = made_at.astimezone(UTC)
        self._entry: io.BufferedIOBase | None = None
        self._collection = ""
        self.counts: dict[str, int] = {}
        self.digest = hashlib.sha256()

    def add(self, collection: str, content: str) -> None:
        """Adds a record; those of one collection follow one another."""
        if self._entry is None or collection != self._collection:
            self._end_entry()
            self._collection = collection
            # A service that comes back to a collection begins another file of it.
            name = f"{collection}.json" if collection not in self.counts else self._again()
            self._entry = self._opened(name)
            self._entry.write(b"[\n")
        else:
            self._entry.write(b",\n")
        self._entry.write(content.encode())
        self.counts[collection] = self.counts.get(collection, 0) + 1

    def take(self) -> bytes:
        """Returns the bytes since the last time."""
        taken = self._outflow.take()
        self.digest.update(taken)
        return taken

    def close(self) -> None:
        """Ends the ZIP with the list of what is in it."""
        self._end_entry()
        with self._opened("contents.json") as entry:
            entry.write(json.dumps({"records": self.counts}, indent=2, sort_keys=True).encode())
        self._zip.close()

    def _again(self) -> str:
        return f"{self._collection}-{self.counts[self._collection]}.json"

    def _opened(self, name: str) -> io.BufferedIOBase:
        moment = self._made_at
        described = zipfile.ZipInfo(
            name,
            (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second),
        )
        described.compress_type = zipfile.ZIP_DEFLATED
        return self._zip.open(described, "w", force_zip64=True)  # type: ignore[return-value] # a writer

    def _end_entry(self) -> None:
        if self._entry is not None:
            self._entry.write(b"\n]\n")
            self._entry.close()
            self._entry = None

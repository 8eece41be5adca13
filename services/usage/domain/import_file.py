"""An import of one file: where it stands and what became of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from services.kernel.errors import FailedPrecondition, InvalidArgument

PART_BYTES_MAX = 64 << 20


class ImportOffset(FailedPrecondition):
    """A part must begin where the file received so far ends; ask GetImport and continue there."""

    reason = "IMPORT_OFFSET"


class ImportSize(InvalidArgument):
    """A part is not empty, at most 64 MiB, and not longer than what the file still lacks."""

    reason = "IMPORT_SIZE"


class ImportEnded(FailedPrecondition):
    """The import has ended; start another, rows that are stored are recognised."""

    reason = "IMPORT_ENDED"


class ImportState(Enum):
    """Where an import stands; the numbers are the contract's."""

    UPLOADING = 1
    QUEUED = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLED = 6

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (ImportState.SUCCEEDED, ImportState.FAILED, ImportState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFile:
    """One import. kind: "" is found out from the file's header. rows: read so far."""

    tenant_id: str
    import_id: str
    kind: str
    file_name: str
    state: ImportState
    total_bytes: int
    created_at: datetime
    updated_at: datetime
    model: str = ""
    trace_start_at: datetime | None = None
    source: str = ""
    received_bytes: int = 0
    rows: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    invalid: int = 0
    failure: str = ""

    def require_part(self, offset: int, size: int) -> None:
        """Raises ImportEnded, ImportOffset or ImportSize unless this part comes next."""
        if self.state is not ImportState.UPLOADING:
            raise ImportEnded(import_id=self.import_id, state=self.state.name)
        if offset != self.received_bytes:
            raise ImportOffset(import_id=self.import_id, received_bytes=self.received_bytes)
        if not 0 < size <= min(PART_BYTES_MAX, self.total_bytes - offset):
            raise ImportSize(size=size, missing=self.total_bytes - offset)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not stored. row_number: as importers count."""

    row_number: int
    field: str
    reason: str
    excerpt: str

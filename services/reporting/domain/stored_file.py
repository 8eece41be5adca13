"""A file that was made: who may have it, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file without its content. file_name: what the one who downloads it sees."""

    tenant_id: str
    file_id: str
    file_name: str
    media_type: str
    created_at: datetime
